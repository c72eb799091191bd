// What happens to an attempt with time, and what users say of a job that waits: holds, yields, limits,
// retries, hangs.
#include "common/log/log.h"
#include "daemon/head/dispatcher.h"

#include <algorithm>
#include <cmath>

namespace rtrain::head {
namespace {

/// How long the other ranks have to say where they stand, after the first one that says it is silent.
constexpr std::chrono::seconds kDiagnosisWait{2};

bool lives(const core::JobState& state) {
  return state.phase == core::JobPhase::kStarting || state.phase == core::JobPhase::kRunning;
}

}  // namespace

// ---- holds --------------------------------------------------------------------------------------

Result<Done> Dispatcher::hold(JobId id, const std::string& by) {
  auto done = book_.apply(id, proto::JobHeld{by}, clock_.wall());
  if (done) {
    if (book_.find(id)->state.phase == core::JobPhase::kQueued) settle(id);
    log::info("job held", {{"job", to_string(id)}, {"by", by}});
    schedule();  // those behind it may start now
  }
  return done;
}

Result<Done> Dispatcher::release(JobId id, const std::string& by) {
  auto done = book_.apply(id, proto::JobReleased{by}, clock_.wall());
  if (done) {
    log::info("job released", {{"job", to_string(id)}, {"by", by}});
    schedule();
  }
  return done;
}

// ---- from placement to end ----------------------------------------------------------------------

void Dispatcher::placed(JobId id) {
  note_started(id);
  if (const auto limit = book_.find(id)->state.spec->scheduling.time_limit_s)
    deadlines_.set(id, DueFor::kTimeLimit, clock_.steady() + from_seconds(*limit));
}

void Dispatcher::ended(JobId id) {
  for (const auto what : {DueFor::kTimeLimit, DueFor::kYieldGrace, DueFor::kHang}) deadlines_.clear(id, what);
  diagnoses_.erase(id);
  const auto phase = book_.find(id)->state.phase;
  if (phase == core::JobPhase::kValidating) await_validations(id);
  if (core::is_terminal(phase)) note_ended(id);
}

void Dispatcher::entered_queue(JobId id) {
  stands_in_line(id);
  const auto wait_ms = book_.find(id)->state.not_before_ms - clock_.wall();
  if (wait_ms > 0) deadlines_.set(id, DueFor::kRetry, clock_.steady() + std::chrono::milliseconds(wait_ms));
}

void Dispatcher::recover_deadlines(const core::JobState& state) {
  const auto now = clock_.steady();
  if (state.phase == core::JobPhase::kQueued && state.not_before_ms != 0) {
    // A clock that jumped back must not make the job wait for years.
    const double wait_s = std::min(static_cast<double>(state.not_before_ms - clock_.wall()) / 1000,
                                   core::back_off_s(state.failed_in_row));
    if (wait_s > 0) deadlines_.set(state.id, DueFor::kRetry, now + from_seconds(wait_s));
  }
  if (const auto limit = state.spec->scheduling.time_limit_s; limit && lives(state)) {
    const double ran_s = static_cast<double>(clock_.wall() - state.placed_ms) / 1000;
    deadlines_.set(state.id, DueFor::kTimeLimit, now + from_seconds(std::clamp(*limit - ran_s, 0.0, *limit)));
  }
  if (state.phase == core::JobPhase::kStopping && state.yield)
    deadlines_.set(state.id, DueFor::kYieldGrace, now + from_seconds(state.yield->grace_s));
}

void Dispatcher::do_due(const Deadlines::Due& due) {
  const auto* record = book_.find(due.id);
  if (record == nullptr) return;
  const auto& state = record->state;
  switch (due.what) {
    case DueFor::kTimeLimit:
      if (!lives(state)) return;
      log::info("time limit reached", {{"job", to_string(due.id)}, {"attempt", to_string(state.attempt)}});
      return apply(due.id,
                   proto::TimeLimitReached{state.attempt, state.spec->scheduling.time_limit_s.value_or(0)});
    case DueFor::kYieldGrace:
      if (state.phase != core::JobPhase::kStopping || !state.yield) return;
      return stop(due.id,
                  {state.attempt, core::kFailureGraceS, "did not yield in time: " + state.yield->reason});
    case DueFor::kRetry: update_planner(due.id); return schedule();
    case DueFor::kHang: return judge_hang(due.id);
    case DueFor::kValidation: return give_up_validations(due.id);
  }
}

// ---- yields -------------------------------------------------------------------------------------

Result<Done> Dispatcher::yield(JobId id, proto::YieldCause cause, const std::string& reason, double grace_s) {
  const auto* record = book_.find(id);
  if (record == nullptr)
    return fail(Errc::kNotFound, "job " + to_string(id) + ": no such job", "rtrain list shows the jobs");
  auto done = book_.apply(id, core::yield_requested(record->state, cause, reason, grace_s), clock_.wall());
  if (done)
    log::info("job asked to yield",
              {{"job", to_string(id)}, {"cause", std::string(to_string(cause))}, {"reason", reason}});
  return done;
}

void Dispatcher::ask_to_yield(JobId id, const core::YieldRanks& yield) {
  if (unlaunched_.erase(id) > 0)
    return lose_ranks(id, "was never started: " + yield.reason, [](const core::RankState&) { return true; });
  deadlines_.set(id, DueFor::kYieldGrace, clock_.steady() + from_seconds(yield.grace_s));
  for (const auto& name : living_nodes(id))
    tell(nodes_.session(name), proto::YieldAttempt{id, yield.attempt, yield.grace_s, yield.reason});
  // A node that is away hears of it when it comes back.
}

proto::Message Dispatcher::stop_again(const core::JobState& state, const std::string& node) const {
  if (drain_left_s(node) == 0.0)
    return proto::StopAttempt{state.id, state.attempt, core::kFailureGraceS,
                              "the drain of node " + node + " has reached its deadline"};
  if (state.cancel_requested)
    return proto::StopAttempt{state.id, state.attempt, state.spec->run_config.stop_grace_s,
                              "cancelled by " + state.cancelled_by};
  if (const auto until = deadlines_.at(state.id, DueFor::kYieldGrace); state.yield && until)
    return proto::YieldAttempt{state.id, state.attempt,
                               std::max(0.0, Seconds(*until - clock_.steady()).count()), state.yield->reason};
  const bool limit =
      state.error && state.error->attempt == state.attempt.value() && state.error->kind == "time_limit";
  return proto::StopAttempt{state.id, state.attempt,
                            limit ? state.spec->run_config.stop_grace_s : core::kFailureGraceS,
                            "the attempt is over"};
}

// ---- profiles -----------------------------------------------------------------------------------

Result<proto::ProfileDoc> Dispatcher::profile(JobId id, const ProfileRequest& request,
                                              const std::string& by) {
  const auto* record = book_.find(id);
  if (record == nullptr)
    return fail(Errc::kNotFound, "job " + to_string(id) + ": no such job", "rtrain list shows the jobs");
  // unlike that of an earlier head, whose answers may still come
  const auto number = std::max(last_profile_ + 1, clock_.wall() * 1000);
  const auto asked = profiles_.begin(record->state, request, number, clock_.steady());
  if (!asked) return asked.error();
  last_profile_ = number;
  log::info("job asked for a profile",
            {{"job", to_string(id)}, {"by", by}, {"steps", std::to_string(request.steps)}});
  std::map<std::string, std::vector<int>> asked_of;
  for (const int rank : asked->ranks) {
    const auto& node = record->state.ranks[static_cast<std::size_t>(rank)].placement.node;
    const proto::RankKey key{id, asked->attempt, rank};
    const auto session = nodes_.session(node);
    if (!session)
      profiles_.fail_rank(key, "node " + node + " is not connected");
    else if (session->version() < 3)
      profiles_.fail_rank(key, "the agent of node " + node + " is older than rtrain profile: upgrade it");
    else
      asked_of[node].push_back(rank);
  }
  for (auto& [node, ranks] : asked_of) {
    auto message = *asked;
    message.ranks = std::move(ranks);
    tell(nodes_.session(node), message);
  }
  return *profiles_.look(record->state, clock_.steady());
}

Result<proto::ProfileDoc> Dispatcher::profile(JobId id) {
  const auto* record = book_.find(id);
  const auto doc = record == nullptr ? std::nullopt : profiles_.look(record->state, clock_.steady());
  if (doc) return *doc;
  return fail(Errc::kNotFound, "job " + to_string(id) + ": no profile of it is known to this head",
              "ask for one: rtrain profile " + to_string(id));
}

// ---- steps and hangs ----------------------------------------------------------------------------

void Dispatcher::on_progress(const proto::RankProgress& progress) {
  const auto id = progress.key.job;
  if (const auto heard = diagnoses_.find(id); heard != diagnoses_.end()) {
    // It moves after all: a step that took long, not a hang.
    const auto word = heard->second.find(progress.key.rank);
    if (word != heard->second.end() &&
        std::pair(progress.epoch, progress.step) > std::pair(word->second.epoch, word->second.step)) {
      diagnoses_.erase(heard);
      deadlines_.clear(id, DueFor::kHang);
    }
  }
  const bool stepped = progress.stage == "train" && (progress.epoch > 0 || progress.step > 0);
  if (stepped && !book_.find(id)->state.first_step) apply(id, proto::FirstStep{progress.key.attempt});
}

void Dispatcher::hear_diagnosis(proto::RankDiagnosis diagnosis) {
  const auto id = diagnosis.key.job;
  const auto& state = book_.find(id)->state;
  if (!lives(state)) return;
  auto& words = diagnoses_[id];
  words[diagnosis.key.rank] = std::move(diagnosis);
  const auto living = std::ranges::count_if(
      state.ranks, [](const core::RankState& rank) { return rank.phase != core::RankPhase::kEnded; });
  if (std::cmp_greater_equal(words.size(), living)) return judge_hang(id);
  if (!deadlines_.at(id, DueFor::kHang)) deadlines_.set(id, DueFor::kHang, clock_.steady() + kDiagnosisWait);
}

void Dispatcher::judge_hang(JobId id) {
  deadlines_.clear(id, DueFor::kHang);
  const auto words = diagnoses_.extract(id);
  const auto& state = book_.find(id)->state;
  if (words.empty() || !lives(state)) return;
  std::vector<int> living;
  for (const auto& rank : state.ranks)
    if (rank.phase != core::RankPhase::kEnded) living.push_back(rank.placement.rank);
  const auto report = core::explain_hang(living, words.mapped());
  auto failed = core::attempt_failed(state, {"hang", "the ranks hang: " + report.message, {}}, std::nullopt,
                                     clock_.wall());
  if (report.culprit) {
    failed.error.rank = report.culprit;
    failed.error.node = state.ranks[static_cast<std::size_t>(*report.culprit)].placement.node;
  }
  log::warn("the ranks hang",
            {{"job", to_string(id)}, {"attempt", to_string(state.attempt)}, {"where", report.message}});
  apply(id, std::move(failed));
}

}  // namespace rtrain::head
