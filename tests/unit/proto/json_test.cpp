#include "proto/json.h"

#include "proto/json_parser.h"
#include "proto/json_text.h"
#include "tests/support/catch.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace json_test {

using namespace rtrain;
using namespace rtrain::proto;

namespace {

std::string error_of(std::string_view text, JsonLimits limits = {}) {
  const auto json = parse_json(text, limits);
  REQUIRE_FALSE(json.has_value());
  CHECK(json.error().code() == Errc::kInvalidArgument);
  return json.error().message();
}

Json nested(int depth) {
  Json value = 1;
  for (int i = 0; i < depth; ++i) {
    Json outer = Json::array();
    outer.push_back(std::move(value));
    value = std::move(outer);
  }
  return value;
}

}  // namespace

TEST_CASE("json: what JSON allows is read") {
  CHECK(*parse_json(R"( {"a": [1, -2, 2.5, true, null, "xé"], "b": {}} )") ==
        Json({{"a", {1, -2, 2.5, true, nullptr, "xé"}}, {"b", Json::object()}}));
  CHECK(*parse_json("3") == Json(3));
  CHECK(*parse_json("\"x\"") == Json("x"));
}

TEST_CASE("json: what it does not allow is refused with line and column") {
  CHECK_THAT(error_of("{\n  \"a\": 1,\n}"), Catch::Matchers::StartsWith("3:1: "));
  CHECK_THAT(error_of("{\"a\": 1} x"), Catch::Matchers::StartsWith("1:10: "));
  CHECK_THAT(error_of("// comment\n{}"), Catch::Matchers::StartsWith("1:"));
  CHECK_THAT(error_of("{\"a\": 1 /* c */}"), Catch::Matchers::StartsWith("1:"));
  CHECK_THAT(error_of("{'a': 1}"), Catch::Matchers::StartsWith("1:2: "));
  CHECK_THAT(error_of("[1, 2"), Catch::Matchers::StartsWith("1:"));
  CHECK_THAT(error_of("NaN"), Catch::Matchers::StartsWith("1:"));
  CHECK_THAT(error_of("\"\xff\""), Catch::Matchers::Contains("UTF-8"));
  CHECK(error_of(std::string("{}\0{", 4)) == "1:3: not valid JSON: a NUL byte in the text");
  CHECK(error_of("") == "1:1: the text is empty");
  CHECK(error_of(" \n ") == "2:2: the text is empty");
}

TEST_CASE("json: a repeated key is refused where it stands") {
  CHECK(error_of("{\"a\": 1,\n \"b\": 2, \"a\": 3}") == "2:10: a: this key is given twice; first in line 1");
  CHECK(error_of("{\"x\": {\"a\": {\"deep\": 1}, \"a\": [1]}}") ==
        "1:26: x.a: this key is given twice; first in line 1");
  CHECK(parse_json(R"({"a": {"a": 1}, "b": {"a": 1}})").has_value());
}

TEST_CASE("json: size and depth are limited") {
  CHECK(error_of("[1,2,3]", {6, 64}) == "1:1: the text has 7 bytes; at most 6 are read");
  CHECK(parse_json(std::string(64, '[') + std::string(64, ']'), {100'000, 64}).has_value());
  CHECK(error_of(std::string(65, '[') + std::string(65, ']'), {100'000, 64}) ==
        "1:65: nested deeper than 64 levels");
  CHECK_THAT(error_of(std::string(1'000'000, '[')), Catch::Matchers::Contains("nested deeper"));
}

TEST_CASE("json text: keys and elements have their places, all repeats are told") {
  const std::string written =
      "{\n  \"a\": {\"b\": [10,\n 2, {\"c\" : \"x,y\"}]},\n  \"q\\\"r\": 1.5, \"a\": 2,\n \"a\":3}";
  const auto text = read_json_text(written, {});
  const auto at = [&](const std::string& path) {
    const auto place = places_in(written, {}, {path}).front();
    return std::pair(place.line, place.column);
  };
  CHECK(at("a") == std::pair(2, 3));
  CHECK(at("a.b") == std::pair(2, 9));
  CHECK(at("a.b[0]") == std::pair(2, 15));
  CHECK(at("a.b[1]") == std::pair(3, 2));
  CHECK(at("a.b[2]") == std::pair(3, 5));
  CHECK(at("a.b[2].c") == std::pair(3, 6));
  CHECK(at("q\"r") == std::pair(4, 3));
  CHECK(at("a.b[2].missing") == at("a.b[2]"));
  CHECK(at("a.b[7]") == at("a.b"));
  CHECK(at("none.there") == std::pair(0, 0));
  REQUIRE(text.problems.size() == 2);
  CHECK(text.problems[0].path == "a");
  CHECK(text.problems[0].message == "this key is given twice; first in line 2");
  CHECK(text.problems[0].at.line == 4);
  CHECK(text.problems[0].at.column == 16);
  CHECK(text.problems[1].at.line == 5);
  CHECK(text.value.at("a").is_object());
}

TEST_CASE("json: the fast parser takes what the slow one takes, and reads the same") {
  for (const char* text : {"[1, -0, -1, 18446744073709551615, 18446744073709551616, -9223372036854775808, "
                           "1.5e3, 0.1, 1E-7, 123456789012345678901234567890]",
                           R"(["\u00e9\ud83d\ude00\u0000\"\\\/\b\f\n\r\t", "é😀", "\u007f"])",
                           " {\"b\":{}, \"a\":[], \"\":null}\r\n\t"}) {
    INFO(text);
    Json fast;
    REQUIRE(read_valid_json(text, 64, fast));
    const Json slow = Json::parse(text);
    CHECK(fast == slow);
    CHECK(fast.dump() == slow.dump());
  }
  for (const char* text : {"",
                           " ",
                           "01",
                           "-",
                           "1.",
                           ".5",
                           "1e",
                           "+1",
                           "--1",
                           "[1,]",
                           "[,1]",
                           "{\"a\":1,}",
                           "{\"a\" 1}",
                           "{a:1}",
                           "nul",
                           "truex",
                           "\"\\x\"",
                           "\"\\ud800\"",
                           "\"\\udc00\"",
                           "\"\\ud800\\u0041\"",
                           "\"\x01\"",
                           "\"\xc0\x80\"",
                           "\"\xed\xa0\x80\"",
                           "\"\xf4\x90\x80\x80\"",
                           "\"a",
                           "[",
                           "{",
                           "{\"a\"",
                           "{\"a\":",
                           "[1",
                           "1 2",
                           "1e400",
                           "\"\\u12\"",
                           "\"\\",
                           "{\"a\":1,\"a\":2}"}) {
    INFO(text);
    Json fast;
    CHECK_FALSE(read_valid_json(text, 64, fast));
    CHECK_FALSE(parse_json(text).has_value());
  }
  Json ignored;
  CHECK_FALSE(read_valid_json("[[1]]", 1, ignored));
}

TEST_CASE("json: neither long lines nor many or long keys cost more than they have bytes", "[F42]") {
  std::string members, elements, repeats;
  for (int i = 0; members.size() < 2'000'000; ++i) members += ",\"K" + std::to_string(i) + "\":1";
  while (elements.size() < 1'000'000) elements += ",1";
  while (repeats.size() < 1'000'000) repeats += ",\"a\":1";
  const std::string long_key(1'000'000, 'k');
  for (const std::string& text : {"{\"a\":0" + members + "}", "{\"" + long_key + "\":[0" + elements + "]}",
                                  "{\"a\":0" + repeats + ",\"a\":2}"}) {
    const auto read = read_json_text(text, {});
    CHECK(read.problems.size() <= kProblemsMax);
    const auto places = places_in(text, {}, {"K100", "K150000", long_key + "[400000]", "a"});
    CHECK(places.back().line <= 1);
  }
  const auto read = read_json_text("{\"a\":0" + repeats + "}", {});
  CHECK(read.problems.size() == kProblemsMax);
  CHECK(read.problems.size() + read.more == repeats.size() / 6);
  std::size_t bytes = 0;
  for (const auto& problem : read_json_text("{\"" + long_key + "\":1,\"" + long_key + "\":2}", {}).problems)
    bytes += problem.path.size() + problem.message.size();
  CHECK(bytes < 1000);
}

TEST_CASE("json: keys whose bytes are no UTF-8 stay apart, and the text is read again", "[F40]") {
  const Json odd{
      {"loss\xff", 1}, {"loss\xfe", 2}, {"loss\xEF\xBF\xBD", 3}, {"fine", {{"\xc3", 4}, {"\xe2\x82", 5}}}};
  const auto back = parse_json(dump_json(odd));
  REQUIRE(back.has_value());
  CHECK(back->size() == 4);
  CHECK(back->at("loss\xEF\xBF\xBD") == 3);
  CHECK(back->at("loss\xEF\xBF\xBD (2)") == 2);
  CHECK(back->at("loss\xEF\xBF\xBD (3)") == 1);
  CHECK(back->at("fine").size() == 2);
}

TEST_CASE("json: what is written is never deeper than what is read", "[F41]") {
  for (const int depth : {kUserDepthMax, kJsonDepthMax - 1, kJsonDepthMax, kJsonDepthMax + 1, 300}) {
    const auto back = parse_json(dump_json(nested(depth)));
    REQUIRE(back.has_value());
    CHECK((*back == nested(depth)) == (depth <= kJsonDepthMax));
    CHECK(depth_of(nested(depth)) == std::min(depth, kJsonDepthMax + 2));
  }
  CHECK(depth_of(1) == 0);
  CHECK(depth_of({{"a", {1, {2}}}, {"b", 1}}) == 3);
}

TEST_CASE("json: dump never throws, and NaN is not null") {
  CHECK(dump_json(
            {{"loss", std::nan("")},
             {"x", {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()}}}) ==
        R"({"loss":"NaN","x":["Infinity","-Infinity"]})");
  CHECK(dump_json(Json("a\xff")) == "\"a\xEF\xBF\xBD\"");
  CHECK(dump_json_pretty({{"a", 1}}) == "{\n  \"a\": 1\n}");
  CHECK_THAT(dump_json(nested(100'000)), Catch::Matchers::Contains("nested too deeply"));
}

TEST_CASE("json: a number is a number or its spelling") {
  double x = 0;
  CHECK((json_number(Json(2), x) && x == 2));
  CHECK((json_number(Json("-Infinity"), x) && x == -std::numeric_limits<double>::infinity()));
  CHECK((json_number(Json("NaN"), x) && std::isnan(x)));
  CHECK_FALSE(json_number(Json("2"), x));
  CHECK_FALSE(json_number(Json(true), x));
}

TEST_CASE("json: every form of RFC 3339 is read, and only what exists", "[F32]") {
  const std::pair<const char*, std::int64_t> good[] = {
      {"2026-11-24T22:30:00.5Z", 1795559400500},         {"2026-11-24T22:30:00.05Z", 1795559400050},
      {"2026-11-24T22:30:00.123456789Z", 1795559400123}, {"2026-11-24T23:30:00+01:00", 1795559400000},
      {"2026-11-24T17:00:00.25-05:30", 1795559400250},   {"2026-11-24t22:30:00z", 1795559400000},
      {"2026-11-24T22:30:00-00:00", 1795559400000},      {"2024-02-29T00:00:00Z", 1709164800000},
      {"0000-01-01T00:00:00Z", -62167219200000},         {"9999-12-31T23:59:59.999Z", 253402300799999}};
  for (const auto& [text, ms] : good) {
    INFO(text);
    const auto read = parse_rfc3339(text);
    REQUIRE(read.has_value());
    CHECK(*read == ms);
  }
  const std::pair<const char*, const char*> bad[] = {{"2026-02-30T10:00:00Z", "a date that does not exist"},
                                                     {"2025-02-29T00:00:00Z", "a date that does not exist"},
                                                     {"2026-13-01T00:00:00Z", "a date that does not exist"},
                                                     {"2026-00-10T00:00:00Z", "a date that does not exist"},
                                                     {"2026-11-24T24:00:00Z", "an hour that does not exist"},
                                                     {"2026-11-24T22:60:00Z", "an hour that does not exist"},
                                                     {"2016-12-31T23:59:60Z", "a leap second"},
                                                     {"2026-11-24T22:30:61Z", "an hour that does not exist"},
                                                     {"2026-11-24T22:30:00+24:00", "an offset that does not"},
                                                     {"2026-11-24T22:30:00", "no time zone"},
                                                     {"2026-11-24T22:30:00.Z", "is no time"},
                                                     {"2026-11-24T22:30:00+0100", "is no time"},
                                                     {"2026-1-24T22:30:00Z", "is no time"},
                                                     {"+026-11-24T22:30:00Z", "is no time"},
                                                     {" 2026-11-24T22:30:00Z", "is no time"},
                                                     {"2026-11-24T22:30:00Z ", "is no time"},
                                                     {"2026-11-24 22:30:00Z", "is no time"},
                                                     {"9999-12-31T23:59:59-23:59", "not within the years"},
                                                     {"0000-01-01T00:00:00+00:01", "not within the years"},
                                                     {"", "is no time"}};
  for (const auto& [text, words] : bad) {
    INFO(text);
    const auto read = parse_rfc3339(text);
    REQUIRE_FALSE(read.has_value());
    CHECK_THAT(read.error().message(), Catch::Matchers::Contains(words));
  }
  CHECK(rfc3339(std::numeric_limits<std::int64_t>::max()) == "9999-12-31T23:59:59.999Z");
  CHECK(rfc3339(std::numeric_limits<std::int64_t>::min()) == "0000-01-01T00:00:00.000Z");
}

TEST_CASE("json: times are RFC 3339 in UTC and come back") {
  CHECK(rfc3339(0) == "1970-01-01T00:00:00.000Z");
  CHECK(rfc3339(1795559400123) == "2026-11-24T22:30:00.123Z");
  for (const std::int64_t ms : {std::int64_t{0}, std::int64_t{951782400001}, std::int64_t{1795559400123},
                                std::int64_t{4102444799999}}) {
    std::int64_t back = -1;
    REQUIRE(unix_ms_from_rfc3339(rfc3339(ms), back));
    CHECK(back == ms);
  }
  std::int64_t whole = 0;
  REQUIRE(unix_ms_from_rfc3339("2026-11-24T22:30:00Z", whole));
  CHECK(whole == 1795559400000);
  std::int64_t untouched = 7;
  for (const char* text : {"", "2026-11-24", "2026-02-30T00:00:00.000Z", "2026-11-24T22:30:00.123Zx",
                           "2026-11-24T22:30:00Zx", "2026-11-24T22:30Z", "2026-11-24T25:30:00.123Z"})
    CHECK_FALSE(unix_ms_from_rfc3339(text, untouched));
  CHECK(untouched == 7);
}

}  // namespace json_test
