#include "proto/jobspec/jobspec.h"

#include "common/os/file.h"
#include "proto/jobspec/resources.h"
#include "tests/support/catch.h"
#include "tests/support/rounds.h"

#include <filesystem>
#include <fstream>
#include <random>

namespace jobspec_test {

using namespace rtrain;
using namespace rtrain::proto;
namespace fs = std::filesystem;

namespace {

JobSpec good(const std::string& text) {
  auto reading = read_job_spec(text);
  for (const auto& error : reading.errors) UNSCOPED_INFO(to_string(error));
  REQUIRE(reading.ok());
  return std::move(reading.spec);
}

JobSpec scaled(const std::string& scaling) {
  return good(R"({"command": ["true"], "scaling_config": )" + scaling + "}");
}

const char* const kFull = R"json({
  "$schema": "job.schema.json",
  "name": "fashion-resnet18",
  "train_func": {"library": "libfashion_mnist.so", "name": "train_func"},
  "train_loop_config": {"lr": 0.001, "batch_size": 128, "max_epochs": 10},
  "scaling_config": {"num_workers": 2, "use_gpu": true, "resources_per_worker": {"CPU": 1.5, "GPU": 2, "memory": "8GiB", "license": 1},
                     "placement_strategy": "STRICT_SPREAD", "accelerator_type": "H100", "label_selector": {"rack": "!in(b, a)", "zone": "z1"},
                     "elastic_resize_monitor_interval_s": 5},
  "run_config": {"storage_path": "results", "stop_grace_s": 2.5, "hang_timeout_s": 45,
                 "failure_config": {"max_failures": -1, "max_preemption_failures": 4, "controller_failure_limit": 5},
                 "checkpoint_config": {"num_to_keep": 2, "checkpoint_score_attribute": "loss", "checkpoint_score_order": "min"}},
  "scheduling": {"queue": "night", "priority": -7, "time_limit": "1-02:03:04", "begin_at": "2026-11-26T08:00:00Z", "depends_on": ["afterok:12:13", "after:14"], "array": "0-15:4%2",
                 "hold": true, "reservation": "r1", "preemptible": false, "preempt_grace_s": 5, "topology": {"level": "rack", "mode": "required"}},
  "torch_config": {"backend": "gloo", "timeout_s": 60, "init_timeout_s": 30.5},
  "env": {"A": "1", "OMP_NUM_THREADS": "2"},
  "env_inherit": true,
  "working_dir": "w",
  "resume_from_checkpoint": "c"
})json";

}  // namespace

TEST_CASE("job spec: every field is read") {
  const auto spec = good(kFull);
  CHECK(spec.name == "fashion-resnet18");
  CHECK(spec.train_func->library == "libfashion_mnist.so");
  CHECK(spec.train_func->name == "train_func");
  CHECK(spec.train_loop_config.at("batch_size") == 128);
  CHECK(spec.scaling_config.num_workers == 2);
  CHECK(spec.scaling_config.use_gpu);
  CHECK(*spec.scaling_config.resources_per_worker ==
        Resources{{"CPU", 1.5}, {"GPU", 2}, {"memory", 8.0 * (1 << 30)}, {"license", 1}});
  CHECK(spec.scaling_config.placement_strategy == PlacementStrategy::kStrictSpread);
  CHECK(spec.scaling_config.accelerator_type == "H100");
  CHECK(to_string(spec.scaling_config.label_selector) == "rack=!in(a,b), zone=z1");
  CHECK(spec.scaling_config.elastic_resize_monitor_interval_s == 5);
  const auto& scheduling = spec.scheduling;
  CHECK(scheduling.queue == "night");
  CHECK(scheduling.priority == -7);
  CHECK(scheduling.begin_at_ms == 1'795'680'000'000);
  CHECK(scheduling.time_limit_s == 93'784.0);
  CHECK(scheduling.depends_on == std::vector<Dependency>{{DependencyKind::kAfterOk, JobId(12)},
                                                         {DependencyKind::kAfterOk, JobId(13)},
                                                         {DependencyKind::kAfter, JobId(14)}});
  CHECK(scheduling.array == ArraySpec{{0, 4, 8, 12}, 4, 2});
  CHECK(scheduling.hold);
  CHECK(scheduling.reservation == "r1");
  CHECK_FALSE(scheduling.preemptible);
  CHECK(scheduling.preempt_grace_s == 5);
  CHECK(scheduling.topology == TopologyConfig{TopologyLevel::kRack, TopologyMode::kRequired});
  CHECK(spec.run_config.storage_path == "results");
  CHECK(spec.run_config.stop_grace_s == 2.5);
  CHECK(spec.run_config.hang_timeout_s == 45.0);
  CHECK(spec.hang_timeout_s() == 45);
  CHECK(spec.run_config.failure_config.max_failures == -1);
  CHECK(spec.run_config.failure_config.max_preemption_failures == 4);
  CHECK(spec.run_config.failure_config.controller_failure_limit == 5);
  CHECK(spec.run_config.checkpoint_config.num_to_keep == 2);
  CHECK(spec.run_config.checkpoint_config.checkpoint_score_attribute == "loss");
  CHECK_FALSE(spec.run_config.checkpoint_config.score_is_max);
  CHECK(spec.torch_config.backend == "gloo");
  CHECK(spec.torch_config.timeout_s == 60);
  CHECK(spec.torch_config.init_timeout_s == 30.5);
  CHECK(spec.env.at("A") == "1");
  CHECK(spec.env_inherit);
  CHECK(spec.working_dir == "w");
  CHECK(spec.resume_from_checkpoint == "c");
}

TEST_CASE("job spec: what is left out takes Ray's defaults") {
  const auto spec = good(R"({"command": ["/usr/bin/my prog", "x"]})");
  CHECK(spec.name == "my-prog");
  CHECK(spec.scaling_config.num_workers == 1);
  CHECK(spec.scaling_config.resources() == Resources{{"CPU", 1}});
  CHECK(spec.run_config.storage_path == "~/rtrain_results");
  CHECK(spec.run_config.failure_config.max_failures == 0);
  CHECK(spec.run_config.failure_config.max_preemption_failures == -1);
  CHECK(spec.run_config.failure_config.controller_failure_limit == -1);
  CHECK_FALSE(spec.run_config.hang_timeout_s.has_value());
  CHECK(spec.hang_timeout_s() == 1800);
  CHECK_FALSE(spec.run_config.checkpoint_config.num_to_keep.has_value());
  CHECK(spec.run_config.checkpoint_config.score_is_max);
  CHECK(good(R"({"train_func": {"library": "/a/libx.so"}})").name == "libx");
  CHECK(good(R"({"train_func": {"library": "/a/libx.so", "name": "f"}})").name == "f");
  CHECK(good(R"({"command": ["..."]})").name == "job");
}

TEST_CASE("job spec: the resources of a worker follow Ray's rules") {
  CHECK(scaled(R"({"use_gpu": true})").scaling_config.resources() == Resources{{"CPU", 1}, {"GPU", 1}});
  CHECK(scaled(R"({"use_gpu": true, "resources_per_worker": {"GPU": 2}})").scaling_config.resources() ==
        Resources{{"CPU", 1}, {"GPU", 2}});
  CHECK(scaled(R"({"use_gpu": true, "resources_per_worker": {"CPU": 4}})").scaling_config.resources() ==
        Resources{{"CPU", 4}, {"GPU", 1}});
  CHECK(scaled(R"({"resources_per_worker": {"memory": 5}})").scaling_config.resources() ==
        Resources{{"memory", 5}});
  CHECK(scaled(R"({"resources_per_worker": {"CPU": 0, "GPU": 0}})").scaling_config.resources() ==
        Resources{});
  CHECK(scaled(R"({"resources_per_worker": {}})").scaling_config.resources() == Resources{});
}

TEST_CASE("job spec: a worker asks for a bounded number of resources") {
  Json kinds = Json::object();
  for (int kind = 0; kind < 65; ++kind) kinds["r" + std::to_string(kind)] = 1;
  const Json spec{{"command", {"true"}}, {"scaling_config", {{"resources_per_worker", kinds}}}};
  const auto reading = read_job_spec(dump_json(spec));
  REQUIRE(reading.errors.size() == 1);
  CHECK(reading.errors[0].path == "scaling_config.resources_per_worker");
  CHECK(reading.errors[0].message == "names 65 resources; at most 64 can be asked for");
}

TEST_CASE("job spec: a number of workers, or a range of it") {
  const auto fixed = scaled(R"({"num_workers": 3})").scaling_config;
  CHECK(fixed.min_workers == 3);
  CHECK_FALSE(fixed.elastic());
  const auto elastic = scaled(R"({"num_workers": [2, 5]})").scaling_config;
  CHECK(elastic.min_workers == 2);
  CHECK(elastic.num_workers == 5);
  CHECK(elastic.elastic());
  CHECK_FALSE(scaled(R"({"num_workers": [4, 4]})").scaling_config.elastic());
  CHECK(to_json(scaled(R"({"num_workers": [2, 5]})"))["scaling_config"]["num_workers"] ==
        Json::array({2, 5}));
  CHECK(scaled(R"({"use_gpu": true, "resources_per_worker": {"GPU": 0.25}})")
            .scaling_config.resources()
            .at("GPU") == 0.25);
}

TEST_CASE("job spec: amounts of memory") {
  CHECK(parse_bytes("8GiB") == 8.0 * (1 << 30));
  CHECK(parse_bytes("1.5 GB") == 1.5e9);
  CHECK(parse_bytes("1024") == 1024.0);
  CHECK(parse_bytes("2kB") == 2000.0);
  for (const char* text : {"", "GiB", "-1GiB", "8gib", "8GiB x", "nan", "inf"})
    CHECK_FALSE(parse_bytes(text).has_value());
}

TEST_CASE("job spec: the canonical form reads back as the same job") {
  for (const char* text : {kFull, R"({"command": ["a", "b"]})", R"({"train_func": {"library": "x.so"}})"}) {
    const Json canonical = to_json(good(text));
    const auto again = read_job_spec(canonical);
    REQUIRE(again.ok());
    CHECK(to_json(again.spec) == canonical);
  }
}

TEST_CASE("job spec: paths become those that the user meant") {
  const auto folder = fs::temp_directory_path() / ("rtrain-jobspec-test-" + os::random_hex(6));
  fs::create_directories(folder);
  const std::string here = folder.string();

  auto spec = good(
      R"({"train_func": {"library": "libx.so"}, "run_config": {"storage_path": "out"}, "resume_from_checkpoint": "~/c"})");
  CHECK(check_resolved(spec).size() == 4);
  resolve_paths(spec, here, "/cwd", "/home/u", "/opt/lib");
  CHECK(spec.train_func->library == "/opt/lib/libx.so");
  CHECK(spec.working_dir == here);
  CHECK(spec.run_config.storage_path == "/cwd/out");
  CHECK(spec.resume_from_checkpoint == "/home/u/c");
  CHECK(check_resolved(spec).empty());

  std::ofstream(folder / "libx.so") << "";
  spec = good(R"({"train_func": {"library": "libx.so"}, "working_dir": "../w"})");
  resolve_paths(spec, here, "/cwd", "/home/u", "/opt/lib");
  CHECK(spec.train_func->library == here + "/libx.so");
  CHECK(spec.working_dir == (folder.parent_path() / "w").string());
  CHECK(spec.run_config.storage_path == "/home/u/rtrain_results");

  spec = good(R"({"train_func": {"library": "sub/../liby.so"}, "run_config": {"storage_path": "/abs"}})");
  resolve_paths(spec, here, "/cwd", "/home/u", "/opt/lib");
  CHECK(spec.train_func->library == here + "/liby.so");
  CHECK(spec.run_config.storage_path == "/abs");
  fs::remove_all(folder);
}

TEST_CASE("job spec: a configuration of the loop has at most 1 MiB") {
  const auto with = [](std::size_t bytes) {
    return read_job_spec(R"({"command": ["true"], "train_loop_config": {"a": ")" + std::string(bytes, 'x') +
                         R"("}})");
  };
  CHECK(with(1'000'000).ok());
  const auto large = with(1u << 20);
  REQUIRE(large.errors.size() == 1);
  CHECK(to_string(large.errors[0]) == "train_loop_config: is larger than 1 MiB; put large data into a file");
}

TEST_CASE("nearest: the known key that was meant, or none") {
  const std::vector<std::string> keys{"num_workers", "use_gpu", "CPU", "placement_strategy"};
  CHECK(nearest("num_worker", keys) == "num_workers");
  CHECK(nearest("nmu_workers", keys) == "num_workers");
  CHECK(nearest("NUM_WORKERS", keys) == "num_workers");
  CHECK(nearest("cpu", keys) == "CPU");
  CHECK(nearest("use_gpus", keys) == "use_gpu");
  CHECK(nearest("placement", keys) == "placement_strategy");
  CHECK(nearest("maximum", {"max", "min"}) == "max");
  CHECK(nearest("train", {"train_func", "train_loop_config"}).empty());
  CHECK(nearest("zzz", keys).empty());
  CHECK(nearest("", keys).empty());
  CHECK(nearest(std::string(100'000, 'n'), keys).empty());
}

TEST_CASE("job spec: no text makes the reader throw") {
  std::mt19937 random(42);
  const std::string base = kFull;
  for (int i = 0; i < test::rounds(20'000); ++i) {
    std::string text = base;
    for (auto n = 1 + random() % 3; n > 0; --n) {
      const auto at = random() % text.size();
      switch (random() % 3) {
        case 0: text[at] = static_cast<char>(random() % 256); break;
        case 1: text.erase(at, random() % 20); break;
        default: text.insert(at, text.substr(random() % text.size(), random() % 20));
      }
    }
    (void)read_job_spec(text);
  }
  SUCCEED();
}

}  // namespace jobspec_test
