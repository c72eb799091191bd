#include "daemon/head/jobs/eligibility.h"

#include "common/base/fault.h"

namespace rtrain::head {

Eligibility::Eligibility(HeadContext& context, Turn& turn, const Reservations& reservations)
    : context_(context), turn_(turn), rules_(make_rules(reservations)) {}

// ---- rules --------------------------------------------------------------------------------------

StartRules Eligibility::make_rules(const Reservations& reservations) {
  return StartRules({
      {"held",
       [](const Candidate& job) -> std::string {
         if (job.state == nullptr || !core::is_held(*job.state)) return "";
         const auto& state = *job.state;
         if (!state.held)
           return "paused by " + core::sweep_name(state) +
                  ", which lets it start when its trial is among the best, or when it is resumed itself";
         return "held by " + core::holders_of(state) + "; `rtrain release " + core::name_of(state) +
                (state.paused ? "` leaves it to its sweep" : "` lets it start");
       }},
      {"retry",
       [this](const Candidate& job) -> std::string {
         // Not the wall clock, which may jump, but the deadline that was made of it.
         if (job.state == nullptr || !context_.deadlines.at(job.state->id, DueFor::kRetry)) return "";
         return "failed, and waits until " + proto::rfc3339(job.state->not_before_ms) +
                " before it starts again";
       }},
      {"begin_at",
       [this](const Candidate& job) -> std::string {
         const auto begin_ms = job.scheduling.begin_at_ms;
         const bool waits =
             job.state == nullptr ? begin_ms > context_.wall() : begins_.contains({begin_ms, job.state->id});
         return waits ? "begins at " + proto::rfc3339(begin_ms) : "";
       }},
      {"dependency",
       [this](const Candidate& job) -> std::string {
         if (job.state == nullptr || fault::on(fault::Fault::kDependencyNotChecked)) return "";
         return dependencies_.reason(job.state->id);
       }},
      {"reservation",
       [this, &reservations](const Candidate& job) -> std::string {
         // Of a job that is only asked about, the planner says it: with the time at which it would start.
         const auto& name = job.scheduling.reservation;
         if (job.state == nullptr || name.empty()) return "";
         return kept_by_reservation(name, job.user, reservations, context_.wall());
       }},
      {"array",
       [this](const Candidate& job) -> std::string {
         const auto* array = job.state != nullptr && job.state->array ? &*job.state->array : nullptr;
         if (array == nullptr || turns_.has_turn(job.state->id, *array) ||
             fault::on(fault::Fault::kArrayLimitOff))
           return "";
         return "waits for its turn in array " + to_string(array->id) + ": " +
                std::to_string(array->max_running) + " at a time";
       }},
  });
}

std::string Eligibility::reason(const core::JobState& state) const {
  return rules_.reason({state.spec->scheduling, state.user, &state});
}

std::string Eligibility::reason(const proto::JobSpec& spec, const std::string& user) const {
  return rules_.reason({spec.scheduling, user, nullptr});
}

void Eligibility::recheck(const std::vector<JobId>& ids) {
  if (ids.empty()) return;
  turn_.touch(ids);
  turn_.request_pass();
}

// ---- from the queue to the end ------------------------------------------------------------------

void Eligibility::adopt(const core::JobState& state) {
  if (state.array) turns_.runs(state.id, *state.array);
}

void Eligibility::on_queued(JobId id) {
  const auto& state = context_.state(id);
  const auto& scheduling = state.spec->scheduling;
  const bool is_new = state.attempt.value() == 0;
  if (is_new && !scheduling.depends_on.empty()) {
    dependencies_.add(id, scheduling.depends_on, [this](JobId target) { return standing(target); });
    for (const auto& dependency : scheduling.depends_on)
      if (!dependencies_.awaited(dependency.job)) array_standings_.erase(dependency.job);
    if (dependencies_.never(id))
      note_standing(id, {.stuck = 1});  // at a start of the head, those behind it may be queued already
  }
  if (is_new && scheduling.begin_at_ms > context_.wall()) begins_.emplace(scheduling.begin_at_ms, id);
  if (state.array)
    recheck(core::is_held(state) ? turns_.leaves(id, *state.array) : turns_.waits(id, *state.array));
}

void Eligibility::on_held(JobId id) { give_up_turn(id); }

void Eligibility::give_up_turn(JobId id) {
  const auto& state = context_.state(id);
  if (state.array) recheck(turns_.leaves(id, *state.array));
}

void Eligibility::on_started(JobId id) {
  const auto& state = context_.state(id);
  dependencies_.remove(id);
  if (state.attempt.value() == 1) note_standing(id, {1, 1, 0, 0});
}

void Eligibility::on_ended(JobId id) {
  const auto& state = context_.state(id);
  dependencies_.remove(id);
  begins_.erase({state.spec->scheduling.begin_at_ms, id});
  give_up_turn(id);
  note_standing(id, {1, state.attempt.value() == 0, 1, state.phase != core::JobPhase::kSucceeded});
}

void Eligibility::release_begin_times() {
  std::vector<JobId> begun;
  for (; !begins_.empty() && begins_.begin()->first <= context_.wall(); begins_.erase(begins_.begin()))
    begun.push_back(begins_.begin()->second);
  recheck(begun);
}

// ---- dependencies -------------------------------------------------------------------------------

Standing Eligibility::standing_of_one(JobId id) const {
  const auto* record = context_.book.find(id);
  if (record == nullptr) return kForgotten;
  const auto phase = record->state.phase;
  const bool ended = core::is_terminal(phase);
  return {.started = record->state.attempt.value() > 0 || ended,
          .ended = ended,
          .failed = ended && phase != core::JobPhase::kSucceeded,
          .stuck = dependencies_.never(id)};
}

Standing Eligibility::standing(JobId target) {
  const auto* record = context_.book.find(target);
  if (record == nullptr || !record->state.array || record->state.array->id != target)
    return standing_of_one(target);
  if (const auto counted = array_standings_.find(target); counted != array_standings_.end())
    return counted->second;
  const int jobs = record->state.array->count;
  Standing sum{jobs, 0, 0, 0};
  for (int i = 0; i < jobs; ++i) {
    const auto one = standing_of_one(JobId(target.value() + i));
    sum.started += one.started;
    sum.ended += one.ended;
    sum.failed += one.failed;
    sum.forgotten = sum.forgotten || one.forgotten;
    sum.stuck += one.stuck;
  }
  return array_standings_[target] = sum;
}

void Eligibility::note_standing(JobId id, const Standing& news) {
  auto changed = tell_dependents(id, news);
  // Who can never start lets nobody start who waits for its success.
  for (std::size_t next = 0; next < changed.size(); ++next) {
    if (!dependencies_.never(changed[next])) continue;
    const auto behind = tell_dependents(changed[next], {.stuck = 1});
    changed.insert(changed.end(), behind.begin(), behind.end());
  }
  recheck(changed);
}

std::vector<JobId> Eligibility::tell_dependents(JobId id, const Standing& news) {
  std::vector<JobId> changed;
  const auto& array = context_.state(id).array;
  if (array && dependencies_.awaited(array->id)) {
    auto& sum = array_standings_[array->id];  // counted when the first of those who wait came
    sum.started += news.started;
    sum.ended += news.ended;
    sum.failed += news.failed;
    sum.stuck += news.stuck;
    changed = dependencies_.reached(array->id, sum);
  }
  if (array && !dependencies_.awaited(array->id)) array_standings_.erase(array->id);
  if ((!array || array->id != id) && dependencies_.awaited(id)) {
    const auto own = dependencies_.reached(id, standing(id));
    changed.insert(changed.end(), own.begin(), own.end());
  }
  return changed;
}

}  // namespace rtrain::head
