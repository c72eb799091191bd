#include "daemon/agent/rank_environment.h"

#include "tests/support/catch.h"

#include <map>
#include <string>
#include <vector>

namespace rank_environment_test {

using namespace rtrain;
using namespace rtrain::agent;

namespace {

using Names = std::map<std::string, std::string>;

/// The second of two nodes, with ranks 2 and 3 of a job on GPUs.
proto::Launch launch_of_node_b() {
  proto::Launch launch;
  launch.job = JobId(12);
  launch.attempt = Attempt(3);
  launch.spec.name = "mnist";
  launch.spec.command = {"train"};
  launch.spec.scaling_config.num_workers = 4;
  launch.spec.scaling_config.use_gpu = true;
  launch.spec.scaling_config.resources_per_worker = proto::Resources{{"CPU", 4}, {"GPU", 2}};
  launch.spec.env = {{"LR", "0.1"}};
  launch.run_dir = "/runs/mnist_12";
  launch.world_size = 4;
  launch.num_nodes = 2;
  launch.ranks = {{2, "b", 1, 0, {1, 2}}, {3, "b", 1, 1, {5, 10}}};
  launch.master_addr = "10.0.0.1";
  launch.master_port = 40123;
  return launch;
}

NodeFacts node_b() {
  NodeFacts facts;
  facts.node = "b";
  facts.address = "10.0.0.2";
  facts.interface = "eth1";
  facts.agent_socket = "/state/agent.sock";
  facts.launch_file = "/state/jobs/12/3/launch.json";
  facts.secret = "s3cret";
  facts.inherited = {{"PATH", "/usr/bin:/bin"}, {"HOME", "/root"},      {"LANG", "C.UTF-8"},
                     {"USER", "root"},          {"TMPDIR", "/scratch"}, {"RTRAIN_TOKEN_FILE", "/etc/token"},
                     {"LD_PRELOAD", "x.so"}};
  return facts;
}

Names environment(const proto::Launch& launch, const NodeFacts& facts, std::size_t local = 1) {
  const auto list = rank_environment(launch, launch.ranks[local], "/state/jobs/12/3/rank-3", facts);
  Names names(list.begin(), list.end());
  CHECK(names.size() == list.size());  // each name once
  CHECK(std::is_sorted(list.begin(), list.end()));
  return names;
}

}  // namespace

TEST_CASE("rank environment: a job of an array finds its index and the array's bounds, as under Slurm") {
  auto launch = launch_of_node_b();
  const auto alone = environment(launch, node_b());
  CHECK(std::ranges::none_of(alone, [](const auto& pair) { return pair.first.starts_with("RTRAIN_ARRAY"); }));
  launch.array = proto::ArrayTask{JobId(10), 6, 4, 2, 0, 9, 3};
  const auto env = environment(launch, node_b());
  const std::pair<const char*, const char*> expected[] = {{"JOB_ID", "10"}, {"INDEX", "6"}, {"COUNT", "4"},
                                                          {"MIN", "0"},     {"MAX", "9"},   {"STEP", "3"}};
  for (const auto& [name, value] : expected) CHECK(env.at(std::string("RTRAIN_ARRAY_") + name) == value);
}

TEST_CASE("rank environment: the whole of a rank of a job on two nodes with GPUs") {
  const Names expected{
      {"CUDA_VISIBLE_DEVICES", "1,2,5,10"},
      {"CUDA_DEVICE_ORDER", "PCI_BUS_ID"},
      {"GLOO_SOCKET_IFNAME", "eth1"},
      {"GROUP_RANK", "1"},
      {"HOME", "/root"},
      {"LANG", "C.UTF-8"},
      {"LOCAL_RANK", "1"},
      {"LOCAL_WORLD_SIZE", "2"},
      {"LR", "0.1"},
      {"MASTER_ADDR", "10.0.0.1"},
      {"MASTER_PORT", "40123"},
      {"NCCL_SOCKET_IFNAME", "=eth1"},
      {"NODE_RANK", "1"},
      {"OMP_NUM_THREADS", "4"},
      {"PATH", "/usr/bin:/bin"},
      {"PYTHONUNBUFFERED", "1"},
      {"RANK", "3"},
      {"RTRAIN_AGENT_SOCKET", "/state/agent.sock"},
      {"RTRAIN_ATTEMPT", "3"},
      {"RTRAIN_JOB_ID", "12"},
      {"RTRAIN_JOB_NAME", "mnist"},
      {"RTRAIN_LAUNCH_FILE", "/state/jobs/12/3/launch.json"},
      {"RTRAIN_NODE", "b"},
      {"RTRAIN_NODE_ADDRESS", "10.0.0.2"},
      {"RTRAIN_RANK_DIR", "/state/jobs/12/3/rank-3"},
      {"RTRAIN_RUN_DIR", "/runs/mnist_12"},
      {"RTRAIN_SECRET", "s3cret"},
      {"TMPDIR", "/scratch"},
      {"USER", "root"},
      {"WORLD_SIZE", "4"},
  };
  CHECK(environment(launch_of_node_b(), node_b()) == expected);
}

TEST_CASE("rank environment: without GPUs none is visible, and threads are at least one") {
  auto launch = launch_of_node_b();
  launch.spec.scaling_config.use_gpu = false;
  for (auto& rank : launch.ranks) rank.gpus.clear();
  for (const auto& [cpus, threads] :
       std::vector<std::pair<double, std::string>>{{0, "1"}, {0.5, "1"}, {1, "1"}, {2.9, "2"}, {64, "64"}}) {
    launch.spec.scaling_config.resources_per_worker = proto::Resources{{"CPU", cpus}};
    const auto env = environment(launch, node_b());
    CHECK(env.at("CUDA_VISIBLE_DEVICES").empty());
    CHECK(env.at("OMP_NUM_THREADS") == threads);
  }
}

TEST_CASE("rank environment: the job changes defaults, not what names the rank") {
  auto launch = launch_of_node_b();
  launch.spec.env = {{"OMP_NUM_THREADS", "7"}, {"GLOO_SOCKET_IFNAME", "ib0"}, {"PATH", "/mine"},
                     {"RANK", "99"},           {"RTRAIN_SECRET", "guess"},    {"EMPTY", ""}};
  const auto env = environment(launch, node_b());
  CHECK(env.at("OMP_NUM_THREADS") == "7");
  CHECK(env.at("GLOO_SOCKET_IFNAME") == "ib0");
  CHECK(env.at("NCCL_SOCKET_IFNAME") == "=eth1");
  CHECK(env.at("PATH") == "/mine");
  CHECK(env.at("EMPTY").empty());
  CHECK(env.at("RANK") == "3");
  CHECK(env.at("RTRAIN_SECRET") == "s3cret");
}

TEST_CASE("rank environment: clean unless inherited, and the job's word wins") {
  auto launch = launch_of_node_b();
  CHECK_FALSE(environment(launch, node_b()).contains("LD_PRELOAD"));
  launch.spec.env_inherit = true;
  auto facts = node_b();
  facts.inherited["LR"] = "9";
  facts.inherited["CUDA_VISIBLE_DEVICES"] = "0";
  const auto env = environment(launch, facts);
  CHECK(env.at("LD_PRELOAD") == "x.so");
  CHECK(env.at("LR") == "0.1");
  CHECK(env.at("CUDA_VISIBLE_DEVICES") == "1,2,5,10");
}

TEST_CASE("rank environment: an address on no interface names none") {
  auto facts = node_b();
  facts.interface.clear();
  facts.inherited.clear();
  const auto env = environment(launch_of_node_b(), facts);
  CHECK_FALSE(env.contains("GLOO_SOCKET_IFNAME"));
  CHECK_FALSE(env.contains("NCCL_SOCKET_IFNAME"));
  CHECK_FALSE(env.contains("PATH"));
}

TEST_CASE("rank environment: what Python prints is in the log at once, unless the job says otherwise") {
  auto launch = launch_of_node_b();
  CHECK(environment(launch, node_b()).at("PYTHONUNBUFFERED") == "1");
  launch.spec.env["PYTHONUNBUFFERED"] = "";
  CHECK(environment(launch, node_b()).at("PYTHONUNBUFFERED").empty());
  launch.spec.env.clear();
  launch.spec.env_inherit = true;
  auto facts = node_b();
  facts.inherited["PYTHONUNBUFFERED"] = "x";
  CHECK(environment(launch, facts).at("PYTHONUNBUFFERED") == "x");
  launch.spec.command.clear();
  launch.spec.train_func = proto::TrainFunc{"libx.so", "f"};
  CHECK_FALSE(environment(launch, node_b()).contains("PYTHONUNBUFFERED"));
}

TEST_CASE("rank environment: nothing of the rank that started the agent goes on to its own ranks", "[F07]") {
  const auto clean = without_rank({{"PATH", "/bin"},
                                   {"RTRAIN_SECRET", "outer"},
                                   {"RTRAIN_ARRAY_INDEX", "3"},
                                   {"RANK", "5"},
                                   {"RTRAIN_RANK_DIR", "/x"},
                                   {"RTRAIN_FIT_CALL", "1"},
                                   {"RTRAIN_API", "unix:/a"}});
  CHECK(clean == Names{{"PATH", "/bin"}, {"RTRAIN_FIT_CALL", "1"}, {"RTRAIN_API", "unix:/a"}});
}

}  // namespace rank_environment_test
