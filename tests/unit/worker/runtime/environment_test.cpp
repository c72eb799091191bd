#include "worker/runtime/environment.h"

#include "tests/support/catch.h"

#include <map>

namespace environment_test {

using namespace rtrain;

namespace {

std::map<std::string, std::string> variables() {
  return {{"RANK", "3"},
          {"WORLD_SIZE", "4"},
          {"LOCAL_RANK", "1"},
          {"LOCAL_WORLD_SIZE", "2"},
          {"NODE_RANK", "1"},
          {"GROUP_RANK", "1"},
          {"MASTER_ADDR", "10.0.0.1"},
          {"MASTER_PORT", "29501"},
          {"RTRAIN_JOB_ID", "12"},
          {"RTRAIN_ATTEMPT", "2"},
          {"RTRAIN_NODE", "b"},
          {"RTRAIN_NODE_ADDRESS", "10.0.0.2"},
          {"RTRAIN_SECRET", "s"},
          {"RTRAIN_RANK_DIR", "/s/r"},
          {"RTRAIN_AGENT_SOCKET", "/s/agent.sock"},
          {"CUDA_VISIBLE_DEVICES", "1,4,5,7"}};
}

proto::Launch launch() {
  proto::Launch launch;
  launch.job = JobId(12);
  launch.attempt = Attempt(2);
  launch.world_size = 4;
  launch.num_nodes = 2;
  launch.ranks = {{2, "b", 1, 0, {1, 4}}, {3, "b", 1, 1, {5, 7}}};
  return launch;
}

Result<runtime::Environment> environment(const std::map<std::string, std::string>& from,
                                         const proto::Launch& with) {
  return runtime::environment_of(
      [&](const std::string& name) {
        return from.contains(name) ? std::optional(from.at(name)) : std::nullopt;
      },
      with);
}

}  // namespace

TEST_CASE("environment: a rank knows its place and its GPUs", "[unit][runtime]") {
  const auto read = environment(variables(), launch());
  REQUIRE(read.has_value());
  CHECK(read->in_job);
  CHECK(to_string(read->key) == "12.2.3");
  CHECK(std::tuple(read->rank, read->world_size, read->local_rank, read->local_world_size, read->node_rank,
                   read->num_nodes) == std::tuple(3, 4, 1, 2, 1, 2));
  CHECK(read->master_addr + ":" + std::to_string(read->master_port) == "10.0.0.1:29501");
  CHECK(read->gpus == 2);
  CHECK(read->device_indices == std::vector<int>{2, 3});
}

TEST_CASE("environment: outside a job a process is rank 0 of 1", "[unit][runtime]") {
  const auto read = runtime::environment_of(
      [](const std::string&) { return std::optional<std::string>("9"); }, std::nullopt);
  REQUIRE(read.has_value());
  CHECK_FALSE(read->in_job);
  CHECK(std::pair(read->rank, read->world_size) == std::pair(0, 1));
}

TEST_CASE("environment: a fault names the variable", "[unit][runtime]") {
  struct Row {
    const char* name;
    const char* value;
    const char* says;
  };
  for (const auto& row : std::vector<Row>{
           {"RANK", nullptr, "RANK is not set"},
           {"RANK", "x", "RANK is \"x\", not a whole number"},
           {"RANK", "4", "RANK is 4, not in 0..3"},
           {"RANK", "-1", "RANK is -1, not in 0..3"},
           {"WORLD_SIZE", "99999999999999999999", "not a whole number"},
           {"MASTER_PORT", "70000", "MASTER_PORT is 70000"},
           {"RTRAIN_SECRET", nullptr, "RTRAIN_SECRET is not set"},
           {"RTRAIN_ATTEMPT", "3", "do not agree with the launch file"},
           {"CUDA_VISIBLE_DEVICES", "1,4", "GPU 5 of this rank is not in CUDA_VISIBLE_DEVICES"}}) {
    auto changed = variables();
    changed.erase(row.name);
    if (row.value != nullptr) changed[row.name] = row.value;
    const auto read = environment(changed, launch());
    INFO(row.name << "=" << (row.value != nullptr ? row.value : "(unset)"));
    REQUIRE(read.has_error());
    CHECK(read.error().message().find(row.says) != std::string::npos);
  }
  auto elsewhere = launch();
  elsewhere.ranks.pop_back();
  CHECK(environment(variables(), elsewhere).error().message() ==
        "the launch file does not place rank 3 on this node");
}

}  // namespace environment_test
