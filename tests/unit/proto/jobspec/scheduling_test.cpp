#include "proto/jobspec/scheduling.h"
#include "tests/support/catch.h"

namespace jobspec_scheduling_test {

using namespace rtrain;
using namespace rtrain::proto;

TEST_CASE("time limit: the forms of Slurm and those with units") {
  const std::vector<std::pair<const char*, double>> good{
      {"90m", 5400},          {"1h30m", 5400},  {"45s", 45},        {"2d", 172'800},  {"1.5h", 5400},
      {"1d2h3m4s", 93'784},   {"90:00", 5400},  {"01:30:00", 5400}, {"1-02", 93'600}, {"1-02:03", 93'780},
      {"1-02:03:04", 93'784}, {"0-00:00:01", 1}};
  for (const auto& [text, seconds] : good) {
    INFO(text);
    const auto parsed = parse_time_limit(text);
    REQUIRE(parsed.has_value());
    CHECK(*parsed == seconds);
  }
  for (const char* text : {"", "m", "-5m", "5x", "30m1h", "1:2:3:4", "1-", "-1", "1-2-3", "::", "5m ", "0s",
                           "00:00", "inf", "nan", "1e3m", "99999999d"}) {
    INFO(text);
    CHECK_FALSE(parse_time_limit(text).has_value());
  }
  CHECK(parse_time_limit("90").error().message() ==
        "\"90\" has no unit; write \"90m\" for minutes or \"90s\" for seconds");
}

TEST_CASE("dependencies: kind and jobs") {
  const auto parsed = parse_dependency("afterany:3:14");
  REQUIRE(parsed.has_value());
  CHECK(*parsed == std::vector<Dependency>{{DependencyKind::kAfterAny, JobId(3)},
                                           {DependencyKind::kAfterAny, JobId(14)}});
  CHECK(to_string(parsed->front()) == "afterany:3");
  for (const char* text :
       {"", "afterok", "afterok:", "afterok:0", "afterok:-1", "afterok:x", "afterok:1:", "before:1", "12"}) {
    INFO(text);
    CHECK_FALSE(parse_dependency(text).has_value());
  }
}

TEST_CASE("array: indices, step and how many at a time") {
  const std::vector<std::pair<const char*, ArraySpec>> good{
      {"0-3", {{0, 1, 2, 3}, 1, {}}},    {"0-15:4%4", {{0, 4, 8, 12}, 4, 4}},
      {"7,1,3", {{1, 3, 7}, 1, {}}},     {"5", {{5}, 1, {}}},
      {"5-5:3", {{5}, 1, {}}},           {"1-2,9%1", {{1, 2, 9}, 1, 1}},
      {"0-4:2,1", {{0, 1, 2, 4}, 1, {}}}};
  for (const auto& [text, array] : good) {
    INFO(text);
    const auto parsed = parse_array(text);
    REQUIRE(parsed.has_value());
    CHECK(*parsed == array);
    CHECK(*parse_array(to_string(array)) == array);
  }
  CHECK(to_string(*parse_array("0-99%10")) == "0-99%10");
  CHECK(to_string(*parse_array("0-15:4")) == "0-12:4");
  CHECK(parse_array("0-99999").has_value());
  for (const char* text : {"", "a", "3-1", "1-", "-1", "1,,2", "1,1", "0-3,2", "0-3%0", "0-3%", "0-3:0",
                           "5:2", "0-100000", "0-99999,200000", "0-1000000000", "0-3%x"}) {
    INFO(text);
    CHECK_FALSE(parse_array(text).has_value());
  }
}

}  // namespace jobspec_scheduling_test
