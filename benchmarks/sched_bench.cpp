// What a pass of the planner costs in a large cluster with a long queue: rtrain-sched-bench [nodes jobs]. One
// JSON line on stdout.
#include "daemon/core/scheduler.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <random>

using namespace rtrain;
using namespace rtrain::core;

namespace {

constexpr int kGpus = 8, kRack = 16, kUsers = 40, kEnds = 200;
constexpr proto::UnixMs kNow = 1'700'000'000'000;

NodeView make_node(int number) {
  NodeView view;
  const auto digits = std::to_string(number);
  view.info.name = "node" + std::string(6 - digits.size(), '0') + digits;
  view.info.address = "10.0.0.1";
  view.info.resources = {{"CPU", 96}, {"GPU", kGpus}, {"memory", 1e12}};
  view.info.labels = {{"rtrain/rack", "rack" + std::to_string(number / kRack)}};
  for (int index = 0; index < kGpus; ++index)
    view.info.gpus.push_back({index, view.info.name + "-" + std::to_string(index), "NVIDIA H100 80GB HBM3",
                              std::uint64_t{80} << 30});
  return view;
}

/// Mixed as in a shared cluster: mostly small, some of hundreds of GPUs; a few with shares of a GPU, spread
/// out, elastic or within a rack.
WaitingJob make_job(std::int64_t number, std::mt19937& random) {
  const auto pick = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  static constexpr int kSizes[] = {1, 1, 1, 2, 2, 4, 8, 8, 16, 32, 64, 512};
  WaitingJob job{JobId(number), {}};
  job.scaling.use_gpu = true;
  job.scaling.num_workers = kSizes[pick(0, std::size(kSizes) - 1)];
  job.scaling.resources_per_worker = proto::Resources{{"GPU", 1}, {"CPU", pick(0, 1) == 0 ? 4 : 8}};
  if (job.scaling.num_workers == 1 && pick(0, 3) == 0)
    job.scaling.resources_per_worker = proto::Resources{{"GPU", 0.5}, {"CPU", 2}};
  if (pick(0, 19) == 0) job.scaling.placement_strategy = proto::PlacementStrategy::kSpread;
  if (job.scaling.num_workers > 8 && pick(0, 4) == 0) job.scaling.min_workers = job.scaling.num_workers / 2;
  if (job.scaling.num_workers == 32 && pick(0, 4) == 0)
    job.scheduling.topology =
        proto::TopologyConfig{proto::TopologyLevel::kRack, proto::TopologyMode::kRequired};
  if (pick(0, 9) != 0) job.scheduling.time_limit_s = 3600.0 * (1 << pick(0, 5));
  job.scheduling.priority = 10 * pick(0, 2);
  job.scheduling.queue = pick(0, 2) == 0 ? "research" : pick(0, 1) == 0 ? "production" : "default";
  job.user = "user" + std::to_string(pick(0, kUsers - 1));
  return job;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  const int nodes = argc > 1 ? std::atoi(argv[1]) : 10'000, jobs = argc > 2 ? std::atoi(argv[2]) : 100'000;
  std::mt19937 random(1);
  Snapshot snapshot;
  for (int i = 0; i < nodes; ++i) snapshot.nodes.push_back(make_node(i));
  // First a cluster that has filled up, then the jobs that wait beside it.
  for (std::int64_t i = 1; i <= jobs; ++i) snapshot.queue.push_back(make_job(i, random));
  snapshot.queues["research"].weight = 2;
  snapshot.queues["production"].priority = 5;
  for (int user = 0; user < kUsers; ++user)
    snapshot.fair_share.charge("default", "user" + std::to_string(user), {{"GPU", 1}}, 100.0 * user, kNow);

  auto start = std::chrono::steady_clock::now();
  auto planner = make_planner(snapshot);
  auto plan = planner.plan(kNow);
  const double full_s = seconds_since(start);

  std::vector<JobId> running;
  for (auto& one : plan.starts) {
    const auto& job = snapshot.queue[static_cast<std::size_t>(one.id.value() - 1)];
    planner.start({job, one.placement.ranks, kNow});
    running.push_back(one.id);
  }
  const auto started = plan.starts.size();
  // The queue is as long as it was: others came in.
  for (std::int64_t i = jobs + 1; i <= jobs + static_cast<std::int64_t>(started); ++i) {
    snapshot.queue.push_back(make_job(i, random));
    planner.wait(snapshot.queue.back());
  }
  proto::UnixMs now = kNow + 1000;
  plan = planner.plan(now);
  std::vector<double> passes;
  std::size_t starts = 0;
  for (int i = 0; i < kEnds && !running.empty(); ++i) {
    now += 1000;
    const auto which = std::uniform_int_distribution<std::size_t>(0, running.size() - 1)(random);
    start = std::chrono::steady_clock::now();
    planner.end(running[which]);
    plan = planner.plan(now);
    passes.push_back(seconds_since(start) * 1000);
    running.erase(running.begin() + static_cast<std::ptrdiff_t>(which));
    for (auto& one : plan.starts) {
      planner.start({snapshot.queue[static_cast<std::size_t>(one.id.value() - 1)], one.placement.ranks, now});
      running.push_back(one.id);
    }
    for (const auto& order : plan.yields)
      planner.stopping(order.id, now + 60'000, order.cause == proto::YieldCause::kResize);
    starts += plan.starts.size();
  }
  std::sort(passes.begin(), passes.end());
  const auto share = [&](double part) {
    return passes[std::min(passes.size() - 1,
                           static_cast<std::size_t>(part * static_cast<double>(passes.size())))];
  };
  std::cout << R"({"nodes": )" << nodes << R"(, "waiting": )" << planner.waiting() << R"(, "full_s": )"
            << full_s << R"(, "started": )" << started << R"(, "incremental_ms": )" << share(0.5)
            << R"(, "incremental_p99_ms": )" << share(0.99) << R"(, "passes": )" << passes.size()
            << R"(, "started_after_ends": )" << starts << "}\n";
}
