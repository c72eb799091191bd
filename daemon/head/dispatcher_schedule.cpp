// The planner of the head: it is told of every change, asked once for many, and what it says is done.
#include "common/log/log.h"
#include "daemon/head/dispatcher.h"

#include <algorithm>

namespace rtrain::head {
namespace {

constexpr std::chrono::seconds kAccountingStep{60};
constexpr proto::UnixMs kNextPassMs = 1000;
constexpr const char* kUsageKind = "usage";
constexpr const char* kUsageName = "shares";

core::WaitingJob waiting_job_of(const core::JobState& state) {
  core::WaitingJob job{state.id, state.spec->scaling_config, state.spec->scheduling, state.user, {}};
  if (const auto last = state.nodes.find(state.attempt); last != state.nodes.end())
    job.last_nodes = last->second;
  return job;
}

/// How long the ranks of an attempt that is stopping may still take.
double grace_of(const core::JobState& state) {
  if (state.cancel_requested) return state.spec->run_config.stop_grace_s;
  if (state.yield) return state.yield->grace_s;
  const bool limit = state.error && state.error->kind == "time_limit";
  return limit ? state.spec->run_config.stop_grace_s : core::kFailureGraceS;
}

}  // namespace

// ---- what the planner is told -------------------------------------------------------------------

void Dispatcher::set_up_planner(const std::vector<store::Document>& documents) {
  planner_.set_queues(config_.queues);
  for (const auto& document : documents) {
    if (document.kind != kUsageKind || document.name != kUsageName) continue;
    if (auto done = usage_.fair_share().restore(document.value); !done)
      log::error("fair shares begin anew", {{"cause", done.error().message()}});
  }
  usage_.fair_share().decay(clock_.wall());
  planner_.set_fair_share(usage_.fair_share());
  nodes_.on_change([this](const core::NodeView& view) {
    ++epoch_;
    planner_.node(view);
  });
}

core::RunningJob Dispatcher::running_of(const core::JobState& state) const {
  core::RunningJob running{waiting_job_of(state),
                           places(state.id),
                           state.placed_ms,
                           state.phase == core::JobPhase::kStopping,
                           0,
                           false};
  running.stops_by_ms = clock_.wall() + static_cast<proto::UnixMs>(grace_of(state) * 1000);
  running.resizing = state.yield && state.yield->cause == proto::YieldCause::kResize;
  return running;
}

void Dispatcher::on_allocated(JobId id) {
  const auto& state = book_.find(id)->state;
  nodes_.hold(places(id), state.spec->scaling_config.resources());
  planner_.start(running_of(state));
  usage_.begins(state, clock_.steady());
}

void Dispatcher::on_released(JobId id) {
  const auto& state = book_.find(id)->state;
  nodes_.release(places(id), state.spec->scaling_config.resources());
  planner_.end(id);
  usage_.ends(id, clock_.steady(), clock_.wall());
}

void Dispatcher::update_planner(JobId id) {
  ++epoch_;
  const auto* record = book_.find(id);
  const bool queued = record != nullptr && record->state.phase == core::JobPhase::kQueued;
  const bool may_start = queued && keeps_from_start(record->state).empty();
  if (!may_start)
    planner_.leave(id);
  else if (!planner_.waits(id))
    planner_.wait(waiting_job_of(record->state));
  if (record != nullptr && record->state.phase == core::JobPhase::kStopping && !planner_.is_stopping(id)) {
    const auto running = running_of(record->state);
    planner_.stopping(id, running.stops_by_ms, running.resizing);
  }
}

// ---- what it says -------------------------------------------------------------------------------

void Dispatcher::schedule() {
  ++epoch_;
  schedule_again_ = true;
  if (scheduling_) return;  // an effect of a placement changed something: the loop in pass() looks again
  if (!defer_pass_) return pass();
  if (!std::exchange(pass_due_, true)) defer_pass_();
}

void Dispatcher::pass() {
  pass_due_ = false;
  if (scheduling_) return;
  ++epoch_;
  scheduling_ = true;
  // they keep their places until the next pass: so this one ends, whatever the planner wants
  std::set<JobId> placed;
  while (schedule_again_) {
    schedule_again_ = false;
    auto plan = planner_.plan(clock_.wall());
    look_again_ms_ = plan.look_again_ms;
    for (auto& start : plan.starts) {
      const Attempt attempt(book_.find(start.id)->state.attempt.value() + 1);
      log::info("attempt placed", {{"job", to_string(start.id)},
                                   {"attempt", to_string(attempt)},
                                   {"node", start.placement.ranks[0].node}});
      placed.insert(start.id);
      apply(start.id, proto::AttemptPlaced{attempt, std::move(start.placement.ranks)});
      if (schedule_again_) break;  // the plan is out of date
    }
    if (schedule_again_) continue;
    for (const auto& order : plan.yields)
      if (placed.contains(order.id))
        look_again_ms_ = std::min(look_again_ms_, clock_.wall() + kNextPassMs);
      else if (auto done = yield(order.id, order.cause, order.reason, order.grace_s); !done)
        log::debug("a job does not give its place",
                   {{"job", to_string(order.id)}, {"cause", done.error().message()}});
  }
  scheduling_ = false;
}

void Dispatcher::pass_time() {
  const auto now = clock_.steady();
  if (now - accounted_ >= kAccountingStep) {
    accounted_ = now;
    usage_.charge_all(now, clock_.wall());
    planner_.set_fair_share(usage_.fair_share());
    auto document = usage_.fair_share().to_json();
    if (!document["accounts"].empty() || has_usage_document_)
      store_.journal.put({kUsageKind, kUsageName, std::move(document)});
    has_usage_document_ = has_usage_document_ || !usage_.fair_share().used().empty();
    if (planner_.waiting() > 0) schedule();
  }
  if (look_again_ms_ <= clock_.wall()) schedule();
}

// ---- what users ask -----------------------------------------------------------------------------

/// The planner knows numbers only; the jobs of an array are called by array and index.
std::string Dispatcher::reason_of(const core::Explanation& explanation) const {
  const auto* behind = explanation.behind.value() == 0 ? nullptr : book_.find(explanation.behind);
  return behind == nullptr ? explanation.reason : core::waits_behind(core::name_of(behind->state));
}

Waiting Dispatcher::waiting(JobId id) const {
  const auto* record = book_.find(id);
  if (record == nullptr || record->state.phase != core::JobPhase::kQueued) return {};
  if (auto kept = keeps_from_start(record->state); !kept.empty()) return {std::move(kept), 0, 0};
  const auto explanation = planner_.explain(id, clock_.wall());
  // Nothing keeps it: after a failure the verdict on that is what its user wants to know.
  const auto& verdict = record->state.verdict;
  if (explanation.reason.empty()) return {verdict.empty() ? "is about to start" : verdict, 0, 0};
  return {reason_of(explanation), explanation.position, explanation.expected_start_ms};
}

std::vector<JobId> Dispatcher::queue(std::size_t at_most) const {
  auto ids = planner_.order(at_most);
  for (auto id = book_.queued().begin(); id != book_.queued().end() && ids.size() < at_most; ++id)
    if (!planner_.waits(*id)) ids.push_back(*id);
  return ids;
}

core::Decision Dispatcher::plan(const proto::JobSpec& spec) const {
  core::WaitingJob job{JobId(0), spec.scaling_config, spec.scheduling, {}, {}};
  job.scheduling.time_limit_s = core::time_limit_s(config_.queues, spec.scheduling);
  auto answer = planner_.ask(job, clock_.wall());
  answer.explanation.reason = reason_of(answer.explanation);
  if (answer.explanation.behind.value() != 0) answer.placement.reason = answer.explanation.reason;
  if (const auto begin_ms = spec.scheduling.begin_at_ms;
      answer.explanation.feasible && begin_ms > clock_.wall()) {
    answer.placement.ranks.clear();
    answer.explanation = {"begins at " + proto::rfc3339(begin_ms), 0, 0, true};
  }
  return {JobId(0), std::move(answer.placement), answer.explanation.position, answer.explanation.reason,
          answer.explanation.expected_start_ms};
}

core::Decision Dispatcher::plan(const proto::ScalingConfig& scaling) const {
  proto::JobSpec spec;
  spec.scaling_config = scaling;
  return plan(spec);
}

}  // namespace rtrain::head
