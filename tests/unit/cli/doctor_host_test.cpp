#include "cli/doctor_host.h"

#include "tests/support/catch.h"

#include <algorithm>

using namespace rtrain;
using namespace rtrain::cli;
using proto::Check;
using proto::Health;

namespace {

HostFacts good_host() {
  HostFacts facts;
  facts.open_files = facts.processes = facts.locked_memory_bytes = UINT64_MAX;
  facts.shm_free_mib = 1024;
  facts.storage = {"/results", "", 100, 1, 500};
  facts.ports = {{7337, "agents of a head", ""}};
  return facts;
}

HostFacts with_gpu() {
  auto facts = good_host();
  facts.nvidia_devices = true;
  facts.gpus.gpus = {{0, "GPU-0", "H100", 80ULL << 30}};
  facts.gpus.driver_version = "580.1";
  facts.gpus.cuda_version = 13000;
  facts.gpu_states = {{0, 1980, 1980, 40, 0, std::uint64_t{0}, {}}};
  return facts;
}

Check one(const std::vector<Check>& checks, const std::string& name) {
  const auto found = std::ranges::find(checks, name, &Check::name);
  REQUIRE(found != checks.end());
  return *found;
}

}  // namespace

TEST_CASE("doctor: a machine without faults is ok in every line") {
  for (const auto& facts : {good_host(), with_gpu()}) CHECK(proto::worst_of(judge(facts)) == Health::kOk);
  CHECK(one(judge_cuda(good_host(), 13000, 0), "gpus").detail == "none: jobs train on the CPU");
  CHECK(one(judge_cuda(with_gpu(), 13000, 1), "gpus").health == Health::kOk);
}

TEST_CASE("doctor: each fault is one line with a way out") {
  struct Row {
    const char* name;
    void (*spoil)(HostFacts&);
    Health health;
  };
  const std::vector<Row> rows{
      {"open files", [](HostFacts& f) { f.open_files = 1024; }, Health::kWarning},
      {"processes", [](HostFacts& f) { f.processes = 100; }, Health::kWarning},
      {"locked memory",
       [](HostFacts& f) {
         f.infiniband = true;
         f.locked_memory_bytes = 64 << 10;
       },
       Health::kWarning},
      {"/dev/shm", [](HostFacts& f) { f.shm_free_mib = 64; }, Health::kWarning},
      {"/dev/shm", [](HostFacts& f) { f.shm_free_mib = -1; }, Health::kFailure},
      {"control groups", [](HostFacts& f) { f.cgroups = "none"; }, Health::kWarning},
      {"storage", [](HostFacts& f) { f.storage.problem = "/results: Permission denied"; }, Health::kFailure},
      {"storage", [](HostFacts& f) { f.storage.free_gib = 0.5; }, Health::kWarning},
      {"storage", [](HostFacts& f) { f.storage.fsync_ms = 50; }, Health::kWarning},
      {"nvml 0", [](HostFacts& f) { f.gpu_states[0].uncorrected_errors = 3; }, Health::kFailure},
      {"nvml 0", [](HostFacts& f) { f.gpu_states[0].processes = {4711, 4712}; }, Health::kWarning},
  };
  for (const auto& row : rows) {
    INFO(row.name);
    auto facts = with_gpu();
    row.spoil(facts);
    const auto checks = judge(facts);
    const auto check = one(checks, row.name);
    CHECK(check.health == row.health);
    CHECK_FALSE(check.hint.empty());
    CHECK(std::ranges::count_if(checks, [](const Check& each) { return each.health != Health::kOk; }) == 1);
  }
}

TEST_CASE("doctor: driver and LibTorch are held against each other") {
  auto old_driver = with_gpu();
  old_driver.gpus.cuda_version = 12080;
  CHECK(one(judge_cuda(old_driver, 13000, 0), "gpus").detail ==
        "driver 580.1 serves CUDA 12.8, LibTorch needs 13.0");
  // a LibTorch without CUDA
  CHECK(one(judge_cuda(with_gpu(), 0, 0), "gpus").health == Health::kFailure);
  CHECK(one(judge_cuda(with_gpu(), 13000, 0), "gpus").health == Health::kFailure);  // it sees none
  auto two = with_gpu();
  two.gpus.gpus.push_back({1, "GPU-1", "H100", 80ULL << 30});
  CHECK(one(judge_cuda(two, 13000, 1), "gpus").health == Health::kWarning);
  auto no_nvml = good_host();
  no_nvml.nvidia_devices = true;
  CHECK(one(judge_cuda(no_nvml, 13000, 1), "gpus").health == Health::kFailure);
}

TEST_CASE("doctor: a check reads back as it was written") {
  const Check check{"gpu 0", Health::kWarning, "slow", "look at it", {{"copy_gb_s", 12.5}}};
  const auto back = proto::Json(check).get<Check>();
  CHECK(back.name == check.name);
  CHECK(back.health == check.health);
  CHECK(back.detail == check.detail);
  CHECK(back.hint == check.hint);
  CHECK(back.figures == check.figures);
  CHECK(proto::Json(Check{}).at("figures").is_object());
}
