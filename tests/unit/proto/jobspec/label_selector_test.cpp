#include "proto/jobspec/label_selector.h"
#include "tests/support/catch.h"

namespace label_selector_test {

using namespace rtrain;
using namespace rtrain::proto;

TEST_CASE("label selector: each form reads back as itself") {
  const std::vector<std::pair<const char*, const char*>> forms{
      {"a", "a"},      {"!a", "!a"}, {"in(b, a,a)", "in(a,b)"}, {"!in(a,b)", "!in(a,b)"}, {"in(a)", "a"},
      {" ! a ", "!a"}, {"", ""}};
  for (const auto& [text, canonical] : forms) {
    INFO(text);
    const auto match = parse_label_match(text);
    REQUIRE(match.has_value());
    CHECK(to_string(*match) == canonical);
    CHECK(*parse_label_match(canonical) == *match);
  }
  for (const char* text : {"in(", "in()", "in(a", "in( )", "a b", "!!a", "-a", "a-", "\xff"}) {
    INFO(text);
    CHECK_FALSE(parse_label_match(text).has_value());
  }
  CHECK_FALSE(parse_label_match(std::string(64, 'a')).has_value());
}

TEST_CASE("label selector: what holds for which node") {
  const std::map<std::string, std::string> labels{{"rack", "r1"}, {"rtrain/node", "n7"}};
  const auto holds = [&](const char* key, const char* text) {
    return matches({{key, *parse_label_match(text)}}, labels);
  };
  CHECK(holds("rack", "r1"));
  CHECK_FALSE(holds("rack", "!r1"));
  CHECK(holds("rack", "in(r0,r1)"));
  CHECK_FALSE(holds("rack", "!in(r0,r1)"));
  CHECK_FALSE(holds("zone", "z"));
  CHECK(holds("zone", "!z"));
  CHECK(holds("zone", "!in(y,z)"));
  CHECK(matches({}, labels));
  CHECK_FALSE(
      matches({{"rack", *parse_label_match("r1")}, {"rtrain/node", *parse_label_match("n8")}}, labels));
}

TEST_CASE("label selector: names of labels") {
  for (const char* key : {"a", "rtrain/node", "ray.io/gpu-domain", "A_b.c-d", "0"}) CHECK(is_label_key(key));
  for (const char* key : {"", "/a", "a/", "A/b", "a b", "-a", "a/b/c"}) CHECK_FALSE(is_label_key(key));
}

}  // namespace label_selector_test
