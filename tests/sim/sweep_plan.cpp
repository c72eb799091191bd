#include "tests/sim/plan.h"

namespace rtrain::sim {
namespace {

proto::ScheduleConfig make_schedule(Random& random) {
  proto::ScheduleConfig schedule;
  schedule.max = random.between(2, 6);
  schedule.eta = random.between(2, 3);
  if (random.chance(0.3)) {
    schedule.kind = proto::ScheduleKind::kPbt;
    schedule.interval = random.chance(0.8) ? 1 : 2;
    schedule.quantile_fraction = random.chance(0.8) ? 0.5 : 0.25;
    schedule.max += 4;
  } else if (random.chance(0.6)) {
    schedule.kind = random.chance(0.8) ? proto::ScheduleKind::kAsha : proto::ScheduleKind::kHyperband;
    schedule.mode = random.chance(0.7) ? proto::AshaMode::kPromote : proto::AshaMode::kStop;
  } else if (random.chance(0.5)) {
    schedule.kind = proto::ScheduleKind::kMedian;
    schedule.startup_trials = 1;
  }
  return schedule;
}

void make_search(Random& random, proto::SweepSpec& spec) {
  using proto::SearchMethod;
  static const std::vector<SearchMethod> kMethods{
      SearchMethod::kRandom, SearchMethod::kRandom, SearchMethod::kSobol, SearchMethod::kTpe,
      SearchMethod::kTpe,    SearchMethod::kGrid,   SearchMethod::kCmaes};
  // A population changes its parameters itself.
  static const std::vector<SearchMethod> kOfPopulations{SearchMethod::kRandom, SearchMethod::kSobol,
                                                        SearchMethod::kTpe};
  spec.search.method =
      random.pick(spec.schedule.kind == proto::ScheduleKind::kPbt ? kOfPopulations : kMethods);
  spec.search.startup = 2;
  spec.search.popsize = 3;
  proto::SweepParameter rate;
  rate.path = "lr";
  if (spec.search.method == SearchMethod::kGrid) {
    rate.domain.kind = proto::DomainKind::kGrid;
    for (int value = 0; value < 9; ++value) rate.domain.values.emplace_back(0.1 * (value + 1));
  } else {
    rate.domain.low = 0.001;
    rate.domain.high = 1;
    rate.domain.log = true;
  }
  spec.parameters = {rate};
  // The first of a generation must end before the next one is drawn.
  if (spec.search.method == SearchMethod::kCmaes) spec.schedule.mode = proto::AshaMode::kStop;
  if (spec.search.method != SearchMethod::kGrid && random.chance(0.2))
    spec.start_with.push_back(proto::Json{{"lr", 0.5}});
}

void make_limits(Random& random, proto::SweepSpec& spec) {
  auto& limits = spec.limits;
  limits.trials = random.between(2, 9);
  const bool population = spec.schedule.kind == proto::ScheduleKind::kPbt;
  if (population) limits.trials += 2;
  if (population && random.chance(0.9)) spec.job.run_config.checkpoint_config.num_to_keep = 1;
  if (population && random.chance(0.8)) return;  // its members run together
  if (random.chance(0.4))
    limits.running = 1;  // what it decides depends on nothing but its results
  else if (random.chance(0.6))
    limits.running = random.between(2, 3);
  if (random.chance(0.2)) limits.target = spec.maximize ? random.between(1.0, 1.8) : random.between(0.3, 0.9);
  if (random.chance(0.15)) limits.hours = random.between(2.0, 60.0) / 3600;
  if (random.chance(0.15)) limits.no_better_trials = random.between(1, 3);
}

JobPlan make_trial(Random& random, const SweepPlan& sweep, int number, bool fails) {
  const auto& schedule = sweep.spec.schedule;
  const bool halving =
      schedule.kind == proto::ScheduleKind::kAsha || schedule.kind == proto::ScheduleKind::kHyperband;
  JobPlan its;
  its.spec = sweep.spec.job;
  its.spec.name = sweep.spec.name + "-" + std::to_string(number);
  its.user = sweep.user;
  // Mostly it ends where its schedule does; a job may know less, and more.
  its.epochs = schedule.kind == proto::ScheduleKind::kPbt ? random.between(3, 12)
               : halving && random.chance(0.7)            ? static_cast<std::int64_t>(schedule.max)
                                                          : random.between(1, 8);
  its.report_every_s = random.between(0.1, 1.5);
  its.checkpoint_every = random.chance(0.5) ? 1 : random.between(0, 3);
  its.end_after_term_s = random.chance(0.2) ? -1 : random.between(0.001, 1.0);
  its.yields_after_s = random.chance(0.3) ? -1 : random.between(0.01, 1.5);
  for (int attempt = 0; fails && attempt < 3; ++attempt) {
    its.attempts.push_back(make_attempt(random, its.spec.scaling_config.num_workers));
    if (its.attempts.back().end == AttemptPlan::End::kHang)
      its.attempts.back().end = AttemptPlan::End::kSuccess;
  }
  its.attempts.emplace_back();
  return its;
}

}  // namespace

void make_sweep(Random& random, int number, Workload& workload) {
  SweepPlan plan;
  auto& spec = plan.spec;
  spec.name = "sweep-" + std::to_string(number);
  plan.user = random.chance(0.5) ? "ann" : "bob";
  auto& job = spec.job;
  job.name = spec.name;
  job.train_func = proto::TrainFunc{"/lib/libtrain.so", "train"};
  job.scaling_config.num_workers = random.chance(0.7) ? 1 : 2;
  job.run_config.storage_path = "/results";
  job.run_config.stop_grace_s = random.between(0.2, 3.0);
  job.working_dir = "/";
  if (random.chance(0.3)) job.scheduling.queue = "small";
  spec.metric = "loss";
  spec.maximize = random.chance(0.3);
  spec.seed = static_cast<std::uint64_t>(random.between(0, 1000));
  spec.schedule = make_schedule(random);
  make_search(random, spec);
  make_limits(random, spec);
  spec.baseline = false;
  spec.checkpoint_pruned = random.chance(0.3);
  plan.submit_s = random.between(0.0, 30.0);
  if (random.chance(0.2)) plan.pause_s = random.between(0.0, 20.0);
  plan.paused_s = random.between(0.1, 10.0);
  if (random.chance(0.2)) plan.stop_s = random.between(0.0, 30.0);
  plan.stop_now = random.chance(0.5);
  if (random.chance(0.3)) plan.hold_s = random.between(0.0, 5.0);
  plan.held_s = random.between(1.0, 15.0);
  const bool fails = random.chance(0.5);
  job.run_config.failure_config.max_failures = fails ? random.between(0, 20) : 20;
  for (int trial = 0; trial < spec.limits.trials; ++trial)
    workload.trials.push_back(make_trial(random, plan, trial, fails));
  workload.sweeps.push_back(std::move(plan));
}

}  // namespace rtrain::sim
