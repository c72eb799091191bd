#include "daemon/agent/rank_environment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

namespace rtrain::agent {
namespace {

constexpr const char* kKept[] = {"PATH", "HOME", "LANG", "USER", "TMPDIR"};

/// Set below for each rank, and true of that rank alone.
constexpr std::array kOfRank{"RANK",
                             "LOCAL_RANK",
                             "WORLD_SIZE",
                             "LOCAL_WORLD_SIZE",
                             "GROUP_RANK",
                             "NODE_RANK",
                             "MASTER_ADDR",
                             "MASTER_PORT",
                             "RTRAIN_JOB_ID",
                             "RTRAIN_JOB_NAME",
                             "RTRAIN_ATTEMPT",
                             "RTRAIN_NODE",
                             "RTRAIN_NODE_ADDRESS",
                             "RTRAIN_RUN_DIR",
                             "RTRAIN_RANK_DIR",
                             "RTRAIN_LAUNCH_FILE",
                             "RTRAIN_AGENT_SOCKET",
                             "RTRAIN_SECRET",
                             "RTRAIN_ARRAY_JOB_ID",
                             "RTRAIN_ARRAY_INDEX",
                             "RTRAIN_ARRAY_COUNT",
                             "RTRAIN_ARRAY_MIN",
                             "RTRAIN_ARRAY_MAX",
                             "RTRAIN_ARRAY_STEP",
                             "RTRAIN_VALIDATED_JOB_ID",
                             "RTRAIN_VALIDATED_CHECKPOINT",
                             "RTRAIN_SWEEP_ID",
                             "RTRAIN_TRIAL"};

/// The union of the job's GPUs on this node, in order: every worker of the node sees all of them (NCCL needs
/// it for peer access, and so does Ray), and its own are those at its place.
std::string visible_gpus(const proto::Launch& launch) {
  std::set<int> all;
  for (const auto& rank : launch.ranks) all.insert(rank.gpus.begin(), rank.gpus.end());
  std::string text;
  for (const int gpu : all) text += (text.empty() ? "" : ",") + std::to_string(gpu);
  return text;
}

int cpu_threads(const proto::Resources& resources) {
  const auto cpus = resources.find("CPU");
  return cpus == resources.end() ? 1 : std::max(1, static_cast<int>(std::floor(cpus->second)));
}

}  // namespace

std::map<std::string, std::string> without_rank(std::map<std::string, std::string> environment) {
  for (const char* name : kOfRank) environment.erase(name);
  return environment;
}

EnvironmentList rank_environment(const proto::Launch& launch, const proto::RankPlacement& rank,
                                 const std::string& rank_dir, const NodeFacts& node) {
  std::map<std::string, std::string> env;
  if (launch.spec.env_inherit) {
    env = node.inherited;
  } else {
    for (const char* name : kKept)
      if (const auto found = node.inherited.find(name); found != node.inherited.end())
        env[name] = found->second;
  }
  env["OMP_NUM_THREADS"] = std::to_string(cpu_threads(launch.spec.scaling_config.resources()));
  // The log is a file: Python would keep what is printed for itself until it has 8 KiB or ends.
  if (!launch.spec.train_func) env.try_emplace("PYTHONUNBUFFERED", "1");
  if (!node.interface.empty()) {
    env["GLOO_SOCKET_IFNAME"] = node.interface;
    env["NCCL_SOCKET_IFNAME"] = "=" + node.interface;  // without "=" NCCL takes each interface that begins so
  }
  for (const auto& [name, value] : launch.spec.env) env[name] = value;

  env["RANK"] = std::to_string(rank.rank);
  env["LOCAL_RANK"] = std::to_string(rank.local_rank);
  env["WORLD_SIZE"] = std::to_string(launch.world_size);
  env["LOCAL_WORLD_SIZE"] = std::to_string(launch.ranks.size());
  env["GROUP_RANK"] = env["NODE_RANK"] = std::to_string(rank.node_rank);
  env["MASTER_ADDR"] = launch.master_addr;
  env["MASTER_PORT"] = std::to_string(launch.master_port);
  env["CUDA_VISIBLE_DEVICES"] = visible_gpus(launch);
  env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID";  // as NVML counts; CUDA's own order is the fastest first
  if (launch.array) {
    const auto& array = *launch.array;
    env["RTRAIN_ARRAY_JOB_ID"] = to_string(array.id);
    for (const auto& [name, value] : {std::pair{"INDEX", array.index},
                                      {"COUNT", array.count},
                                      {"MIN", array.min},
                                      {"MAX", array.max},
                                      {"STEP", array.step}})
      env[std::string("RTRAIN_ARRAY_") + name] = std::to_string(value);
  }
  if (launch.validates) {
    env["RTRAIN_VALIDATED_JOB_ID"] = to_string(launch.validates->job);
    env["RTRAIN_VALIDATED_CHECKPOINT"] = launch.validates->path;
  }
  if (launch.sweep) {
    env["RTRAIN_SWEEP_ID"] = to_string(launch.sweep->sweep);
    env["RTRAIN_TRIAL"] = std::to_string(launch.sweep->trial);
  }
  env["RTRAIN_JOB_ID"] = to_string(launch.job);
  env["RTRAIN_JOB_NAME"] = launch.spec.name;
  env["RTRAIN_ATTEMPT"] = to_string(launch.attempt);
  env["RTRAIN_NODE"] = node.node;
  env["RTRAIN_NODE_ADDRESS"] = node.address;
  env["RTRAIN_RUN_DIR"] = launch.run_dir;
  env["RTRAIN_RANK_DIR"] = rank_dir;
  env["RTRAIN_LAUNCH_FILE"] = node.launch_file;
  env["RTRAIN_AGENT_SOCKET"] = node.agent_socket;
  env["RTRAIN_SECRET"] = node.secret;
  return {env.begin(), env.end()};
}

}  // namespace rtrain::agent
