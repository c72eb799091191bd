#include "daemon/core/job.h"

#include "common/base/fault.h"
#include "common/base/number.h"
#include "daemon/core/suspicion.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <sstream>
#include <utility>

namespace rtrain::core {
namespace {

using namespace proto;

std::string rank_place(const JobState& state, int rank) {
  return "rank " + std::to_string(rank) + " on node " +
         state.ranks[static_cast<std::size_t>(rank)].placement.node;
}

bool all_ended(const JobState& state) {
  return std::ranges::all_of(state.ranks, [](const RankState& r) { return r.phase == RankPhase::kEnded; });
}

std::string seconds(double s) {
  std::ostringstream text;
  text << s << " s";
  return text.str();
}

/// Nothing was heard of a step. A program that is no training function tells of none, so that its exit code
/// alone says nothing.
bool before_first_step(const JobState& state, bool reported, const std::string& kind) {
  return !state.first_step && !reported && (state.spec->train_func || kind == "exception" || kind == "load");
}

/// The attempt is not to be followed by another one.
bool ends_job(YieldCause cause) {
  return cause == YieldCause::kPruned || cause == YieldCause::kFinished || cause == YieldCause::kReplaced;
}

bool is_end_of_trial(const YieldRequested& e) { return ends_job(e.cause) && e.checkpoint; }

/// Its attempt yields already, with a checkpoint, and was to go on: it need only not be placed again.
bool may_still_end(const JobState& state) {
  return state.phase == JobPhase::kStopping && state.yield && state.yield->checkpoint &&
         !ends_job(state.yield->cause) && !state.cancel_requested;
}

/// One overload per event: a forgotten event does not compile. Each checks all before it changes anything.
class Transition {
 public:
  Transition(JobState& state, UnixMs at) : s_(state), at_(at) {}

  Result<Done> operator()(const JobSubmitted&) { return illegal("job_submitted"); }

  Result<Done> operator()(const AttemptPlaced& e) {
    if (s_.phase != JobPhase::kQueued) return illegal("attempt_placed");
    if (e.attempt.value() != s_.attempt.value() + 1) return stale(e.attempt);
    if (is_held(s_))
      return fail(Errc::kConflict, "attempt_placed: job " + name_of(s_) + " is held by " + holders_of(s_));
    const auto& scaling = s_.spec->scaling_config;
    if (std::cmp_greater(e.ranks.size(), scaling.num_workers) ||
        std::cmp_less(e.ranks.size(), scaling.least_workers()))
      return fail(Errc::kConflict,
                  "attempt_placed: " + std::to_string(e.ranks.size()) + " ranks for " +
                      (scaling.elastic() ? std::to_string(scaling.least_workers()) + " to " : "") +
                      std::to_string(scaling.num_workers) + " workers");
    for (std::size_t i = 0; i < e.ranks.size(); ++i)
      if (e.ranks[i].rank != static_cast<int>(i))
        return fail(Errc::kConflict, "attempt_placed: the ranks are not in order");
    s_.phase = JobPhase::kStarting;
    s_.attempt = e.attempt;
    s_.ranks.clear();
    auto& nodes = s_.nodes[e.attempt];
    for (const auto& placement : e.ranks) {
      s_.ranks.push_back({placement, RankPhase::kPlaced, 0, {}, false, false});
      nodes.push_back(placement.node);
    }
    if (s_.nodes.size() > kAttemptsKept) s_.nodes.erase(s_.nodes.begin());
    s_.made_before = std::min(kWholeMax, s_.made_before + std::exchange(s_.last_seq, 0));
    s_.retry = false;
    s_.first_step = false;
    s_.yield.reset();
    s_.not_before_ms = 0;
    s_.placed_ms = at_;
    return ok();
  }

  Result<Done> operator()(const RankForked& e) {
    if (auto wrong = check_rank("rank_forked", e.attempt, e.rank)) return *wrong;
    auto& rank = s_.ranks[static_cast<std::size_t>(e.rank)];
    // The worker's word may overtake the supervisor's: both come to the head through different processes.
    const bool overtaken = rank.phase == RankPhase::kRunning && rank.pid == 0;
    if (rank.phase != RankPhase::kPlaced && !overtaken) return illegal("rank_forked");
    if (!overtaken) rank.phase = RankPhase::kForked;
    rank.pid = e.pid;
    rank.started = true;
    return ok();
  }

  Result<Done> operator()(const RankEntered& e) {
    if (auto wrong = check_rank("rank_entered", e.attempt, e.rank)) return *wrong;
    auto& rank = s_.ranks[static_cast<std::size_t>(e.rank)];
    if (rank.phase != RankPhase::kPlaced && rank.phase != RankPhase::kForked) return illegal("rank_entered");
    rank.phase = RankPhase::kRunning;
    rank.started = true;
    if (s_.started_ms == 0) s_.started_ms = at_;
    const bool all = std::ranges::none_of(s_.ranks, [](const RankState& r) {
      return r.phase == RankPhase::kPlaced || r.phase == RankPhase::kForked;
    });
    if (s_.phase == JobPhase::kStarting && all) s_.phase = JobPhase::kRunning;
    return ok();
  }

  Result<Done> operator()(const FirstStep& e) {
    if (auto wrong = check_rank("first_step", e.attempt, 0)) return *wrong;
    if (s_.first_step) return illegal("first_step");
    s_.first_step = true;
    return ok();
  }

  Result<Done> operator()(const MetricsReported& e) {
    if (auto wrong = check_rank("metrics_reported", e.attempt, 0)) return *wrong;
    if (e.seq <= s_.last_seq && !fault::on(fault::Fault::kSeqNotChecked))
      return fail(Errc::kConflict, "metrics_reported: report " + std::to_string(e.seq) + " was seen before");
    s_.last_seq = e.seq;
    s_.metrics = e.metrics;
    ++s_.reports;
    if (e.checkpoint) {
      // written again by a later attempt
      std::erase_if(s_.checkpoints, [&](const CheckpointRecord& c) { return c.path == e.checkpoint->path; });
      s_.checkpoints.push_back(*e.checkpoint);
      // what a rank says of a validation is only that it wants one
      if (auto& wanted = s_.checkpoints.back().validation; wanted && s_.spec->validation)
        wanted = CheckpointValidation{.fn_kwargs = wanted->fn_kwargs, .timeout_s = wanted->timeout_s};
      else
        wanted.reset();
      s_.next_checkpoint_index = std::max(s_.next_checkpoint_index, e.checkpoint->index + 1);
    }
    std::erase_if(s_.checkpoints, [&](const CheckpointRecord& c) {
      return std::ranges::find(e.deleted_checkpoints, c.path) != e.deleted_checkpoints.end();
    });
    return ok();
  }

  Result<Done> operator()(const RankFinished& e) {
    if (auto wrong = check_rank("rank_finished", e.attempt, e.rank)) return *wrong;
    auto& rank = s_.ranks[static_cast<std::size_t>(e.rank)];
    if (rank.phase == RankPhase::kEnded) return illegal("rank_finished");
    rank.phase = RankPhase::kEnded;
    rank.status = e.status;
    rank.yielded = e.yielded;
    rank.started = rank.started || !e.status.lost;
    if (e.rank == 0) s_.return_value = e.return_value;
    if (!e.error && e.status.success()) return ok();
    if (e.status.lost && fault::on(fault::Fault::kLostIsSuccess)) return ok();
    if (s_.phase != JobPhase::kStopping && !s_.failed_rank) {
      s_.failed_rank = e.rank;
      s_.failed_rank_error = e.error.value_or(RankError{e.status.lost     ? "lost"
                                                        : e.status.signal ? "signal"
                                                                          : "exit",
                                                        to_string(e.status),
                                                        {}});
    }
    return ok();
  }

  Result<Done> operator()(const AttemptFailed& e) {
    if (!is_live(s_.phase)) return illegal("attempt_failed");
    if (e.attempt != s_.attempt || e.error.attempt != e.attempt.value()) return stale(e.attempt);
    s_.phase = JobPhase::kStopping;
    const auto [kind, message] = own_words(e.error);
    s_.last_failure = PastFailure{e.failure_class, kind, message, before_first_step(s_, e.reported, kind)};
    s_.failed_in_row = e.reported ? 1 : s_.failed_in_row + 1;
    s_.error = e.error;
    s_.failure_class = e.failure_class;
    s_.verdict = e.reason;
    s_.retry = e.retry;
    s_.not_before_ms = e.retry_at_ms;
    ++(e.counted ? s_.failures : s_.controller_failures);
    return ok();
  }

  Result<Done> operator()(const YieldRequested& e) {
    if (!is_live(s_.phase) && !(is_end_of_trial(e) && may_still_end(s_))) return illegal("yield_requested");
    if (e.attempt != s_.attempt) return stale(e.attempt);
    if (s_.failed_rank)
      return fail(Errc::kConflict,
                  "yield_requested: a rank of attempt " + to_string(e.attempt) + " has failed");
    s_.phase = JobPhase::kStopping;
    s_.yield = Yield{e.cause, e.reason, e.grace_s, e.retry, e.checkpoint};
    switch (e.cause) {
      case YieldCause::kPreempted: ++s_.preemptions; break;
      case YieldCause::kDrain: ++s_.drains; break;
      case YieldCause::kResize: ++s_.resizes; break;
      case YieldCause::kPruned:
      case YieldCause::kFinished:
      case YieldCause::kReplaced: break;
      case YieldCause::kPaused: s_.paused = true; break;
    }
    return ok();
  }

  Result<Done> operator()(const TimeLimitReached& e) {
    if (!is_live(s_.phase)) return illegal("time_limit_reached");
    if (e.attempt != s_.attempt) return stale(e.attempt);
    if (s_.failed_rank)
      return fail(Errc::kConflict,
                  "time_limit_reached: a rank of attempt " + to_string(e.attempt) + " has failed");
    s_.phase = JobPhase::kStopping;
    s_.error = JobError{
        "time_limit", "ran into its time limit of " + seconds(e.limit_s), {}, {}, e.attempt.value(), {}, {}};
    s_.failure_class = FailureClass::kUser;
    s_.verdict = "the time limit of " + seconds(e.limit_s) + " is reached: not restarted";
    s_.retry = false;
    return ok();
  }

  Result<Done> operator()(const JobHeld& e) {
    if (is_terminal(s_.phase)) return has_ended();
    if (e.by_sweep) {
      if (s_.paused) return fail(Errc::kConflict, "job " + name_of(s_) + " is paused already, by " + e.by);
      s_.paused = true;
      return ok();
    }
    if (s_.held) return fail(Errc::kConflict, "job " + name_of(s_) + " is held already, by " + s_.held_by);
    s_.held = true;
    s_.held_by = e.by;
    return ok();
  }

  Result<Done> operator()(const JobReleased& e) {
    if (is_terminal(s_.phase)) return has_ended();
    if (e.by_sweep) {
      if (!s_.paused) return fail(Errc::kConflict, "job " + name_of(s_) + " is not paused by its sweep");
      s_.paused = false;
      if (fault::on(fault::Fault::kPromotionLiftsHold)) s_.held = false;
      return ok();
    }
    if (!s_.held) return fail(Errc::kConflict, "job " + name_of(s_) + " is not held");
    s_.held = false;
    s_.held_by.clear();
    return ok();
  }

  Result<Done> operator()(const CancelRequested& e) {
    if (is_terminal(s_.phase)) return has_ended();
    if (s_.cancel_requested)
      return fail(Errc::kConflict, "job " + name_of(s_) + " is being cancelled already");
    s_.cancel_requested = true;
    s_.cancelled_by = e.by;
    s_.retry = false;
    if (!has_attempt(s_.phase)) return end(JobPhase::kCancelled);
    s_.phase = JobPhase::kStopping;
    return ok();
  }

  Result<Done> operator()(const ValidationStarted& e) {
    auto* validation = pending_validation(e.index);
    if (validation == nullptr) return no_validation("validation_started", e.index);
    if (validation->job.value() != 0)
      return fail(Errc::kConflict, "validation_started: job " + to_string(validation->job) +
                                       " validates checkpoint " + std::to_string(e.index) + " already");
    validation->job = e.job;
    return ok();
  }

  Result<Done> operator()(const ValidationEnded& e) {
    auto* validation = pending_validation(e.index);
    if (validation == nullptr || e.status == ValidationStatus::kPending)
      return no_validation("validation_ended", e.index);
    validation->status = e.status;
    validation->error = e.error;
    for (auto& checkpoint : s_.checkpoints)
      if (checkpoint.index == e.index && e.metrics.is_object()) checkpoint.metrics.update(e.metrics);
    if (s_.phase == JobPhase::kValidating && !awaits_validation(s_)) return end(JobPhase::kSucceeded);
    return ok();
  }

  Result<Done> operator()(const AttemptEnded& e) {
    if (!has_attempt(s_.phase)) return illegal("attempt_ended");
    if (e.attempt != s_.attempt) return stale(e.attempt);
    if (!all_ended(s_)) return fail(Errc::kConflict, "attempt_ended: some ranks still run");
    if (s_.failed_rank && s_.phase != JobPhase::kStopping)
      return fail(Errc::kConflict, "attempt_ended: a rank failed and no attempt_failed says what follows");
    const bool failed = s_.error && s_.error->attempt == s_.attempt.value();
    s_.last_seq = std::max(s_.last_seq, e.last_seq);
    s_.failed_rank.reset();
    s_.failed_rank_error.reset();
    if (s_.cancel_requested) return end(JobPhase::kCancelled);
    if (failed) return s_.retry ? wait() : end(JobPhase::kFailed);
    if (!gave_way()) {
      s_.error.reset();
      if (!awaits_validation(s_)) return end(JobPhase::kSucceeded);
      s_.phase = JobPhase::kValidating;
      return ok();
    }
    if (!s_.yield || s_.yield->retry) return wait();
    if (s_.yield->cause == YieldCause::kFinished &&
        std::ranges::all_of(s_.ranks, [](const RankState& r) { return r.status.success(); })) {
      s_.error.reset();
      s_.verdict = "finished: " + s_.yield->reason;
      if (!awaits_validation(s_)) return end(JobPhase::kSucceeded);
      s_.phase = JobPhase::kValidating;
      return ok();
    }
    if (ends_job(s_.yield->cause)) {
      s_.error.reset();
      s_.verdict = std::string(to_string(s_.yield->cause)) + ": " + s_.yield->reason;
      return end(JobPhase::kCancelled);
    }
    s_.error = JobError{"preempted", s_.yield->reason, {}, {}, e.attempt.value(), {}, {}};
    s_.failure_class = FailureClass::kPreemption;
    s_.verdict = "preemption " + std::to_string(s_.preemptions) + ", max_preemption_failures is " +
                 std::to_string(s_.spec->run_config.failure_config.max_preemption_failures) +
                 ": not restarted";
    return end(JobPhase::kFailed);
  }

 private:
  std::optional<Error> check_rank(const char* event, Attempt attempt, int rank) const {
    if (attempt != s_.attempt || !has_attempt(s_.phase)) return stale(attempt);
    if (rank < 0 || rank >= static_cast<int>(s_.ranks.size()))
      return fail(Errc::kConflict, std::string(event) + ": there is no rank " + std::to_string(rank));
    return std::nullopt;
  }
  CheckpointValidation* pending_validation(std::int64_t index) {
    if (is_terminal(s_.phase)) return nullptr;
    for (auto& checkpoint : s_.checkpoints)
      if (checkpoint.index == index && checkpoint.pinned()) return &*checkpoint.validation;
    return nullptr;
  }
  Error no_validation(const std::string& event, std::int64_t index) const {
    return fail(Errc::kConflict, event + ": no validation of checkpoint " + std::to_string(index) +
                                     " of job " + name_of(s_) + " is pending");
  }
  /// The attempt made way with work left, rather than to have come to its end before it heard of it.
  bool gave_way() const {
    // Stopped at once, like a cancelled one: a program may end with 0 when it gets SIGTERM.
    if (s_.yield && !s_.yield->checkpoint) return true;
    return std::ranges::any_of(
        s_.ranks, [&](const RankState& r) { return r.yielded || (s_.yield && !r.status.success()); });
  }
  /// The failed rank's kind and message, without the place that JobError adds.
  std::pair<std::string, std::string> own_words(const JobError& error) const {
    if (s_.failed_rank_error) return {s_.failed_rank_error->kind, s_.failed_rank_error->message};
    return {error.kind, error.message};
  }
  Result<Done> wait() {
    s_.phase = JobPhase::kQueued;
    return ok();
  }
  Error has_ended() const {
    return fail(Errc::kConflict,
                "job " + name_of(s_) + " has already ended: " + std::string(to_string(s_.phase)));
  }
  Result<Done> end(JobPhase phase) {
    s_.phase = phase;
    s_.ended_ms = at_;
    s_.not_before_ms = 0;
    s_.held = s_.paused = false;
    s_.held_by.clear();
    if (phase != JobPhase::kSucceeded) s_.return_value = nullptr;
    for (auto& checkpoint : s_.checkpoints)
      if (checkpoint.pinned()) {
        checkpoint.validation->status = ValidationStatus::kFailed;
        checkpoint.validation->error = std::string("the job ") +
                                       (phase == JobPhase::kCancelled ? "was cancelled" : "failed") +
                                       " before its validation had ended";
      }
    return ok();
  }
  Error stale(Attempt attempt) const {
    return fail(Errc::kConflict, "attempt " + to_string(attempt) + " is not the current one of job " +
                                     to_string(s_.id) + " (" + to_string(s_.attempt) + ", " +
                                     std::string(to_string(s_.phase)) + ")");
  }
  Error illegal(const char* event) const {
    return fail(Errc::kConflict, std::string(event) + " is not legal while job " + to_string(s_.id) + " is " +
                                     std::string(to_string(s_.phase)));
  }

  JobState& s_;
  UnixMs at_;
};

}  // namespace

namespace {
constexpr std::array<std::string_view, 8> kPhases{"QUEUED",     "STARTING",  "RUNNING", "STOPPING",
                                                  "VALIDATING", "SUCCEEDED", "FAILED",  "CANCELLED"};
}  // namespace

std::string_view to_string(JobPhase phase) { return kPhases[static_cast<std::size_t>(phase)]; }

std::optional<JobPhase> phase_from_string(std::string_view name) {
  const auto found = std::ranges::find(kPhases, name);
  return found == kPhases.end() ? std::nullopt
                                : std::optional(static_cast<JobPhase>(found - kPhases.begin()));
}

std::string_view to_string(RankPhase phase) {
  static constexpr std::array<std::string_view, 4> kNames{"PLACED", "FORKED", "RUNNING", "ENDED"};
  return kNames[static_cast<std::size_t>(phase)];
}

bool is_terminal(JobPhase phase) {
  return phase == JobPhase::kSucceeded || phase == JobPhase::kFailed || phase == JobPhase::kCancelled;
}

bool is_live(JobPhase phase) { return phase == JobPhase::kStarting || phase == JobPhase::kRunning; }

bool has_attempt(JobPhase phase) { return is_live(phase) || phase == JobPhase::kStopping; }

JobState submitted(JobId id, UnixMs at, const JobSubmitted& event) {
  JobState state;
  state.id = id;
  state.spec = event.spec;
  state.submission = event.submission;
  state.run_name = event.run_name;
  state.run_dir = event.run_dir;
  state.user = event.user;
  state.array = event.array;
  state.validates = event.validates;
  state.sweep = event.sweep;
  state.submitted_ms = state.updated_ms = at;
  state.held = event.spec->scheduling.hold;
  if (state.held) state.held_by = "its job file";
  return state;
}

std::string name_of(const JobState& state) {
  return state.array ? to_string(*state.array) : to_string(state.id);
}

Result<Done> advance(JobState& state, const StampedEvent& event) {
  auto done = std::visit(Transition{state, event.at}, event.event);
  if (!done) return done;
  state.updated_ms = event.at;
  count_failure(state.failures_by_class, event.event);
  return done;
}

Result<JobState> apply(JobState state, const StampedEvent& event) {
  if (auto done = advance(state, event); !done) return done.error();
  return state;
}

Result<JobState> replay(JobId id, std::span<const StampedEvent> log) {
  if (log.empty() || !std::holds_alternative<JobSubmitted>(log[0].event))
    return fail(Errc::kConflict, "replaying job " + to_string(id) + ": the first event is not job_submitted");
  JobState state = submitted(id, log[0].at, std::get<JobSubmitted>(log[0].event));
  for (std::size_t i = 1; i < log.size(); ++i) {
    if (auto next = advance(state, log[i]); !next)
      return next.error().in("replaying event " + std::to_string(i) + " of job " + to_string(id));
  }
  return state;
}

namespace {

void add_validation_actions(std::vector<Action>& result, JobPhase before, const JobState& after,
                            const JobEvent& event) {
  if (const auto* report = std::get_if<MetricsReported>(&event); report != nullptr && report->checkpoint)
    if (const auto* kept = checkpoint_of(after, report->checkpoint->index); kept != nullptr && kept->pinned())
      result.emplace_back(StartValidation{kept->index});
  if (const auto* ended = std::get_if<ValidationEnded>(&event); ended != nullptr && has_attempt(after.phase))
    result.emplace_back(TellValidated{ended->index});
  const bool pruned = std::holds_alternative<AttemptEnded>(event) && after.phase == JobPhase::kCancelled &&
                      !after.cancel_requested;
  const bool given_up =
      std::holds_alternative<CancelRequested>(event) || pruned || after.phase == JobPhase::kFailed;
  if (given_up && std::ranges::any_of(after.checkpoints, [](const CheckpointRecord& checkpoint) {
        return checkpoint.validation && checkpoint.validation->job.value() != 0;
      }))
    result.emplace_back(CancelValidations{});
  if ((before == JobPhase::kQueued || before == JobPhase::kValidating) && is_terminal(after.phase))
    result.emplace_back(EndJob{});
}

}  // namespace

std::vector<Action> actions(JobPhase before, const JobState& after, const JobEvent& event) {
  std::vector<Action> result;
  if (std::holds_alternative<JobSubmitted>(event)) result.emplace_back(EnterQueue{});
  if (std::holds_alternative<AttemptPlaced>(event)) result.emplace_back(LaunchAttempt{after.attempt});
  if (const auto* failed = std::get_if<AttemptFailed>(&event); failed != nullptr && blames_node(*failed))
    result.emplace_back(BlameNode{failed->error.node, failed->error.message});
  if (std::holds_alternative<AttemptFailed>(event) && !all_ended(after))
    result.emplace_back(StopRanks{after.attempt, kFailureGraceS, after.error->message});
  if (std::holds_alternative<CancelRequested>(event) && has_attempt(before))
    result.emplace_back(
        StopRanks{after.attempt, after.spec->run_config.stop_grace_s, "cancelled by " + after.cancelled_by});
  if (const auto* yield = std::get_if<YieldRequested>(&event);
      yield != nullptr && is_live(before) && !all_ended(after))
    result.push_back(yield->checkpoint ? Action(YieldRanks{after.attempt, yield->grace_s, yield->reason})
                                       : Action(StopRanks{after.attempt, yield->grace_s, yield->reason}));
  if (std::holds_alternative<TimeLimitReached>(event) && !all_ended(after))
    result.emplace_back(StopRanks{after.attempt, after.spec->run_config.stop_grace_s, after.error->message});
  if (std::holds_alternative<JobReleased>(event) && after.phase == JobPhase::kQueued && !is_held(after))
    result.emplace_back(EnterQueue{});
  if (std::holds_alternative<JobHeld>(event) && after.phase == JobPhase::kQueued)
    result.emplace_back(LeaveQueue{});
  const bool free_early = fault::on(fault::Fault::kFreeEarly);
  if (free_early && std::holds_alternative<AttemptFailed>(event))
    result.emplace_back(FreeResources{after.attempt});
  if (std::holds_alternative<AttemptEnded>(event)) {
    if (after.phase == JobPhase::kQueued) result.emplace_back(EnterQueue{});
    if (!free_early || !after.error || after.error->attempt != after.attempt.value())
      result.emplace_back(FreeResources{after.attempt});
  }
  add_validation_actions(result, before, after, event);
  if (after.sweep && std::holds_alternative<MetricsReported>(event)) result.emplace_back(JudgeReport{});
  if (after.sweep && !is_terminal(before) && is_terminal(after.phase)) result.emplace_back(EndTrial{});
  return result;
}

bool awaits_validation(const JobState& state) {
  return std::ranges::any_of(state.checkpoints, &CheckpointRecord::pinned);
}

const CheckpointRecord* checkpoint_of(const JobState& state, std::int64_t index) {
  const auto found = std::ranges::find(state.checkpoints, index, &CheckpointRecord::index);
  return found == state.checkpoints.end() ? nullptr : &*found;
}

std::optional<JobEvent> follow_up(const JobState& state) {
  if (is_live(state.phase) && state.failed_rank)
    return attempt_failed(state, *state.failed_rank_error, state.failed_rank, state.updated_ms);
  if (has_attempt(state.phase) && all_ended(state)) return AttemptEnded{state.attempt, state.last_seq};
  return std::nullopt;
}

proto::JobSpec spec_of_rank(const proto::SharedSpec& shared, const std::optional<proto::ArrayTask>& array) {
  auto spec = *shared;
  if (array) spec.train_loop_config["array_index"] = array->index;
  return spec;
}

std::int64_t reports_dropped(const JobState& state) {
  return std::max<std::int64_t>(0, state.made_before + state.last_seq - state.reports);
}

void count_failure(FailureCounts& counts, const JobEvent& event) {
  const auto count = [&](FailureClass failure_class, const std::string& kind) {
    ++counts[std::string(to_string(failure_class))][kind];
  };
  if (const auto* failed = std::get_if<AttemptFailed>(&event))
    count(failed->failure_class, failed->error.kind);
  if (std::holds_alternative<TimeLimitReached>(event)) count(FailureClass::kUser, "time_limit");
  if (const auto* yield = std::get_if<YieldRequested>(&event);
      yield != nullptr && yield->cause == YieldCause::kPreempted)
    count(FailureClass::kPreemption, "preempted");
}

FailureHistory failure_history(const JobState& state) {
  return {state.failures, state.preemptions, state.controller_failures, state.failed_in_row,
          state.last_failure};
}

AttemptFailed attempt_failed(const JobState& state, const RankError& error, std::optional<int> rank,
                             UnixMs now) {
  const bool any_started = std::ranges::any_of(state.ranks, &RankState::started);
  JobError job_error{error.kind, error.message, rank, {}, state.attempt.value(), {}, error.log_tail};
  if (rank) {
    const auto& failed = state.ranks[static_cast<std::size_t>(*rank)];
    job_error.message = rank_place(state, *rank) + ": " + error.message;
    job_error.node = failed.placement.node;
    job_error.status = failed.status;
  }
  const bool reported = state.last_seq > 0;
  Failure failure{classify(error, job_error.status, any_started), error.kind, error.message, reported,
                  before_first_step(state, reported, error.kind)};
  const auto verdict = decide(state.spec->run_config.failure_config, failure_history(state), failure);
  const UnixMs retry_at = verdict.delay_s > 0 ? now + std::llround(verdict.delay_s * 1000) : 0;
  return {state.attempt,
          std::move(job_error),
          verdict.retry,
          verdict.reason,
          failure.cause.failure_class,
          verdict.counted,
          retry_at,
          reported};
}

YieldRequested yield_requested(const JobState& state, YieldCause cause, std::string reason, double grace_s) {
  return {state.attempt,
          cause,
          std::move(reason),
          grace_s,
          may_yield(state.spec->run_config.failure_config, failure_history(state), cause),
          true};
}

bool is_held(const JobState& state) { return state.held || state.paused; }

std::string sweep_name(const JobState& state) {
  return state.sweep ? "sweep " + to_string(state.sweep->sweep) : "its sweep";
}

std::string holders_of(const JobState& state) {
  if (!state.paused) return state.held_by;
  return (state.held ? state.held_by + " and " : "") + sweep_name(state);
}

JobEvent trial_stopped(const JobState& state, std::string reason, bool checkpoint, bool finished) {
  const bool live = is_live(state.phase) || (checkpoint && may_still_end(state));
  if (!live || state.failed_rank) return CancelRequested{sweep_name(state) + ": " + reason};
  auto yield =
      yield_requested(state, finished ? YieldCause::kFinished : YieldCause::kPruned, std::move(reason), 0);
  yield.grace_s = state.spec->run_config.stop_grace_s;
  yield.checkpoint = checkpoint;
  return yield;
}

JobEvent trial_replaced(const JobState& state, std::string reason) {
  if (!is_live(state.phase) || state.failed_rank)
    return CancelRequested{sweep_name(state) + ", replaced: " + reason};
  auto yield =
      yield_requested(state, YieldCause::kReplaced, std::move(reason), state.spec->run_config.stop_grace_s);
  yield.checkpoint = false;
  return yield;
}

JobEvent trial_paused(const JobState& state, std::string reason) {
  if (!is_live(state.phase) || state.failed_rank) return JobHeld{sweep_name(state), true};
  return yield_requested(state, YieldCause::kPaused, std::move(reason), state.spec->run_config.stop_grace_s);
}

}  // namespace rtrain::core
