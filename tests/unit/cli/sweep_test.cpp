#include "cli/verb.h"
#include "common/os/file.h"
#include "proto/json.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <cstdio>

#include <unistd.h>

namespace cli_sweep_test {

using namespace rtrain;
using namespace rtrain::cli;
using proto::Json;

namespace {

struct End {
  int status = 0;
  std::string out, err;
};

/// Runs the program with both streams going to files.
End run(const test::TempDir& dir, const std::vector<std::string>& args) {
  const std::string paths[] = {(dir / "stdout").string(), (dir / "stderr").string()};
  int kept[2];
  for (int stream = 0; stream < 2; ++stream) {
    std::FILE* file = std::fopen(paths[stream].c_str(), "w");
    kept[stream] = ::dup(STDOUT_FILENO + stream);
    ::dup2(::fileno(file), STDOUT_FILENO + stream);
    std::fclose(file);
  }
  End end;
  end.status = run_program(args, [](const char*) -> const char* { return nullptr; });
  for (int stream = 0; stream < 2; ++stream) {
    ::dup2(kept[stream], STDOUT_FILENO + stream);
    ::close(kept[stream]);
  }
  end.out = os::read_file(paths[0]).value();
  end.err = os::read_file(paths[1]).value();
  return end;
}

constexpr const char* kSweep = R"({
  "job": "jobs/job.json", "metric": "loss", "search": "random",
  "parameters": {"lr": {"float": [1e-4, 1], "log": true}},
  "schedule": {"asha": {"max": 9}},
  "limits": {"trials": 27}
})";

std::string write(const test::TempDir& dir, const char* name, const char* text) {
  const auto path = (dir / name).string();
  REQUIRE(os::replace_file(path, text).has_value());
  return path;
}

}  // namespace

TEST_CASE("sweep: validate finds the job beside the file, and tells all errors with their places",
          "[unit][cli]") {
  const test::TempDir dir;
  REQUIRE(os::make_dirs((dir / "jobs").string()).has_value());
  write(dir, "jobs/job.json", R"({"command": ["true"], "train_loop_config": {"lr": 0.1}})");
  const auto path = write(dir, "sweep.json", kSweep);
  const auto good = run(dir, {"sweep", "validate", path});
  CHECK(good.err == "");
  CHECK(good.out == path + ": valid; 27 trials by random, schedule asha\n");
  CHECK(good.status == 0);

  const auto bad = run(dir, {"sweep", "validate", "--set", "metric=", "--set", "parameters.lr.flot=3", path});
  CHECK(bad.status == 2);
  CHECK(bad.err == path + ":2:27: metric: missing; name the reported number that is searched by\n" + path +
                       ":3:18: parameters.lr.flot: unknown key; did you mean float?\n");
  const auto grid = run(dir, {"sweep", "validate", "-o", "json", "--set", "search=grid", "--set",
                              R"(parameters={"a": {"int": [1, 1000]}, "b": {"int": [1, 1000]}})", path});
  CHECK(grid.status == 2);
  const auto errors = proto::parse_json(grid.out).value().at("errors");
  CHECK(errors.at(0).at("message") == "the grid has more than 100000 points; use random, sobol or tpe");
}

TEST_CASE("sweep: a plan has the figures of the sweep's own rules", "[unit][cli]") {
  const test::TempDir dir;
  REQUIRE(os::make_dirs((dir / "jobs").string()).has_value());
  write(dir, "jobs/job.json",
        R"({"command": ["true"], "scaling_config": {"num_workers": 2, "use_gpu": true}})");
  const auto path = write(dir, "sweep.json", kSweep);
  const auto missing = run(dir, {"sweep", "plan", path});
  CHECK(missing.status == 2);
  CHECK(missing.err.find("needs --unit-time") != std::string::npos);
  const auto places = run(dir, {"sweep", "plan", "--unit-time", "60", path});
  CHECK(places.err.find("needs --places") != std::string::npos);

  const auto planned = run(dir, {"sweep", "plan", "--unit-time", "60", "--places", "3", "-o", "json", path});
  CHECK(planned.err == "");
  REQUIRE(planned.status == 0);
  const auto figures = proto::parse_json(planned.out).value();
  CHECK(figures.at("trials") == 27);
  CHECK(figures.at("at_rung").at(0) == 27);
  CHECK(figures.at("running_most") == 3);
  // Two GPUs a trial, and no more than all three places at all times.
  CHECK(figures.at("gpu_hours").get<double>() > 0);
  CHECK(figures.at("gpu_hours").get<double>() <= 6 * figures.at("hours").get<double>() * (1 + 1e-9));
  const auto table = run(dir, {"sweep", "plan", "--unit-time", "60", "--places", "3", path});
  CHECK(table.out.find("trained to their end") != std::string::npos);
  CHECK(table.out.find("assumed: 60 s a unit of the resource") != std::string::npos);

  const auto other = run(dir, {"sweep", "plann", path});
  CHECK(other.status == 2);
  CHECK(other.err.find("did you mean plan?") != std::string::npos);
  CHECK(run(dir, {"sweep", "validate", "--places", "3", path}).err.find("has no --places") !=
        std::string::npos);
}

TEST_CASE("sweep: each action takes what it is about, and its own options", "[unit][cli]") {
  const test::TempDir dir;
  const auto path = write(dir, "sweep.json", R"({"job": {"command": ["true"]}, "metric": "loss",
      "parameters": {"lr": {"float": [0, 1]}}, "limits": {"trials": 2}})");
  const auto refused = [&](std::vector<std::string> args, const char* what) {
    args.insert(args.begin(), "sweep");
    const auto end = run(dir, args);
    INFO(end.err);
    CHECK(end.status == 2);
    CHECK(end.err.find(what) != std::string::npos);
  };
  refused({"show"}, "rtrain sweep show takes the number of one sweep");
  refused({"show", "seven"}, "'seven' is no number of a sweep");
  refused({"list", "7"}, "rtrain sweep list takes nothing more");
  refused({"submit"}, "rtrain sweep submit takes one FILE");
  refused({"pause", "--now", "7"}, "rtrain sweep pause has no --now");
  refused({"stop", "--set", "seed=1", "7"}, "rtrain sweep stop has no --set");
  refused({"validate", "-o", "name", path}, "rtrain sweep validate has no -o name");
  refused({"run", "-o", "name", path}, "rtrain sweep run has no -o name");
  refused({"show", "7", "8"}, "rtrain sweep show takes the number of one sweep");
  refused({"extend", "7"}, "rtrain sweep extend needs --trials, how many more");
  refused({"extend", "--trials", "0", "7"}, "--trials");
  refused({"enqueue", "--set", "lr", "7"}, "--set lr: must be PARAMETER=VALUE");
  refused({"retry", "7"}, "rtrain sweep retry takes numbers of trials, or --failed");
  refused({"retry", "--failed", "7", "3"}, "rtrain sweep retry takes numbers of trials, or --failed");
  refused({"retry", "7", "x"}, "'x' is no number of a trial");
  refused({"submit", "--set", "metric=", path}, "name the reported number that is searched by");
}

}  // namespace cli_sweep_test
