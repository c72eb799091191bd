#include "tests/sim/host.h"

#include <algorithm>
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

void Host::tell(Time when, std::function<void(Listener&)> words) {
  world_.at(when, [this, agent = agents_, boot = boots_, words = std::move(words)] {
    if (agent_up_ && agent == agents_ && boot == boots_) words(listener_);
  });
}

// ---- the agent ----------------------------------------------------------------------------------

void Host::agent_starts(Listener listener) {
  listener_ = std::move(listener);
  agent_up_ = true;
  ++agents_;
  auto& random = world_.random();
  tell(world_.now() + seconds(random.between(0.005, 0.3)), [this](Listener& listening) {
    supervisor_leased_until_ = world_.now() + listening.rank_lease();
    if (supervisor_up_) return listening.supervisor_joined();
    supervisor_up_ = true;  // a new one
    listening.supervisor_died();
  });
  for (const auto& [key, process] : processes_)
    world_.after(seconds(random.between(0.02, 0.6)), [this, process, agent = agents_] {
      if (process->alive && agent_up_ && agent == agents_) connect_worker(process);
    });
}

void Host::agent_dies() {
  agent_up_ = false;
  listener_ = {};
  for (const auto& [key, process] : processes_) process->connected = false;
  // What was on its way to the supervisor may have arrived, or not.
  std::erase_if(pending_, [&](const proto::RankKey&) { return world_.random().chance(0.3); });
}

void Host::heartbeat() {
  supervisor_leased_until_ = world_.now() + listener_.rank_lease();
  for (const auto& [key, process] : processes_)
    if (process->connected) process->leased_until = supervisor_leased_until_;
}

void Host::connect_worker(const ProcessPtr& process) {
  process->connected = true;
  process->leased_until = world_.now() + listener_.rank_lease();
  listener_.worker_joined(process->key);
  for (const auto& message : process->unconfirmed) deliver(process, message, seconds(0.0001));
}

void Host::pin(const proto::RankKey& key, const std::vector<std::string>& paths) {
  const auto found = processes_.find(key);
  if (found != processes_.end() && found->second->connected && found->second->kept)
    found->second->kept->pin(paths);
}

void Host::confirm(const proto::RankKey& key, std::size_t count) {
  const auto found = processes_.find(key);
  auto* unconfirmed = found != processes_.end() ? &found->second->unconfirmed
                      : outbox_.contains(key)   ? &outbox_[key]
                                                : nullptr;
  if (unconfirmed == nullptr) return;
  unconfirmed->erase(unconfirmed->begin(), unconfirmed->begin() + static_cast<std::ptrdiff_t>(
                                                                      std::min(count, unconfirmed->size())));
  if (found != processes_.end() && found->second->kept && unconfirmed->empty())
    found->second->kept->on_stored();
}

std::optional<proto::ExitStatus> Host::exit_record(const proto::RankKey& key) const {
  const auto found = records_.find(key);
  return found == records_.end() ? std::nullopt : std::optional(found->second);
}

std::vector<proto::Message> Host::outbox(const proto::RankKey& key) const {
  const auto found = outbox_.find(key);
  if (found == outbox_.end()) return {};
  return {found->second.begin(), found->second.end()};
}

// ---- the ranks ----------------------------------------------------------------------------------

void Host::spawn(const proto::RankKey& key, std::shared_ptr<const proto::Launch> launch,
                 const proto::RankPlacement& placement) {
  auto& random = world_.random();
  pending_.insert(key);
  const double takes = random.chance(0.05) ? random.between(0.1, 2.0) : random.between(0.002, 0.02);
  world_.after(seconds(takes),
               [this, boot = boots_, supervisor = supervisors_, key, launch = std::move(launch), placement] {
                 if (boot == boots_ && supervisor == supervisors_ && pending_.erase(key) != 0)
                   start(key, launch, placement);
               });
}

void Host::start(const proto::RankKey& key, std::shared_ptr<const proto::Launch> launch,
                 const proto::RankPlacement& placement) {
  auto& random = world_.random();
  const auto& plan = workload_.plan(launch->spec.name);
  const auto& attempt = plan.attempt(key.attempt);
  const bool odd_one = attempt.rank == key.rank;
  supervisor_word_ = std::max(supervisor_word_, world_.now() + seconds(random.between(0.0001, 0.002)));
  if (odd_one && attempt.end == AttemptPlan::End::kNoStart)
    return tell(supervisor_word_,
                [key](Listener& listener) { listener.not_started(key, "no such program"); });
  const auto process = std::make_shared<Process>();
  process->key = key;
  process->launch = std::move(launch);
  process->plan = &plan;
  process->checkpoint = process->launch->next_checkpoint_index;
  process->pid = ++last_pid_;
  const auto& given = *process->launch;
  const auto& from = given.spec.resume_from_checkpoint;
  process->first_epoch = given.next_checkpoint_index + storage_.epoch(from);
  if (key.rank == 0) {
    process->kept.emplace(storage_, given.spec.run_config.checkpoint_config, given.checkpoints, given.pins);
    referee_.check(!given.sweep || from.empty() || !given.checkpoints.empty() || storage_.contains(from),
                   "what a clone goes on from is there", [&] {
                     return "job " + to_string(key.job) + " begins with " + from + ", which is deleted";
                   });
  }
  process->end = exited(0);
  process->connected = agent_up_;
  process->leased_until = agent_up_ ? world_.now() + listener_.rank_lease() : supervisor_leased_until_;
  double runs = plan.run_s * random.between(0.95, 1.05);
  if (plan.epochs > 0)
    runs = static_cast<double>(epochs_left(*process)) * plan.report_every_s + random.between(0.005, 0.05);
  if (odd_one && attempt.end != AttemptPlan::End::kSuccess) {
    runs *= attempt.fraction;
    if (attempt.end == AttemptPlan::End::kExit) process->end = exited(attempt.code);
    if (attempt.end == AttemptPlan::End::kSignal) process->end = killed(attempt.code);
  }
  process->ends = world_.now() + seconds(runs);
  processes_[key] = process;
  was_started_.insert(key);
  referee_.started(key, node_, process->launch->spec.scaling_config.resources(), placement.gpus);
  world_.note("started", key.job, key.attempt, key.rank, node_);
  tell(supervisor_word_, [key, pid = process->pid](Listener& listener) { listener.started(key, pid); });
  if (process->launch->spec.train_func)
    world_.after(seconds(random.between(0.0001, 0.05)), [this, process] {
      if (process->alive) say(process, proto::RankRunning{process->key});
    });
  if (key.rank == 0 && plan.report_every_s > 0 && process->launch->spec.train_func) report_later(process);
  if (process->connected) listener_.worker_joined(key);
  watch_lease(process);
  if (odd_one && attempt.end == AttemptPlan::End::kHang) return;
  world_.at(process->ends, [this, process] { end(process, process->end); });
}

std::int64_t Host::epochs_left(const Process& process) {
  const auto begun = process.first_epoch + process.seq;
  return std::max<std::int64_t>(0, process.plan->epochs - begun);
}

void Host::say(const ProcessPtr& process, proto::Message message) {
  process->unconfirmed.push_back(message);
  if (process->connected) deliver(process, std::move(message), seconds(0.0001));
}

void Host::deliver(const ProcessPtr& process, proto::Message message, Time delay) {
  process->last_word = std::max(process->last_word, world_.now() + delay);
  tell(process->last_word, [key = process->key, message = std::move(message)](Listener& listener) {
    listener.on_message(key, message);
  });
}

void Host::report_later(const ProcessPtr& process) {
  const Time next = world_.now() + seconds(process->plan->report_every_s);
  if (next < process->ends) world_.at(next, [this, process] { report(process); });
}

void Host::report(const ProcessPtr& process) {
  if (!process->alive || process->yielding) return;
  const int every = process->plan->checkpoint_every;
  say_report(process, every > 0 && (process->seq + 1) % every == 0);
  report_later(process);
}

void Host::say_report(const ProcessPtr& process, bool with_checkpoint) {
  const auto& key = process->key;
  proto::RankReport report;
  report.key = key;
  report.seq = ++process->seq;
  report.time_ms = world_.wall_ms();
  const auto epoch = process->first_epoch + report.seq;
  report.metrics = {
      {"loss", process->plan->epochs > 0 ? loss(process->plan->spec.name, epoch)
                                         : metric(process->plan->spec.name, key.attempt, report.seq)},
      {"epoch", epoch}};
  if (with_checkpoint) {
    proto::CheckpointRecord checkpoint;
    checkpoint.index = process->checkpoint++;
    checkpoint.path = process->launch->run_dir + "/checkpoint_" + std::to_string(checkpoint.index);
    if (process->launch->spec.validation) checkpoint.validation.emplace();
    if (process->launch->sweep) checkpoint.metrics = report.metrics;
    checkpoint.pinnable = true;
    report.deleted_checkpoints = process->kept->add(checkpoint, epoch);
    report.checkpoint = std::move(checkpoint);
  }
  referee_.reported(key, report.seq);
  say(process, std::move(report));
}

void Host::watch_lease(const ProcessPtr& process) {
  world_.at(process->leased_until, [this, process] {
    if (!process->alive) return;
    if (world_.now() < process->leased_until) return watch_lease(process);
    world_.note("a worker's lease ran out", process->key.job, process->key.attempt, process->key.rank);
    end(process, killed(SIGKILL));
  });
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

void Host::ask_to_yield(const proto::RankKey& key) {
  const auto found = processes_.find(key);
  if (found == processes_.end()) return;
  const auto process = found->second;
  const double takes = process->plan->yields_after_s;
  if (takes < 0 || process->yielding || process->ending) return;
  world_.after(seconds(takes), [this, process] {
    if (!process->alive || process->ending) return;
    process->yielding = true;  // agreed by all ranks at a step; the reports stop with it
    const bool over = process->plan->epochs > 0 && epochs_left(*process) == 0;
    if (process->key.rank == 0 && !over) say_report(process, true);
    world_.after(seconds(world_.random().between(0.001, 0.1)), [this, process] {
      if (process->alive) yielded_.insert(process->key);
      end(process, exited(0));
    });
  });
}

void Host::end(const ProcessPtr& process, const proto::ExitStatus& status) {
  if (!process->alive) return;
  process->alive = false;
  const auto key = process->key;
  outbox_[key] = std::move(process->unconfirmed);
  processes_.erase(key);
  records_[key] = status;
  referee_.ended(key, status, true);
  world_.note("ended", key.job, key.attempt, key.rank, status.exit_code.value_or(-1),
              status.signal.value_or(0));
  supervisor_word_ =
      std::max(supervisor_word_, world_.now() + seconds(world_.random().between(0.0002, 0.005)));
  tell(std::max(supervisor_word_, process->last_word),
       [key, status](Listener& listener) { listener.ended(key, status); });
}

// ---- trouble ------------------------------------------------------------------------------------

void Host::lose(const ProcessPtr& process) {
  process->alive = false;
  outbox_[process->key] = std::move(process->unconfirmed);
  proto::ExitStatus status;
  status.lost = true;
  referee_.ended(process->key, status, false);
}

void Host::power_cut() {
  ++boots_;
  agent_dies();
  for (const auto& [key, process] : processes_) lose(process);
  processes_.clear();
  pending_.clear();
  records_.clear();
  outbox_.clear();
  was_started_.clear();
  yielded_.clear();
  files = {};
  supervisor_up_ = true;
}

void Host::kill_supervisor() {
  ++supervisors_;
  for (const auto& [key, process] : processes_) lose(process);
  processes_.clear();
  pending_.clear();
  if (!agent_up_) {
    supervisor_up_ = false;
    return;
  }
  tell(world_.now() + seconds(0.001), [](Listener& listener) { listener.supervisor_died(); });
}

}  // namespace rtrain::sim
