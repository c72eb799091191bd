#include "tests/sim/host.h"

#include <csignal>

namespace rtrain::sim {
namespace {

proto::ExitStatus exited(int code) {
  proto::ExitStatus status;
  status.exit_code = code;
  return status;
}
proto::ExitStatus killed(int number) {
  proto::ExitStatus status;
  status.signal = number;
  return status;
}

}  // namespace

void Host::tell(Time delay, std::function<void(Ears&)> words) {
  last_word_ = std::max(last_word_, world_.now() + delay);
  world_.at(last_word_, [this, boot = boots_, words = std::move(words)] {
    if (boot == boots_) words(ears_);
  });
}

void Host::spawn(const proto::RankKey& key, std::shared_ptr<const proto::Launch> launch, const proto::RankPlacement& placement) {
  auto& random = world_.random();
  const double takes = random.chance(0.05) ? random.between(0.1, 2.0) : random.between(0.002, 0.02);
  world_.after(seconds(takes), [this, boot = boots_, key, launch = std::move(launch), placement] {
    if (boot == boots_) start(key, launch, placement);
  });
}

void Host::start(const proto::RankKey& key, std::shared_ptr<const proto::Launch> launch, const proto::RankPlacement& placement) {
  auto& random = world_.random();
  const auto& plan = workload_.plan(launch->spec.name);
  const auto& attempt = plan.attempt(key.attempt);
  const bool odd_one = attempt.rank == key.rank;
  if (odd_one && attempt.end == AttemptPlan::End::kNoStart)
    return tell(seconds(0.001), [key](Ears& ears) {
      if (ears.not_started) ears.not_started(key, "no such program");
    });
  const auto process = std::make_shared<Process>();
  process->key = key;
  process->launch = std::move(launch);
  process->plan = &plan;
  process->checkpoint = process->launch->next_checkpoint_index;
  process->end = exited(0);
  double runs = plan.run_s * random.between(0.95, 1.05);
  if (odd_one && attempt.end != AttemptPlan::End::kSuccess) {
    runs *= attempt.fraction;
    if (attempt.end == AttemptPlan::End::kExit) process->end = exited(attempt.code);
    if (attempt.end == AttemptPlan::End::kSignal) process->end = killed(attempt.code);
  }
  process->ends = world_.now() + seconds(runs);
  processes_[key] = process;
  referee_.started(key, node_, process->launch->spec.scaling_config.resources(), placement.gpus);
  world_.note("started", key.job, key.attempt, key.rank, node_);
  tell(seconds(random.between(0.0001, 0.001)), [key, pid = ++last_pid_](Ears& ears) {
    if (ears.started) ears.started(key, pid);
  });
  if (process->launch->spec.train_func)
    tell(seconds(random.between(0.0001, 0.05)), [key](Ears& ears) {
      if (ears.said) ears.said(proto::RankRunning{key});
    });
  if (key.rank == 0 && plan.report_every_s > 0 && process->launch->spec.train_func) report_later(process);
  if (odd_one && attempt.end == AttemptPlan::End::kHang) return;
  world_.at(process->ends, [this, process] { end(process, process->end); });
}

void Host::report_later(const ProcessPtr& process) {
  const Time next = world_.now() + seconds(process->plan->report_every_s);
  if (next < process->ends) world_.at(next, [this, process] { report(process); });
}

void Host::report(const ProcessPtr& process) {
  if (!process->alive) return;
  const auto& key = process->key;
  proto::RankReport report;
  report.key = key;
  report.seq = ++process->seq;
  report.time_ms = world_.wall_ms();
  report.metrics = {{"loss", metric(process->plan->spec.name, key.attempt, report.seq)}};
  if (process->plan->checkpoint_every > 0 && report.seq % process->plan->checkpoint_every == 0) {
    proto::CheckpointRecord checkpoint;
    checkpoint.index = process->checkpoint++;
    checkpoint.path = process->launch->run_dir + "/checkpoint_" + std::to_string(checkpoint.index);
    report.checkpoint = std::move(checkpoint);
  }
  referee_.reported(key, report.seq);
  tell(seconds(0.0001), [report = std::move(report)](Ears& ears) {
    if (ears.said) ears.said(report);
  });
  report_later(process);
}

void Host::signal(const proto::RankKey& key, int number) {
  const auto found = processes_.find(key);
  if (found == processes_.end()) return;
  const auto process = found->second;
  if (number == SIGKILL) return end(process, killed(SIGKILL));
  const double takes = process->plan->end_after_term_s;
  if (takes < 0 || process->ending) return;
  process->ending = true;
  world_.after(seconds(takes), [this, process, number] { end(process, killed(number)); });
}

void Host::end(const ProcessPtr& process, const proto::ExitStatus& status) {
  if (!process->alive) return;
  process->alive = false;
  const auto key = process->key;
  processes_.erase(key);
  records_[key] = status;
  referee_.ended(key, status, true);
  world_.note("ended", key.job, key.attempt, key.rank, status.exit_code.value_or(-1), status.signal.value_or(0));
  tell(seconds(world_.random().between(0.0002, 0.005)), [key, status](Ears& ears) {
    if (ears.ended) ears.ended(key, status);
  });
}

void Host::power_cut() {
  ++boots_;
  ears_ = {};
  for (const auto& [key, process] : processes_) {
    process->alive = false;
    proto::ExitStatus status;
    status.lost = true;
    referee_.ended(key, status, false);
  }
  processes_.clear();
}

}  // namespace rtrain::sim
