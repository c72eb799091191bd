#include "tests/sim/plan.h"

#include <algorithm>
#include <cmath>

namespace rtrain::sim {

AttemptPlan make_attempt(Random& random, int workers) {
  AttemptPlan plan;
  plan.rank = random.between(0, workers - 1);
  plan.fraction = random.between(0.05, 1.0);
  const double dice = random.uniform();
  if (dice < 0.70) return plan;
  if (dice < 0.82) {
    plan.end = AttemptPlan::End::kExit;
    plan.code = random.between(1, 3);
  } else if (dice < 0.92) {
    plan.end = AttemptPlan::End::kSignal;
    plan.code = random.chance(0.5) ? 11 : 6;
  } else if (dice < 0.96) {
    plan.end = AttemptPlan::End::kHang;
  } else {
    plan.end = AttemptPlan::End::kNoStart;
  }
  return plan;
}

namespace {

JobPlan make_job(Random& random, int number, int nodes, double window_s) {
  JobPlan plan;
  auto& spec = plan.spec;
  spec.name = "job-" + std::to_string(number);
  plan.user = random.chance(0.5) ? "ann" : "bob";
  if (random.chance(0.5))
    spec.command = {"train"};
  else
    spec.train_func = proto::TrainFunc{"/lib/libtrain.so", "train"};
  auto& scaling = spec.scaling_config;
  scaling.num_workers = random.chance(0.6) ? random.between(1, 3) : random.between(2, std::max(2, nodes));
  scaling.use_gpu = random.chance(0.4);
  if (!scaling.use_gpu && random.chance(0.3))
    scaling.resources_per_worker = proto::Resources{{"CPU", static_cast<double>(random.between(1, 3))}};
  if (scaling.use_gpu && random.chance(0.3))
    scaling.resources_per_worker = proto::Resources{{"CPU", 1}, {"GPU", 2}};
  scaling.placement_strategy =
      random.chance(0.7) ? proto::PlacementStrategy::kPack : proto::PlacementStrategy::kSpread;
  spec.run_config.storage_path = "/results";
  spec.run_config.failure_config.max_failures = random.chance(0.5) ? random.between(0, 3) : 20;
  spec.run_config.stop_grace_s = random.between(0.2, 3.0);
  plan.submit_s = random.between(0.0, window_s);
  plan.run_s = random.chance(0.2)   ? random.between(0.01, 0.5)
               : random.chance(0.8) ? random.between(1.0, 15.0)
                                    : random.between(15.0, 30.0);
  if (random.chance(0.7)) plan.report_every_s = std::max(0.05, plan.run_s / random.between(2, 12));
  if (random.chance(0.5)) plan.checkpoint_every = random.between(1, 3);
  plan.end_after_term_s = random.chance(0.2) ? -1 : random.between(0.001, 1.0);
  plan.yields_after_s = random.chance(0.3) ? -1 : random.between(0.01, 1.5);
  if (random.chance(0.2)) spec.scheduling.time_limit_s = random.between(0.5, 40.0);
  if (random.chance(0.3)) spec.scheduling.priority = random.between(-5, 5);
  spec.scheduling.preemptible = random.chance(0.85);
  spec.scheduling.preempt_grace_s = random.chance(0.7) ? random.between(0.2, 5.0) : random.between(5.0, 40.0);
  if (random.chance(0.3)) spec.scheduling.queue = "small";
  if (scaling.num_workers > 1 && random.chance(0.25))
    scaling.min_workers = random.between(1, scaling.num_workers - 1);
  scaling.elastic_resize_monitor_interval_s = random.between(0.5, 20.0);
  spec.scheduling.hold = random.chance(0.05);
  if (spec.scheduling.hold || random.chance(0.1)) plan.hold_s = random.between(0.0, 5.0);
  plan.held_s = random.between(0.1, 20.0);
  for (int attempt = 0; attempt < 4; ++attempt)
    plan.attempts.push_back(make_attempt(random, scaling.num_workers));
  plan.attempts.push_back(AttemptPlan{});  // what is tried often enough succeeds
  const bool hangs = std::ranges::any_of(
      plan.attempts, [](const AttemptPlan& attempt) { return attempt.end == AttemptPlan::End::kHang; });
  if (random.chance(0.15))
    plan.cancel_s = random.between(0.0, 20.0);
  else if (hangs)
    plan.cancel_s = random.between(30.0, 60.0);
  return plan;
}

std::string node_name(int number) {
  return "node-" + std::string(number < 10 ? "0" : "") + std::to_string(number);
}

void make_array(Random& random, JobPlan& job) {
  auto& array = job.spec.scheduling.array.emplace();
  const int jobs = random.between(2, 7);
  for (int index = 0; index < jobs; ++index) array.indices.push_back(index);
  if (random.chance(0.8)) array.max_running = random.between(1, 3);
  job.run_s = std::min(job.run_s, random.between(0.1, 4.0));
  if (job.report_every_s > 0) job.report_every_s = std::max(0.05, job.run_s / 3);
}

void make_dependencies(Random& random, std::vector<JobPlan>& jobs) {
  using proto::DependencyKind;
  static const std::vector<DependencyKind> kKinds{DependencyKind::kAfter, DependencyKind::kAfterAny,
                                                  DependencyKind::kAfterOk};
  for (std::size_t i = 1; i < jobs.size(); ++i) {
    if (!random.chance(0.25)) continue;
    const int count = random.chance(0.3) ? 2 : 1;
    for (int n = 0; n < count; ++n) {
      const DependencyPlan dependency{random.pick(kKinds),
                                      static_cast<std::size_t>(random.between(0, static_cast<int>(i) - 1))};
      const auto same = [&](const DependencyPlan& other) { return other.on == dependency.on; };
      if (std::ranges::none_of(jobs[i].depends_on, same)) jobs[i].depends_on.push_back(dependency);
    }
  }
}

void make_orders(Random& random, int nodes, std::vector<NodeOrderPlan>& orders) {
  for (int node = 0; node < nodes; ++node) {
    if (!random.chance(0.3)) continue;
    NodeOrderPlan order{node_name(node), random.between(0.0, 40.0), random.chance(0.8)};
    if (order.drain && random.chance(0.7))
      order.deadline_s = random.chance(0.6) ? random.between(0.1, 4.0) : random.between(4.0, 25.0);
    if (random.chance(0.85)) order.lasts_s = random.between(1.0, 50.0);
    orders.push_back(std::move(order));
  }
}

/// A reservation, and jobs that name it.
void make_reservation(Random& random, int number, int nodes, Workload& workload) {
  ReservationPlan plan;
  plan.name = "reserved-" + std::to_string(number);
  for (int node = 0; node < nodes; ++node)
    if (random.chance(0.25)) plan.nodes.push_back(node_name(node));
  if (plan.nodes.empty()) plan.nodes.push_back(node_name(0));
  if (random.chance(0.5)) plan.users = {"ann"};
  plan.create_s = random.between(0.0, 30.0);
  plan.begins_s = random.chance(0.3) ? 0 : random.between(0.5, 30.0);
  plan.lasts_s = random.between(2.0, 60.0);
  if (random.chance(0.2)) plan.delete_s = random.between(0.5, 40.0);
  for (auto& job : workload.jobs) {
    if (!random.chance(0.15)) continue;
    job.spec.scheduling.reservation = plan.name;
    job.spec.scaling_config.num_workers = std::min(job.spec.scaling_config.num_workers, 3);
    job.spec.scaling_config.min_workers = 0;
    for (auto& attempt : job.attempts)
      attempt.rank = std::min(attempt.rank, job.spec.scaling_config.num_workers - 1);
  }
  for (auto& job : workload.jobs)  // without a limit a job would start nowhere before a reservation
    if (random.chance(0.5) && !job.spec.scheduling.time_limit_s)
      job.spec.scheduling.time_limit_s = random.between(5.0, 40.0);
  workload.reservations.push_back(std::move(plan));
}

/// Some jobs have their checkpoints validated. Names of 128 bytes, which the head would cut, do not occur
/// here.
void make_validations(Random& random, Workload& workload) {
  for (auto& job : workload.jobs) {
    if (!job.spec.train_func || job.checkpoint_every == 0 || !random.chance(0.4)) continue;
    auto& validation = job.spec.validation.emplace();
    validation.train_func = job.spec.train_func;
    validation.timeout_s = random.between(1.0, 20.0);
    if (random.chance(0.3)) validation.resources = proto::Resources{{"CPU", 2}};
    JobPlan plan;
    plan.spec.name = job.spec.name + "-validation";
    plan.spec.train_func = job.spec.train_func;
    plan.spec.scheduling.queue = job.spec.scheduling.queue;
    plan.user = job.user;
    plan.run_s = random.between(0.05, 6.0);
    plan.end_after_term_s = random.chance(0.2) ? -1 : random.between(0.001, 1.0);
    plan.yields_after_s = random.chance(0.5) ? -1 : random.between(0.01, 1.5);
    for (int attempt = 0; attempt < 3; ++attempt) plan.attempts.push_back(make_attempt(random, 1));
    plan.attempts.emplace_back();
    workload.validations.push_back(std::move(plan));
  }
}

}  // namespace

double score(std::int64_t index) { return 1000.0 + static_cast<double>(index); }

const AttemptPlan& JobPlan::attempt(Attempt number) const {
  return attempts[std::min(static_cast<std::size_t>(std::max<std::int64_t>(number.value(), 1)) - 1,
                           attempts.size() - 1)];
}

double loss(const std::string& name, std::int64_t epoch) {
  std::uint64_t seed = 0xcbf29ce484222325ULL;
  for (const char c : name) seed = (seed ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  const double quality = Random(seed).uniform();
  const double noise = 0.1 * Random(seed ^ static_cast<std::uint64_t>(epoch) << 32).uniform();
  return quality + (1 - quality) / std::sqrt(static_cast<double>(epoch)) + noise;
}

double metric(const std::string& name, Attempt attempt, std::int64_t seq) {
  return static_cast<double>(name.size() * 1000 + static_cast<std::size_t>(attempt.value()) * 100) +
         static_cast<double>(seq);
}

std::vector<proto::NodeInfo> make_nodes(Random& random, int nodes) {
  std::vector<proto::NodeInfo> result;
  for (int i = 0; i < nodes; ++i) {
    proto::NodeInfo info;
    info.name = node_name(i);
    info.address = "10.0.0." + std::to_string(i + 1);
    info.resources["CPU"] = random.between(2, 6);
    const int gpus = random.chance(0.6) ? random.between(1, 4) : 0;
    if (gpus > 0) info.resources["GPU"] = gpus;
    for (int gpu = 0; gpu < gpus; ++gpu)
      info.gpus.push_back(
          {gpu, "GPU-" + std::to_string(i) + "-" + std::to_string(gpu), "simulated", 80ULL << 30});
    result.push_back(std::move(info));
  }
  return result;
}

Workload make_workload(Random& random, const WorkloadSize& size) {
  Workload workload;
  const double window_s = random.between(2.0, 40.0);  // in a short one there is a long queue
  for (int i = 0; i < size.jobs; ++i) workload.jobs.push_back(make_job(random, i, size.nodes, window_s));
  if (random.chance(0.3))
    for (int arrays = random.between(1, 2); arrays > 0; --arrays)
      make_array(random, workload.jobs[static_cast<std::size_t>(random.between(0, size.jobs - 1))]);
  if (random.chance(0.4)) make_dependencies(random, workload.jobs);
  if (random.chance(0.5)) make_orders(random, size.nodes, workload.orders);
  if (random.chance(0.3))
    for (int number = 0, last = random.between(0, 1); number <= last; ++number)
      make_reservation(random, number, size.nodes, workload);
  if (random.chance(0.5)) make_validations(random, workload);
  // From a copy: what else a seed does is the same with sweeps and without them.
  Random of_sweeps = Random(random).fork();
  const int drawn = of_sweeps.chance(0.4) ? of_sweeps.between(1, 2) : 0;
  for (int number = 0; number < (size.sweeps < 0 ? drawn : size.sweeps); ++number)
    make_sweep(of_sweeps, number, workload);
  for (const auto& job : workload.trials) workload.by_name[job.spec.name] = &job;
  for (const auto& job : workload.jobs) workload.by_name[job.spec.name] = &job;
  for (const auto& job : workload.validations) workload.by_name[job.spec.name] = &job;
  return workload;
}

}  // namespace rtrain::sim
