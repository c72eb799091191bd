#include "proto/json.h"
#include "proto/json_text.h"
#include "tests/support/catch.h"

#include <cmath>
#include <limits>

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
  CHECK(error_of("") == "1:1: the text is empty");
  CHECK(error_of(" \n ") == "2:2: the text is empty");
}

TEST_CASE("json: a repeated key is refused where it stands") {
  CHECK(error_of("{\"a\": 1,\n \"b\": 2, \"a\": 3}") == "2:10: a: this key is given twice");
  CHECK(error_of("{\"x\": {\"a\": {\"deep\": 1}, \"a\": [1]}}") == "1:26: a: this key is given twice");
  CHECK(parse_json(R"({"a": {"a": 1}, "b": {"a": 1}})").has_value());
}

TEST_CASE("json: size and depth are limited") {
  CHECK(error_of("[1,2,3]", {6, 64}) == "1:1: the text has 7 bytes; at most 6 are read");
  CHECK(parse_json(std::string(64, '[') + std::string(64, ']')).has_value());
  CHECK(error_of(std::string(65, '[') + std::string(65, ']')) == "1:65: nested deeper than 64 levels");
  CHECK_THAT(error_of(std::string(1'000'000, '[')), Catch::Matchers::Contains("nested deeper"));
}

TEST_CASE("json text: keys and elements have their places, all repeats are told") {
  const auto text = read_json_text("{\n  \"a\": {\"b\": [10,\n 2, {\"c\" : \"x,y\"}]},\n  \"q\\\"r\": 1.5, \"a\": 2,\n \"a\":3}", {}, true);
  const auto at = [&](const std::string& path) { return std::pair(text.places.at(path).line, text.places.at(path).column); };
  CHECK(at("a") == std::pair(2, 3));
  CHECK(at("a.b") == std::pair(2, 9));
  CHECK(at("a.b[0]") == std::pair(2, 15));
  CHECK(at("a.b[1]") == std::pair(3, 2));
  CHECK(at("a.b[2]") == std::pair(3, 5));
  CHECK(at("a.b[2].c") == std::pair(3, 6));
  CHECK(at("q\"r") == std::pair(4, 3));
  REQUIRE(text.problems.size() == 2);
  CHECK(text.problems[0].path == "a");
  CHECK(text.problems[0].message == "this key is given twice; first in line 2");
  CHECK(text.problems[0].at.line == 4);
  CHECK(text.problems[0].at.column == 16);
  CHECK(text.problems[1].at.line == 5);
  CHECK(text.value.at("a").is_object());
}

TEST_CASE("json: dump never throws, and NaN is not null") {
  CHECK(dump_json({{"loss", std::nan("")}, {"x", {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()}}}) ==
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

TEST_CASE("json: times are RFC 3339 in UTC and come back") {
  CHECK(rfc3339(0) == "1970-01-01T00:00:00.000Z");
  CHECK(rfc3339(1795559400123) == "2026-11-24T22:30:00.123Z");
  for (const std::int64_t ms : {std::int64_t{0}, std::int64_t{951782400001}, std::int64_t{1795559400123}, std::int64_t{4102444799999}}) {
    std::int64_t back = -1;
    REQUIRE(unix_ms_from_rfc3339(rfc3339(ms), back));
    CHECK(back == ms);
  }
  std::int64_t whole = 0;
  REQUIRE(unix_ms_from_rfc3339("2026-11-24T22:30:00Z", whole));
  CHECK(whole == 1795559400000);
  std::int64_t untouched = 7;
  for (const char* text : {"", "2026-11-24", "2026-02-30T00:00:00.000Z", "2026-11-24T22:30:00.123Zx", "2026-11-24T22:30:00Zx", "2026-11-24T22:30Z", "2026-11-24T25:30:00.123Z"})
    CHECK_FALSE(unix_ms_from_rfc3339(text, untouched));
  CHECK(untouched == 7);
}
