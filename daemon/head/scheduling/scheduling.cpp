#include "daemon/head/scheduling/scheduling.h"

#include "common/log/log.h"
#include "daemon/head/attempts/yield.h"

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

std::vector<proto::RankPlacement> placements_of(const core::JobState& state) {
  std::vector<proto::RankPlacement> placements;
  placements.reserve(state.ranks.size());
  for (const auto& rank : state.ranks) placements.push_back(rank.placement);
  return placements;
}

Scheduling::Scheduling(HeadContext& context, Turn& turn, const Eligibility& eligibility)
    : context_(context),
      turn_(turn),
      eligibility_(eligibility),
      usage_(context.config.fair_share_half_life_s),
      accounted_(context.now()) {}

// ---- what the planner is told -------------------------------------------------------------------

void Scheduling::recover(const std::vector<store::Document>& documents) {
  planner_.set_queues(context_.config.queues);
  for (const auto& document : documents) {
    if (document.kind != kUsageKind || document.name != kUsageName) continue;
    if (auto done = usage_.fair_share().restore(document.value); !done)
      log::error("fair shares begin anew", {{"cause", done.error().message()}});
  }
  usage_.fair_share().decay(context_.wall());
  planner_.set_fair_share(usage_.fair_share());
  context_.nodes.on_change([this](const core::NodeView& view) {
    ++context_.epoch;
    planner_.node(view);
  });
}

void Scheduling::open() {
  again_ = true;
  passes_ = Passes::kIdle;
}

core::RunningJob Scheduling::running_of(const core::JobState& state) const {
  core::RunningJob running{waiting_job_of(state),
                           placements_of(state),
                           state.placed_ms,
                           state.phase == core::JobPhase::kStopping,
                           0,
                           false};
  running.stops_by_ms = context_.wall() + static_cast<proto::UnixMs>(grace_of(state) * 1000);
  running.resizing = state.yield && state.yield->cause == proto::YieldCause::kResize;
  return running;
}

void Scheduling::on_allocated(JobId id) {
  const auto& state = context_.state(id);
  context_.nodes.hold(placements_of(state), state.spec->scaling_config.resources());
  planner_.start(running_of(state));
  usage_.begins(state, context_.now());
}

void Scheduling::on_released(JobId id) {
  const auto& state = context_.state(id);
  context_.nodes.release(placements_of(state), state.spec->scaling_config.resources());
  planner_.end(id);
  usage_.ends(id, context_.now(), context_.wall());
}

void Scheduling::sync(JobId id) {
  ++context_.epoch;
  const auto* record = context_.book.find(id);
  const bool queued = record != nullptr && record->state.phase == core::JobPhase::kQueued;
  const bool may_start = queued && eligibility_.reason(record->state).empty();
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

void Scheduling::request_pass() {
  ++context_.epoch;
  again_ = true;
  // kRunning: an effect of a placement changed something, and the loop in pass() looks again.
  if (passes_ != Passes::kIdle) return;
  if (defer_pass_) {
    if (!std::exchange(called_, true)) defer_pass_();
  } else if (!turn_.running()) {
    pass();  // else at the end of the turn
  }
}

void Scheduling::on_turn_end() {
  if (again_ && !defer_pass_ && passes_ == Passes::kIdle) pass();
}

void Scheduling::pass() {
  called_ = false;
  if (passes_ != Passes::kIdle) return;
  ++context_.epoch;
  passes_ = Passes::kRunning;
  // They keep their places until the next pass: so this one ends, whatever the planner wants.
  std::set<JobId> placed;
  while (again_) {
    again_ = false;
    auto plan = planner_.plan(context_.wall());
    look_again_ms_ = plan.look_again_ms;
    for (auto& start : plan.starts) {
      const Attempt attempt(context_.state(start.id).attempt.value() + 1);
      log::info("attempt placed", {{"job", to_string(start.id)},
                                   {"attempt", to_string(attempt)},
                                   {"node", start.placement.ranks[0].node}});
      placed.insert(start.id);
      turn_.post(start.id, proto::AttemptPlaced{attempt, std::move(start.placement.ranks)});
      if (again_) break;  // the plan is out of date
    }
    if (again_) continue;
    for (const auto& order : plan.yields)
      if (placed.contains(order.id))
        look_again_ms_ = std::min(look_again_ms_, context_.wall() + kNextPassMs);
      else
        ask_to_yield(order);
  }
  passes_ = Passes::kIdle;
}

void Scheduling::ask_to_yield(const core::YieldOrder& order) {
  const auto done = request_yield(context_, turn_, order.id, order.cause, order.reason, order.grace_s);
  if (!done)
    log::debug("a job cannot be asked to yield",
               {{"job", to_string(order.id)}, {"cause", done.error().message()}});
}

void Scheduling::tick() {
  const auto now = context_.now();
  if (now - accounted_ >= kAccountingStep) {
    accounted_ = now;
    usage_.charge_all(now, context_.wall());
    planner_.set_fair_share(usage_.fair_share());
    auto document = usage_.fair_share().to_json();
    if (!document["accounts"].empty() || has_usage_document_)
      context_.store.journal.put({kUsageKind, kUsageName, std::move(document)});
    has_usage_document_ = has_usage_document_ || !usage_.fair_share().used().empty();
    if (planner_.waiting() > 0) request_pass();
  }
  if (look_again_ms_ <= context_.wall()) request_pass();
}

// ---- what users ask -----------------------------------------------------------------------------

/// The planner knows numbers only; the jobs of an array are called by array and index.
std::string Scheduling::reason_of(const core::Explanation& explanation) const {
  const auto* behind = explanation.behind.value() == 0 ? nullptr : context_.book.find(explanation.behind);
  return behind == nullptr ? explanation.reason : core::waits_behind(core::name_of(behind->state));
}

Waiting Scheduling::waiting(JobId id) const {
  const auto* record = context_.book.find(id);
  if (record == nullptr || record->state.phase != core::JobPhase::kQueued) return {};
  if (auto kept = eligibility_.reason(record->state); !kept.empty()) return {std::move(kept), 0, 0};
  const auto explanation = planner_.explain(id, context_.wall());
  // Nothing keeps it: after a failure the verdict on that is what its user wants to know.
  const auto& verdict = record->state.verdict;
  if (explanation.reason.empty()) return {verdict.empty() ? "is about to start" : verdict, 0, 0};
  return {reason_of(explanation), explanation.position, explanation.expected_start_ms};
}

std::vector<JobId> Scheduling::queue(std::size_t at_most) const {
  auto ids = planner_.order(at_most);
  const auto& queued = context_.book.queued();
  for (auto id = queued.begin(); id != queued.end() && ids.size() < at_most; ++id)
    if (!planner_.waits(*id)) ids.push_back(*id);
  return ids;
}

core::Decision Scheduling::plan(const proto::JobSpec& spec) const {
  core::WaitingJob job{JobId(0), spec.scaling_config, spec.scheduling, {}, {}};
  job.scheduling.time_limit_s = core::time_limit_s(context_.config.queues, spec.scheduling);
  auto answer = planner_.ask(job, context_.wall());
  answer.explanation.reason = reason_of(answer.explanation);
  if (answer.explanation.behind.value() != 0) answer.placement.reason = answer.explanation.reason;
  if (auto kept = eligibility_.reason(spec, job.user); answer.explanation.feasible && !kept.empty()) {
    answer.placement.ranks.clear();
    answer.explanation = {std::move(kept), 0, 0, true};
  }
  return {JobId(0), std::move(answer.placement), answer.explanation.position, answer.explanation.reason,
          answer.explanation.expected_start_ms};
}

core::Decision Scheduling::plan(const proto::ScalingConfig& scaling) const {
  proto::JobSpec spec;
  spec.scaling_config = scaling;
  return plan(spec);
}

}  // namespace rtrain::head
