#include "proto/config/queues.h"

#include "proto/config/config.h"
#include "tests/support/catch.h"

namespace queues_test {

using namespace rtrain;
using namespace rtrain::proto;

TEST_CASE("queues: rules are read and written") {
  const auto document = *parse_json(
      R"({"default": {}, "research": {"weight": 2, "priority": -5, "gpus_max": 64, "cpus_max": 512.5, "jobs_max": 0, "user_gpus_max": 8,
      "user_cpus_max": 64, "user_jobs_max": 3, "time_limit_default": "1h30m", "time_limit_max": 7200, "max_priority": 10}})");
  const auto queues = read_queues(document);
  REQUIRE(queues.has_value());
  CHECK(queues->at("default") == QueueRules{});
  const auto& rules = queues->at("research");
  CHECK(rules.weight == 2);
  CHECK(rules.priority == -5);
  CHECK(rules.queue == Quota{64, 512.5, 0});
  CHECK(rules.user == Quota{8, 64, 3});
  CHECK(rules.time_limit_default_s == 5400);
  CHECK(rules.time_limit_max_s == 7200);
  CHECK(rules.max_priority == 10);
  CHECK(*read_queues(to_json(*queues)) == *queues);
}

TEST_CASE("queues: what is wrong is named with its queue and key") {
  struct Row {
    const char* text;
    const char* message;
  };
  for (const auto& row : {
           Row{R"([])", "expected an object of queues, such as {\"research\": {\"weight\": 2}}"},
           Row{R"({"a b": {}})", "a b: a queue is named by at most 63 letters, digits, '-', '_', '.'"},
           Row{R"({"q": 1})", "q: expected an object, such as {\"weight\": 2}"},
           Row{R"({"q": {"wieght": 1}})", "q.wieght: unknown key; did you mean weight?"},
           Row{R"({"q": {"weight": 0}})", "q.weight: 0 is out of range; it must be from 0.001 to 1e+06"},
           Row{R"({"q": {"jobs_max": 1.5}})", "q.jobs_max: expected a whole number"},
           Row{R"({"q": {"gpus_max": "8"}})", "q.gpus_max: expected a number"},
           Row{R"({"q": {"time_limit_max": 0}})", "q.time_limit_max: must be above 0"},
           Row{R"({"q": {"time_limit_default": "2h", "time_limit_max": "1h"}})",
               "q.time_limit_default: is above time_limit_max"},
       }) {
    INFO(row.text);
    const auto queues = read_queues(*parse_json(row.text));
    REQUIRE_FALSE(queues.has_value());
    CHECK(queues.error().message() == row.message);
  }
  HeadConfig config;
  auto all = fields(config);
  const auto errors = apply_json(all, {{"queues", {{"q", {{"wieght", 1}}}}}});
  REQUIRE(errors.size() == 1);
  CHECK(to_string(errors[0]) == "queues: q.wieght: unknown key; did you mean weight?");
}

}  // namespace queues_test
