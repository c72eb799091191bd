#include "cli/job_file.h"
#include "tests/support/catch.h"

namespace job_file_test {

using namespace rtrain;
using namespace rtrain::cli;
using proto::Json;

namespace {

Json set(Json document, const std::string& override) {
  auto changed = with_override(std::move(document), override);
  if (!changed) FAIL(changed.error().message());
  return *changed;
}

std::string refused(Json document, const std::string& override) {
  auto changed = with_override(std::move(document), override);
  REQUIRE(!changed.has_value());
  CHECK(changed.error().code() == Errc::kInvalidArgument);
  return changed.error().message();
}

JobFile read(const std::string& text, const std::vector<Override>& overrides = {}) {
  auto job = read_job("job.json", text, overrides, "/jobs", {"/cwd", "/home/u", "/opt/lib"});
  if (!job) FAIL(job.error().message());
  return *job;
}

}  // namespace

TEST_CASE("set: the value is JSON, or else a string", "[unit][cli]") {
  CHECK(set(Json::object(), "a=3") == Json{{"a", 3}});
  CHECK(set(Json::object(), "a=true") == Json{{"a", true}});
  CHECK(set(Json::object(), "a=[1,2]") == Json{{"a", {1, 2}}});
  CHECK(set(Json::object(), "a=\"3\"") == Json{{"a", "3"}});
  CHECK(set(Json::object(), "a=results/x") == Json{{"a", "results/x"}});
  CHECK(set(Json::object(), "a=007") == Json{{"a", "007"}});
  CHECK(set(Json::object(), "a=") == Json{{"a", ""}});
  CHECK(set(Json::object(), "a=b=c") == Json{{"a", "b=c"}});
}

TEST_CASE("set: the value is of the type that a job file has there", "[unit][cli]") {
  CHECK(set(Json::object(), "env.LR=0.1") == Json{{"env", {{"LR", "0.1"}}}});
  CHECK(set(Json::object(), "env.X=1") == Json{{"env", {{"X", "1"}}}});
  CHECK(set(Json::object(), "env.X=null") == Json{{"env", {{"X", "null"}}}});
  CHECK(set(Json::object(), "env.X=\"a b\"") == Json{{"env", {{"X", "a b"}}}});
  CHECK(set(Json::object(), "env.X=[1") == Json{{"env", {{"X", "[1"}}}});
  CHECK(set(Json::object(), "scheduling.array=0") == Json{{"scheduling", {{"array", "0"}}}});
  CHECK(set(Json::object(), "scheduling.time_limit=60") == Json{{"scheduling", {{"time_limit", 60}}}});
  CHECK(set(Json::object(), "scheduling.time_limit=90m") == Json{{"scheduling", {{"time_limit", "90m"}}}});
  CHECK(set(Json::object(), "name=7") == Json{{"name", "7"}});
  CHECK(set(Json::object(), "name=null") == Json{{"name", nullptr}});
  CHECK(set({{"command", {"./x", "old"}}}, "command.1=3") == Json{{"command", {"./x", "3"}}});
  CHECK(set(Json::object(), "scaling_config.num_workers=[1,4]") ==
        Json{{"scaling_config", {{"num_workers", {1, 4}}}}});
  CHECK(set(Json::object(), "scaling_config.resources_per_worker.memory=8GiB") ==
        Json{{"scaling_config", {{"resources_per_worker", {{"memory", "8GiB"}}}}}});
  CHECK(set(Json::object(), "train_loop_config.pattern={epoch}") ==
        Json{{"train_loop_config", {{"pattern", "{epoch}"}}}});
  CHECK(refused(Json::object(), "command=[\"ls\"").find("--set command=[\"ls\": expected a list such as") ==
        0);
  CHECK(refused(Json::object(), "train_loop_config={\"lr\": }").find("expected an object") !=
        std::string::npos);
}

TEST_CASE("set: a path makes the objects on its way and keeps the rest", "[unit][cli]") {
  CHECK(set({{"scaling_config", {{"use_gpu", true}}}}, "scaling_config.num_workers=4") ==
        Json{{"scaling_config", {{"use_gpu", true}, {"num_workers", 4}}}});
  CHECK(set(Json::object(), "a.b.c=1") == Json{{"a", {{"b", {{"c", 1}}}}}});
  CHECK(set({{"command", {"./x", "old"}}}, "command.1=new") == Json{{"command", {"./x", "new"}}});
}

TEST_CASE("set: what cannot be set is named", "[unit][cli]") {
  CHECK(refused(Json::object(), "a").find("must be PATH=VALUE") != std::string::npos);
  CHECK(refused(Json::object(), "=1").find("must be PATH=VALUE") != std::string::npos);
  CHECK(refused(Json::object(), "a..b=1") == "--set a..b=1: an empty name in the path");
  CHECK(refused({{"a", 1}}, "a.b=1") == "--set a.b=1: a is a number, not an object");
  CHECK(refused({{"command", {"x"}}}, "command.3=y") ==
        "--set command.3=y: command is an array of 1 elements: '3' is none of them");
  CHECK(refused(Json::array(), "a=1").find("array of 0 elements") != std::string::npos);
}

TEST_CASE("job_file: errors carry the place in the text", "[unit][cli]") {
  const JobFile job =
      read("{\n  \"command\": [\"true\"],\n  \"scaling_config\": {\n    \"num_worker\": 2\n  }\n}\n");
  REQUIRE(job.errors.size() == 1);
  CHECK(error_line(job, job.errors[0]) ==
        "job.json:4:5: scaling_config.num_worker: unknown key; did you mean num_workers?");
}

TEST_CASE("job_file: with --set the untouched errors keep their place, repaired ones go", "[unit][cli]") {
  const std::string text =
      "{\n  \"command\": [\"true\"],\n  \"nam\": \"x\",\n  \"scaling_config\": {\"num_workers\": 0}\n}\n";
  CHECK(read(text).errors.size() == 2);
  const JobFile job = read(text, {"scaling_config.num_workers=2"});
  REQUIRE(job.errors.size() == 1);
  CHECK(job.errors[0].path == "nam");
  CHECK(job.errors[0].line == 3);
  const JobFile broken = read("{\"command\": [\"true\"]}", {"scaling_config.num_workers=-1"});
  REQUIRE(broken.errors.size() == 1);
  CHECK(broken.errors[0].line == 0);
  CHECK(error_line(broken, broken.errors[0])
            .starts_with("--set scaling_config.num_workers=-1: -1 is out of range"));
}

TEST_CASE("job_file: an error that an option brings names the option, one of the file the file") {
  const std::string text =
      "{\n  \"command\": [\"true\"],\n  \"scheduling\": {\"time_limit\": 7, \"prio\": 1}\n}\n";
  Arguments args;
  args.values = {{"time", {"30"}}};
  auto overrides = *scheduling_overrides(args, 0);
  for (const char* set : {"a.b.c=3", "env.X=1", "command.0="}) overrides.emplace_back(set);
  const JobFile job = read(text, overrides);
  std::vector<std::string> lines;
  for (const auto& error : job.errors) lines.push_back(error_line(job, error));
  REQUIRE(lines.size() == 4);
  std::ranges::sort(lines);
  CHECK(lines[0].starts_with("--set a.b.c=3: a: unknown key"));
  CHECK(lines[1].starts_with("--set command.0=: command: names no program"));
  CHECK(lines[2].starts_with("--time 30: scheduling.time_limit: \"30\" has no unit"));
  CHECK(lines[3].starts_with("job.json:3:35: scheduling.prio: unknown key"));
}

TEST_CASE("job_file: paths are made absolute as the user means them", "[unit][cli]") {
  const JobFile job = read(
      R"({"train_func": {"library": "sub/libt.so", "name": "f"}, "run_config": {"storage_path": "results"}})");
  REQUIRE(job.errors.empty());
  CHECK(job.spec.train_func->library == "/jobs/sub/libt.so");
  CHECK(job.spec.run_config.storage_path == "/cwd/results");
  REQUIRE(!job.warnings.empty());
  CHECK(job.warnings[0] == "train_func.library: /jobs/sub/libt.so does not exist on this machine");
}

TEST_CASE("job_file: text that is no JSON is one error with its place, --set or not", "[unit][cli]") {
  for (const auto& overrides : {std::vector<Override>{}, std::vector<Override>{"name=x"}}) {
    const JobFile job = read("{\n \"command\": [\n", overrides);
    REQUIRE(job.errors.size() == 1);
    CHECK(job.errors[0].line >= 2);
  }
}

TEST_CASE("job_file: scheduling options are fields of the job", "[unit][cli]") {
  Arguments args;
  args.values = {{"queue", {"night"}},    {"time", {"90m"}},
                 {"priority", {"5"}},     {"depends-on", {"afterok:1,after:2", "afterany:3"}},
                 {"array", {"0-3"}},      {"hold", {}},
                 {"reservation", {"r1"}}, {"begin", {"now+1hour"}}};
  const JobFile job = read(R"({"command": ["true"], "scheduling": {"priority": 1, "preemptible": false}})",
                           *scheduling_overrides(args, 0));
  REQUIRE(job.errors.empty());
  const auto& scheduling = job.spec.scheduling;
  CHECK(scheduling.queue == "night");
  CHECK(scheduling.time_limit_s == 5400.0);
  CHECK(scheduling.priority == 5);
  CHECK(scheduling.depends_on.size() == 3);
  CHECK(scheduling.array->indices.size() == 4);
  CHECK(scheduling.hold);
  CHECK(scheduling.reservation == "r1");
  CHECK(scheduling.begin_at_ms == 3'600'000);
  CHECK_FALSE(scheduling.preemptible);

  args.values = {{"begin", {"soon"}}};
  CHECK(scheduling_overrides(args, 0).error().message().find("--begin: 'soon' is not a time") == 0);
  args.values = {{"time", {"90"}}, {"priority", {"high"}}};
  const JobFile bad = read(R"({"command": ["true"]})", *scheduling_overrides(args, 0));
  REQUIRE(bad.errors.size() == 2);
  CHECK(error_line(bad, bad.errors[0]) ==
        "--priority high: scheduling.priority: expected a whole number, found a string");
  CHECK(proto::to_string(bad.errors[1]).find("has no unit") != std::string::npos);
}

}  // namespace job_file_test
