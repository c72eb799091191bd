#include "cli/doctor_host.h"
#include "cli/doctor_gpus.h"

#include "tests/support/catch.h"

#include <algorithm>

namespace doctor_host_test {

using namespace rtrain;
using namespace rtrain::cli;
using proto::Check;
using proto::Health;

namespace {

HostFacts good_host() {
  HostFacts facts;
  facts.open_files = facts.processes = facts.locked_memory_bytes = facts.address_space_bytes = UINT64_MAX;
  facts.memory.machine_bytes = 64ULL << 30;
  facts.shm_free_bytes = 1 << 30;
  facts.cgroup = "/sys/fs/cgroup";
  facts.storage = {"/results", "", "", true, 100.0 * (1 << 30), 1, 500};
  facts.ports = {{7337, "agents", "--listen", ""}};
  return facts;
}

HostFacts with_gpu() {
  auto facts = good_host();
  facts.nvidia_devices = true;
  facts.nvml.gpus.gpus = {{0, "GPU-0", "H100", 80ULL << 30}};
  facts.nvml.gpus.driver_version = "580.1";
  facts.nvml.gpus.cuda_version = 13000;
  facts.nvml.states = {{0, 1980, 1980, 40, 0, std::uint64_t{0}, {}}};
  return facts;
}

std::vector<Check> judge_all(const HostFacts& facts) {
  auto checks = judge_limits(facts);
  checks.push_back(judge_storage(facts.storage));
  for (auto& check : judge_programs(facts)) checks.push_back(std::move(check));
  for (auto& check : judge_gpus(facts)) checks.push_back(std::move(check));
  return checks;
}

Check one(const std::vector<Check>& checks, const std::string& name) {
  const auto found = std::ranges::find(checks, name, &Check::name);
  REQUIRE(found != checks.end());
  return *found;
}

}  // namespace

TEST_CASE("doctor: a machine without faults is ok in every line") {
  for (const auto& facts : {good_host(), with_gpu()}) CHECK(proto::worst_of(judge_all(facts)) == Health::kOk);
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
      {"open files", [](HostFacts& f) { f.open_files = 16; }, Health::kFailure},
      {"processes", [](HostFacts& f) { f.processes = 100; }, Health::kWarning},
      {"address space", [](HostFacts& f) { f.address_space_bytes = 1 << 30; }, Health::kWarning},
      {"/proc", [](HostFacts& f) { f.proc.is_mounted = false; }, Health::kFailure},
      {"/proc", [](HostFacts& f) { f.proc.unreadable = {"/proc/net/tcp"}; }, Health::kWarning},
      {"/proc", [](HostFacts& f) { f.proc.hides_others = true; }, Health::kWarning},
      {"locked memory",
       [](HostFacts& f) {
         f.infiniband = true;
         f.locked_memory_bytes = 64 << 10;
       },
       Health::kWarning},
      {"/dev/shm", [](HostFacts& f) { f.shm_free_bytes = 64 << 20; }, Health::kWarning},
      {"/dev/shm", [](HostFacts& f) { f.shm_problem = "cannot be written: Read-only file system"; },
       Health::kFailure},
      {"control groups", [](HostFacts& f) { f.cgroup_problem = "no cgroups v2 are mounted here"; },
       Health::kWarning},
      {"storage", [](HostFacts& f) { f.storage.problem = "/results: Permission denied"; }, Health::kFailure},
      {"storage",
       [](HostFacts& f) {
         f.storage.problem = "/results: the file system does not answer within 15 s";
         f.storage.way_out = "see whether its server can be reached";
       },
       Health::kFailure},
      {"storage", [](HostFacts& f) { f.storage.free_bytes = 1 << 29; }, Health::kWarning},
      {"storage", [](HostFacts& f) { f.storage.fsync_ms = 50; }, Health::kWarning},
      {"programs", [](HostFacts& f) { f.programs_missing = {"/bin/rtrain-keeper: Permission denied"}; },
       Health::kFailure},
      {"gpus", [](HostFacts& f) { f.nvml.problem = "the NVIDIA driver does not answer"; }, Health::kFailure},
      {"nvml 0", [](HostFacts& f) { f.nvml.states[0].uncorrected_errors = 3; }, Health::kFailure},
      {"nvml 0", [](HostFacts& f) { f.nvml.states[0].processes = {4711, 4712}; }, Health::kWarning},
  };
  for (const auto& row : rows) {
    INFO(row.name);
    auto facts = with_gpu();
    row.spoil(facts);
    const auto checks = judge_all(facts);
    const auto check = one(checks, row.name);
    CHECK(check.health == row.health);
    CHECK_FALSE(check.hint.empty());
    CHECK(std::ranges::count_if(checks, [](const Check& each) { return each.health != Health::kOk; }) == 1);
  }
}

TEST_CASE("doctor: driver and LibTorch are held against each other") {
  auto old_driver = with_gpu();
  old_driver.nvml.gpus.cuda_version = 12080;
  CHECK(one(judge_cuda(old_driver, 13000, 0), "gpus").detail ==
        "driver 580.1 serves CUDA 12.8, LibTorch needs 13.0");
  // a LibTorch without CUDA
  CHECK(one(judge_cuda(with_gpu(), 0, 0), "gpus").health == Health::kFailure);
  CHECK(one(judge_cuda(with_gpu(), 13000, 0), "gpus").health == Health::kFailure);  // it sees none
  auto two = with_gpu();
  two.nvml.gpus.gpus.push_back({1, "GPU-1", "H100", 80ULL << 30});
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

TEST_CASE("doctor: a driver that gave no answer is told once") {
  auto facts = with_gpu();
  facts.nvml = {};
  facts.nvml.problem = "the NVIDIA driver does not answer within 10 s";
  CHECK(judge_gpus(facts).size() == 1);
  CHECK(judge_cuda(facts, 13000, 1).empty());
}

TEST_CASE("doctor: what NVML says reads back as it was written") {
  auto facts = with_gpu().nvml;
  facts.states[0].processes = {1, 2};
  const auto back = read_nvml_line(nvml_line(facts));
  REQUIRE(back);
  CHECK(nvml_line(*back) == nvml_line(facts));
  CHECK(back->states[0].uncorrected_errors == 0);
  facts.gpus.problem = "NVML counts 4294967280 GPUs";
  CHECK(read_nvml_line(nvml_line(facts))->problem == facts.gpus.problem);
  for (const char* line : {"", "{}", "[]", R"({"driver":1,"cuda":0,"problem":"","gpus":[],"states":[]})"})
    CHECK_FALSE(read_nvml_line(line));
}

TEST_CASE("doctor: without a GPU a /dev/shm that cannot be used is a warning") {
  auto facts = good_host();
  facts.shm_problem = "No such file or directory";
  CHECK(one(judge_limits(facts), "/dev/shm").health == Health::kWarning);
}

TEST_CASE("doctor: the memory that an agent would offer") {
  auto facts = good_host();
  CHECK(one(judge_limits(facts), "memory").detail == "64.0 GiB; an agent offers as much");
  facts.memory.limit_bytes = 4ULL << 30;
  CHECK(one(judge_limits(facts), "memory").detail ==
        "4.0 GiB, the limit of the control group; the machine has 64.0 GiB; an agent offers as much");
}

TEST_CASE("doctor: a limit that kept NVML from being asked is not the driver's fault") {
  auto facts = with_gpu();
  facts.nvml = {};
  facts.nvml.problem = "the process that asks NVML cannot be started: Too many open files";
  facts.nvml.was_asked = false;
  CHECK(one(judge_gpus(facts), "gpus").hint.find("ulimit -n") != std::string::npos);
}

TEST_CASE("doctor: a port that a head has is named with the option for another") {
  auto facts = good_host();
  facts.ports[0].problem = "Address already in use";
  const auto check = one(judge_programs(facts), "port 7337");
  CHECK(check.health == Health::kOk);
  CHECK(check.detail == "Address already in use: a head that is started here cannot listen on it for agents");
  CHECK(check.hint.find("--listen") != std::string::npos);
}

}  // namespace doctor_host_test
