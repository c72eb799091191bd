// How jobs come in, alone or as arrays, and what keeps them from standing in line: holds, other jobs, turns
// of an array, reservations.
#include "common/base/fault.h"
#include "common/log/log.h"
#include "daemon/head/dispatcher.h"

#include <algorithm>

namespace rtrain::head {

Result<JobId> Dispatcher::submit(proto::JobSpec spec, const std::string& user, const std::string& submission,
                                 std::optional<proto::ValidatedCheckpoint> validates) {
  auto before = book_.submitted_before(submission, spec, user);
  if (!before) return before.error();
  if (*before) return **before;
  for (const auto& dependency : spec.scheduling.depends_on)
    if (book_.find(dependency.job) == nullptr)
      return fail(Errc::kNotFound,
                  "job " + to_string(dependency.job) + ", which scheduling.depends_on names: no such job",
                  "rtrain list shows the jobs");
  if (auto may = core::may_enter(config_.queues, spec.scheduling); !may) return may.error();
  if (const auto& name = spec.scheduling.reservation; !name.empty())
    if (auto may = may_name_reservation(name, user, reservations_); !may) return may.error();
  spec.scheduling.time_limit_s = core::time_limit_s(config_.queues, spec.scheduling);
  auto id = book_.submit(std::move(spec), clock_.wall(),
                         {config_.queue_max, std::int64_t{config_.spec_memory_mib} << 20}, user, submission,
                         std::move(validates));
  if (!id) return id;
  const auto& state = book_.find(*id)->state;
  log::info("job submitted", {{"job", to_string(*id)},
                              {"name", state.spec->name},
                              {"user", user},
                              {"jobs", std::to_string(state.array ? state.array->count : 1)}});
  schedule();
  return id;
}

// ---- what keeps a job from a place --------------------------------------------------------------

std::string Dispatcher::keeps_from_start(const core::JobState& state) const {
  if (state.held)
    return "held by " + state.held_by + "; `rtrain release " + core::name_of(state) + "` lets it start";
  // Not the wall clock, which may jump, but the deadline that was made of it.
  if (deadlines_.at(state.id, DueFor::kRetry))
    return "failed, and waits until " + proto::rfc3339(state.not_before_ms) + " before it starts again";
  const auto begin_ms = state.spec->scheduling.begin_at_ms;
  if (begins_.contains({begin_ms, state.id})) return "begins at " + proto::rfc3339(begin_ms);
  if (auto why = dependencies_.reason(state.id);
      !why.empty() && !fault::on(fault::Fault::kDependencyNotChecked))
    return why;
  if (const auto& name = state.spec->scheduling.reservation; !name.empty())
    if (auto why = kept_by_reservation(name, state.user, reservations_, clock_.wall()); !why.empty())
      return why;
  if (state.array && !turns_.has_turn(state.id, *state.array) && !fault::on(fault::Fault::kArrayLimitOff))
    return "waits for its turn in array " + to_string(state.array->id) + ": " +
           std::to_string(state.array->max_running) + " at a time";
  return "";
}

void Dispatcher::recheck(const std::vector<JobId>& ids) {
  if (ids.empty()) return;
  for (const auto id : ids) update_planner(id);
  schedule();
}

void Dispatcher::stands_in_line(JobId id) {
  const auto& state = book_.find(id)->state;
  if (state.attempt.value() == 0 && !state.spec->scheduling.depends_on.empty()) {
    dependencies_.add(id, state.spec->scheduling.depends_on,
                      [this](JobId target) { return standing(target); });
    for (const auto& dependency : state.spec->scheduling.depends_on)
      if (!dependencies_.awaited(dependency.job)) array_standings_.erase(dependency.job);
    if (dependencies_.never(id))
      note_standing(id, {.stuck = 1});  // at a start of the head, those behind it may be in line already
  }
  if (const auto begin_ms = state.spec->scheduling.begin_at_ms;
      begin_ms > clock_.wall() && state.attempt.value() == 0)
    begins_.emplace(begin_ms, id);
  if (state.array) recheck(state.held ? turns_.leaves(id, *state.array) : turns_.waits(id, *state.array));
}

void Dispatcher::start_begun() {
  std::vector<JobId> begun;
  for (; !begins_.empty() && begins_.begin()->first <= clock_.wall(); begins_.erase(begins_.begin()))
    begun.push_back(begins_.begin()->second);
  recheck(begun);
}

void Dispatcher::leaves_line(JobId id) {
  const auto& state = book_.find(id)->state;
  if (state.array) recheck(turns_.leaves(id, *state.array));
}

// ---- dependencies -------------------------------------------------------------------------------

Standing Dispatcher::standing(JobId target) {
  const auto of_one = [this](JobId id) {
    const auto* record = book_.find(id);
    if (record == nullptr) return kForgotten;
    const auto phase = record->state.phase;
    const bool ended = core::is_terminal(phase);
    return Standing{.started = record->state.attempt.value() > 0 || ended,
                    .ended = ended,
                    .failed = ended && phase != core::JobPhase::kSucceeded,
                    .stuck = dependencies_.never(id)};
  };
  const auto* record = book_.find(target);
  if (record == nullptr || !record->state.array || record->state.array->id != target) return of_one(target);
  if (const auto counted = array_standings_.find(target); counted != array_standings_.end())
    return counted->second;
  const int jobs = record->state.array->count;
  Standing sum{jobs, 0, 0, 0};
  for (int i = 0; i < jobs; ++i) {
    const auto one = of_one(JobId(target.value() + i));
    sum.started += one.started;
    sum.ended += one.ended;
    sum.failed += one.failed;
    sum.forgotten = sum.forgotten || one.forgotten;
    sum.stuck += one.stuck;
  }
  return array_standings_[target] = sum;
}

void Dispatcher::note_started(JobId id) {
  const auto& state = book_.find(id)->state;
  dependencies_.remove(id);
  if (state.attempt.value() != 1) return;
  note_standing(id, {1, 1, 0, 0});
}

void Dispatcher::note_ended(JobId id) {
  const auto& state = book_.find(id)->state;
  dependencies_.remove(id);
  begins_.erase({state.spec->scheduling.begin_at_ms, id});
  leaves_line(id);
  note_standing(id, {1, state.attempt.value() == 0, 1, state.phase != core::JobPhase::kSucceeded});
  note_validation_ended(id);
}

void Dispatcher::note_standing(JobId id, const Standing& news) {
  auto changed = tell_dependents(id, news);
  // Who can never start lets nobody start who waits for its success.
  for (std::size_t next = 0; next < changed.size(); ++next) {
    if (!dependencies_.never(changed[next])) continue;
    const auto behind = tell_dependents(changed[next], {.stuck = 1});
    changed.insert(changed.end(), behind.begin(), behind.end());
  }
  recheck(changed);
}

std::vector<JobId> Dispatcher::tell_dependents(JobId id, const Standing& news) {
  std::vector<JobId> changed;
  const auto& array = book_.find(id)->state.array;
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

// ---- arrays -------------------------------------------------------------------------------------

Result<std::vector<JobId>> Dispatcher::members(JobId array,
                                               const std::optional<std::vector<int>>& indices) const {
  const auto* record = book_.find(array);
  if (record == nullptr || !record->state.array || record->state.array->id != array)
    return fail(Errc::kNotFound, "job " + to_string(array) + " is no array", "rtrain list shows the jobs");
  std::vector<JobId> ids;
  if (!indices) {
    for (int i = 0; i < record->state.array->count; ++i) ids.emplace_back(array.value() + i);
    return ids;
  }
  for (const int index : *indices) {
    auto id = member(array, index);
    if (!id) return id.error();
    ids.push_back(*id);
  }
  return ids;
}

Result<JobId> Dispatcher::member(JobId array, int index) const {
  const auto none = [&] {
    return fail(Errc::kNotFound, "job " + to_string(array) + "_" + std::to_string(index) + ": no such job",
                "rtrain list --array " + to_string(array));
  };
  const auto* record = book_.find(array);
  if (record == nullptr || !record->state.array || record->state.array->id != array) return none();
  // Numbers follow each other as indices do.
  std::int64_t low = 0, high = record->state.array->count;
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    const auto* one = book_.find(JobId(array.value() + middle));
    if (one == nullptr || !one->state.array) return none();
    if (one->state.array->index == index) return one->state.id;
    if (one->state.array->index < index)
      low = middle + 1;
    else
      high = middle;
  }
  return none();
}

Result<std::vector<JobId>> Dispatcher::for_array(JobId array, const std::optional<std::vector<int>>& indices,
                                                 const proto::JobEvent& event) {
  auto ids = members(array, indices);
  if (!ids) return ids.error();
  // Those that wait first: no place that becomes free is given to one of them.
  std::ranges::stable_partition(*ids, [this](JobId id) {
    const auto* record = book_.find(id);
    return record != nullptr && record->state.phase == core::JobPhase::kQueued;
  });
  std::vector<JobId> changed;
  std::optional<Error> refusal;
  for (const auto id : *ids) {
    const auto* record = book_.find(id);
    const bool waited = record != nullptr && record->state.phase == core::JobPhase::kQueued;
    if (auto done = book_.apply(id, event, clock_.wall()); !done) {
      if (!refusal) refusal = done.error();
      continue;
    }
    changed.push_back(id);
    if (waited) settle(id);
  }
  if (changed.empty()) return *refusal;
  std::ranges::sort(changed);
  log::info("array changed", {{"array", to_string(array)},
                              {"event", std::string(proto::event_name(event))},
                              {"jobs", std::to_string(changed.size())}});
  schedule();
  return changed;
}

void Dispatcher::settle(JobId id) {
  const auto& state = book_.find(id)->state;
  if (core::is_terminal(state.phase))
    note_ended(id);
  else if (state.phase == core::JobPhase::kQueued && state.held)
    leaves_line(id);
}

}  // namespace rtrain::head
