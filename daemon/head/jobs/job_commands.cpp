#include "daemon/head/jobs/job_commands.h"

#include "common/log/log.h"
#include "daemon/core/queue_rules.h"
#include "daemon/head/attempts/yield.h"

#include <algorithm>

namespace rtrain::head {

Result<JobId> JobCommands::submit(proto::JobSpec spec, const std::string& user, const std::string& submission,
                                  std::optional<proto::ValidatedCheckpoint> validates,
                                  std::optional<proto::SweepTrial> sweep) {
  auto before = context_.book.submitted_before(submission, spec, user);
  if (!before) return before.error();
  if (*before) return **before;
  for (const auto& dependency : spec.scheduling.depends_on)
    if (context_.book.find(dependency.job) == nullptr)
      return fail(Errc::kNotFound,
                  "job " + to_string(dependency.job) + ", which scheduling.depends_on names: no such job",
                  "rtrain list shows the jobs");
  if (auto may = core::may_enter(context_.config.queues, spec.scheduling); !may) return may.error();
  if (auto may = may_name_reservation_of(spec, user); !may) return may.error();
  spec.scheduling.time_limit_s = core::time_limit_s(context_.config.queues, spec.scheduling);
  auto id = turn_.submit(std::move(spec),
                         {context_.config.queue_max, std::int64_t{context_.config.spec_memory_mib} << 20},
                         user, submission, std::move(validates), sweep);
  if (!id) return id;
  const auto& state = context_.state(*id);
  log::info("job submitted", {{"job", to_string(*id)},
                              {"name", state.spec->name},
                              {"user", user},
                              {"jobs", std::to_string(state.array ? state.array->count : 1)}});
  turn_.request_pass();
  return id;
}

Result<Done> JobCommands::may_name_reservation_of(const proto::JobSpec& spec, const std::string& user) const {
  const auto& name = spec.scheduling.reservation;
  return name.empty() ? ok() : may_name_reservation(name, user, reservations_);
}

// ---- one job ------------------------------------------------------------------------------------

Result<Done> JobCommands::cancel(JobId id, const std::string& by) {
  auto done = turn_.apply(id, proto::CancelRequested{by});
  if (done) {
    log::info("job cancelled", {{"job", to_string(id)}, {"by", by}});
    turn_.request_pass();
  }
  return done;
}

Result<Done> JobCommands::hold(JobId id, const std::string& by) {
  auto done = turn_.apply(id, proto::JobHeld{by});
  if (done) {
    log::info("job held", {{"job", to_string(id)}, {"by", by}});
    turn_.request_pass();  // those behind it may start now
  }
  return done;
}

Result<Done> JobCommands::release(JobId id, const std::string& by) {
  const auto* record = context_.book.find(id);
  // Of a sweep that was set aside nobody else releases it any more.
  bool left_paused = false;
  if (record != nullptr && record->state.paused && record->state.sweep) {
    const auto& trial = *record->state.sweep;
    left_paused = !sweep_goes_on_(trial.sweep);
    if (!left_paused && !record->state.held)
      return fail(Errc::kConflict,
                  "job " + to_string(id) + " is trial " + std::to_string(trial.trial) + " of sweep " +
                      to_string(trial.sweep) +
                      ", which has paused it and releases it when it is among the best",
                  "rtrain cancel " + to_string(id) + " ends the trial");
  }
  const bool held = record == nullptr || record->state.held || !left_paused;
  Result<Done> done = left_paused ? turn_.apply(id, proto::JobReleased{by, true}) : ok();
  if (done && held) done = turn_.apply(id, proto::JobReleased{by});
  if (done) {
    log::info("job released", {{"job", to_string(id)}, {"by", by}});
    turn_.request_pass();
  }
  return done;
}

Result<Done> JobCommands::yield(JobId id, proto::YieldCause cause, const std::string& reason,
                                double grace_s) {
  return request_yield(context_, turn_, id, cause, reason, grace_s);
}

// ---- arrays -------------------------------------------------------------------------------------

Result<std::vector<JobId>> JobCommands::members(JobId array,
                                                const std::optional<std::vector<int>>& indices) const {
  const auto* record = context_.book.find(array);
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

Result<JobId> JobCommands::member(JobId array, int index) const {
  const auto none = [&] {
    return fail(Errc::kNotFound, "job " + to_string(array) + "_" + std::to_string(index) + ": no such job",
                "rtrain list --array " + to_string(array));
  };
  const auto* record = context_.book.find(array);
  if (record == nullptr || !record->state.array || record->state.array->id != array) return none();
  // Numbers follow each other as indices do.
  std::int64_t low = 0, high = record->state.array->count;
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    const auto* one = context_.book.find(JobId(array.value() + middle));
    if (one == nullptr || !one->state.array) return none();
    if (one->state.array->index == index) return one->state.id;
    if (one->state.array->index < index)
      low = middle + 1;
    else
      high = middle;
  }
  return none();
}

Result<std::vector<JobId>> JobCommands::for_array(JobId array, const std::optional<std::vector<int>>& indices,
                                                  const proto::JobEvent& event) {
  auto ids = members(array, indices);
  if (!ids) return ids.error();
  // Those that wait first: no place that becomes free is given to one of them.
  std::ranges::stable_partition(*ids, [this](JobId id) {
    const auto* record = context_.book.find(id);
    return record != nullptr && record->state.phase == core::JobPhase::kQueued;
  });
  std::vector<JobId> changed;
  std::optional<Error> refusal;
  for (const auto id : *ids) {
    if (auto done = turn_.apply(id, event); done)
      changed.push_back(id);
    else if (!refusal)
      refusal = done.error();
  }
  if (changed.empty()) return *refusal;
  std::ranges::sort(changed);
  log::info("array changed", {{"array", to_string(array)},
                              {"event", std::string(proto::event_name(event))},
                              {"jobs", std::to_string(changed.size())}});
  turn_.request_pass();
  return changed;
}

}  // namespace rtrain::head
