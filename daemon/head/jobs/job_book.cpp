#include "daemon/head/jobs/job_book.h"

#include "common/base/fault.h"
#include "common/log/log.h"

namespace rtrain::head {

std::string run_name(const std::string& name, proto::UnixMs now, JobId id, const std::string& origin) {
  std::string stamp = proto::rfc3339(now).substr(0, 19);  // 2026-11-23T22:30:00
  stamp[10] = '_';
  stamp[13] = stamp[16] = '-';
  return name + "_" + stamp + "_" + to_string(id) + (origin.empty() ? "" : "-" + origin);
}

JobBook::JobBook(Store store, std::string origin)
    : store_(store), origin_(std::move(origin)), next_id_(store.journal.next_job_id().value()) {}

void JobBook::recover(std::vector<core::JobState> jobs, const std::map<core::JobPhase, std::int64_t>& ended,
                      proto::UnixMs now) {
  tally_.add_ended(ended, 1);
  for (auto& state : jobs) {
    const JobId id = state.id;
    auto& record = jobs_[id];
    record.state = std::move(state);
    record.metrics_dropped = record.state.reports;
    record.state_version = 1;
    while (auto due = core::follow_up(record.state)) {
      const proto::StampedEvent stamped{now, std::move(*due)};
      if (auto done = core::advance(record.state, stamped); !done) {
        log::error("an event that was due is refused",
                   {{"job", to_string(id)}, {"cause", done.error().message()}});
        break;
      }
      core::count_failure(failures_, stamped.event);
      journal(record, stamped);
    }
    reindex(record.state, std::nullopt);
    if (!record.state.submission.empty()) submissions_.emplace(record.state.submission, id);
  }
  if (fault::on(fault::Fault::kIdReuse)) next_id_ = jobs_.empty() ? 1 : jobs_.rbegin()->first.value() + 1;
}

Result<JobId> JobBook::submit(proto::JobSpec job_spec, proto::UnixMs now, const QueueRoom& room,
                              Applied& applied, const std::string& user, const std::string& submission,
                              std::optional<proto::ValidatedCheckpoint> validates,
                              std::optional<proto::SweepTrial> sweep) {
  const auto array = std::exchange(job_spec.scheduling.array,
                                   std::nullopt);  // each job bears its own index, not the list of all
  const std::size_t count = array ? array->indices.size() : 1;
  if (queued_.size() + count > static_cast<std::size_t>(room.jobs))
    return fail(Errc::kUnavailable,
                std::to_string(queued_.size()) + " jobs are waiting already" +
                    (array ? ", with " + std::to_string(count) + " more the queue is full" : "") +
                    " (queue_max)",
                "wait, cancel jobs, or raise queue_max of the head");
  const proto::SharedSpec spec(std::move(job_spec));
  if (const auto bytes = living_specs_.bytes() + spec.bytes(); bytes > room.spec_bytes)
    return fail(Errc::kUnavailable,
                "the specs of the jobs that wait or run would take " + std::to_string(bytes >> 20) +
                    " MiB of the head's memory; the limit is " + std::to_string(room.spec_bytes >> 20) +
                    " MiB (spec_memory_mib)",
                "wait, cancel jobs, keep data in a file instead of train_loop_config, or raise "
                "spec_memory_mib of the head");
  if (const auto health = store_.journal.health(); !health.writable)
    return fail(Errc::kUnavailable, "the head takes no jobs at the moment: " + health.why,
                "running jobs continue; submit again when there is room");
  const JobId first(next_id_);
  next_id_ += static_cast<std::int64_t>(count);
  if (!array) {
    enter(first, spec, now, applied, user, std::nullopt, submission, std::move(validates), sweep);
    return first;
  }
  proto::ArrayTask task{first,
                        0,
                        static_cast<int>(count),
                        array->max_running.value_or(0),
                        array->indices.front(),
                        array->indices.back(),
                        array->step};
  for (std::size_t i = 0; i < count; ++i) {
    task.index = array->indices[i];
    enter(JobId(first.value() + static_cast<std::int64_t>(i)), spec, now, applied, user, task,
          i == 0 ? submission : "");
  }
  return first;
}

/// Whether the jobs from `first` on, of an array, have these indices. Of one that was pruned nothing is
/// known.
bool JobBook::has_indices(JobId first, const std::vector<int>& indices) const {
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const auto* record = find(JobId(first.value() + static_cast<std::int64_t>(i)));
    if (record != nullptr && (!record->state.array || record->state.array->index != indices[i])) return false;
  }
  return true;
}

Result<std::optional<JobId>> JobBook::submitted_before(const std::string& submission,
                                                       const proto::JobSpec& spec,
                                                       const std::string& user) const {
  if (submission.empty()) return std::optional<JobId>();
  std::optional<JobId> id;
  if (const auto known = submissions_.find(submission); known != submissions_.end()) {
    id = known->second;
  } else {
    auto stored = store_.history.job_of_submission(submission);
    if (!stored) return stored.error();
    id = *stored;
  }
  const auto* record = id ? find(*id) : nullptr;
  if (record == nullptr) return std::optional<JobId>();
  // What the head fills in, and what an array's jobs have in another form, is left out.
  const auto text = [](proto::JobSpec a_spec) {
    a_spec.scheduling.time_limit_s.reset();
    a_spec.scheduling.array.reset();
    return proto::dump_json(to_json(a_spec));
  };
  const auto& state = record->state;
  const auto& array = spec.scheduling.array;
  const bool same_array = array.has_value() == state.array.has_value() &&
                          (!array || (std::cmp_equal(array->indices.size(), state.array->count) &&
                                      array->max_running.value_or(0) == state.array->max_running &&
                                      has_indices(*id, array->indices)));
  const auto limit = spec.scheduling.time_limit_s;  // where it gives none it has that of its queue
  const bool same_limit = !limit || limit == state.spec->scheduling.time_limit_s;
  if (state.user != user || !same_array || !same_limit || text(spec) != text(*state.spec))
    return fail(Errc::kConflict,
                "the Idempotency-Key was used before, for job " + to_string(*id) + ", which is another one",
                "use a new key for each job file that is submitted");
  return id;
}

void JobBook::enter(JobId id, const proto::SharedSpec& spec, proto::UnixMs now, Applied& applied,
                    const std::string& user, std::optional<proto::ArrayTask> array,
                    const std::string& submission, std::optional<proto::ValidatedCheckpoint> validates,
                    std::optional<proto::SweepTrial> sweep) {
  proto::JobSubmitted event;
  event.run_name = run_name(spec->name, now, id, origin_);
  event.run_dir = spec->run_config.storage_path + "/" + event.run_name;
  event.spec = spec;
  event.user = user;
  event.submission = submission;
  if (!submission.empty()) submissions_.emplace(submission, id);
  event.array = array;
  event.validates = std::move(validates);
  event.sweep = sweep;
  auto& record = jobs_[id];
  record.state = core::submitted(id, now, event);
  record.state_version = 1;
  reindex(record.state, std::nullopt);
  for (auto& action : core::actions(core::JobPhase::kQueued, record.state, event))
    applied.actions.push_back({id, std::move(action)});
  applied.touched.push_back(id);
  journal(record, {now, std::move(event)});
}

Result<Done> JobBook::apply(JobId id, proto::JobEvent event, proto::UnixMs now, Applied& applied) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) {
    if (const auto* ended = find(id))
      return fail(Errc::kConflict, "job " + core::name_of(ended->state) + " has already ended: " +
                                       std::string(core::to_string(ended->state.phase)));
    return fail(Errc::kNotFound, "job " + to_string(id) + ": no such job", "rtrain list shows the jobs");
  }
  JobRecord& record = found->second;
  const auto phase = record.state.phase;
  bool changed = false;
  for (std::optional<proto::JobEvent> next = std::move(event); next; next = core::follow_up(record.state)) {
    const auto before = record.state.phase;
    const proto::StampedEvent stamped{now, std::move(*next)};
    if (auto done = core::advance(record.state, stamped); !done) {
      if (!changed) return done.error();
      // A bug: what follows by policy is legal. What was applied before it stands, with its effects.
      log::error("an event that was due is refused",
                 {{"job", to_string(id)}, {"cause", done.error().message()}});
      break;
    }
    changed = true;
    core::count_failure(failures_, stamped.event);
    for (auto& action : core::actions(before, record.state, stamped.event))
      applied.actions.push_back({id, std::move(action)});
    const auto* report = std::get_if<proto::MetricsReported>(&stamped.event);
    if (report != nullptr) keep_metrics(record, *report, now);
    if (report == nullptr || report->checkpoint || !report->deleted_checkpoints.empty())
      journal(record, stamped);
    if (std::holds_alternative<proto::AttemptPlaced>(stamped.event)) record.progress.reset();
  }
  ++record.state_version;
  if (record.state.phase != phase) reindex(record.state, phase);
  applied.touched.push_back(id);
  return ok();
}

void JobBook::journal(const JobRecord& record, const proto::StampedEvent& event) {
  if (fault::on(fault::Fault::kCancelNotStored) &&
      std::holds_alternative<proto::CancelRequested>(event.event))
    return;
  store_.journal.append(record.state.id, event, record.state);
}

void JobBook::keep_metrics(JobRecord& record, const proto::MetricsReported& report, proto::UnixMs now) {
  record.metrics.push_back({report.attempt.value(), report.seq, now, report.metrics,
                            report.checkpoint ? report.checkpoint->path : ""});
  if (!fault::on(fault::Fault::kReportNotStored) || report.seq % 5 != 0)
    store_.journal.append(record.state.id, record.metrics.back());
  record.metric_bytes += proto::memory_bytes(record.metrics.back().metrics);
  for (; record.metrics.size() > kMetricPointsMax ||
         (record.metrics.size() > 1 && record.metric_bytes > kMetricBytesMax);
       ++record.metrics_dropped) {
    record.metric_bytes -= proto::memory_bytes(record.metrics.front().metrics);
    record.metrics.pop_front();
  }
}

void JobBook::reindex(const core::JobState& state, std::optional<core::JobPhase> before) {
  const auto id = state.id;
  const auto phase = state.phase;
  if (before) tally_.leaves(state, *before);
  tally_.enters(state, phase);
  const bool queued = phase == core::JobPhase::kQueued, ended = core::is_terminal(phase);
  if (queued)
    queued_.insert(id);
  else
    queued_.erase(id);
  if (core::has_attempt(phase))
    active_.insert(id);
  else
    active_.erase(id);
  if (phase == core::JobPhase::kValidating)
    validating_.insert(id);
  else
    validating_.erase(id);
  if (!before) living_specs_.add(state.spec);
  if (!ended) return;
  living_specs_.remove(state.spec);
  ended_specs_.add(state.spec);
  ended_metric_bytes_ += jobs_.at(id).metric_bytes;
  ended_.push_back({id, store_.journal.appended()});
  drop_old();
}

void JobBook::drop_old() {
  const auto too_many = [this] {
    return ended_.size() > kEndedJobsMax ||
           (ended_.size() > kEndedJobsMin && ended_specs_.bytes() + ended_metric_bytes_ > kEndedBytesMax);
  };
  // One that is dropped is read from the store when somebody asks, so it must be there.
  while (too_many() && store_.journal.durable().covers(ended_.front().stored)) {
    drop(ended_.front().id);
    ended_.pop_front();
  }
}

void JobBook::drop(JobId id) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return;
  ended_specs_.remove(found->second.state.spec);
  ended_metric_bytes_ -= found->second.metric_bytes;
  if (const auto& submission = found->second.state.submission; !submission.empty())
    submissions_.erase(submission);
  jobs_.erase(found);
}

void JobBook::drop_archived(std::list<JobRecord>::iterator record) const {
  archived_specs_.remove(record->state.spec);
  archived_by_id_.erase(record->state.id);
  archived_.erase(record);
}

void JobBook::forget(const store::Pruned& pruned) {
  tally_.add_ended(pruned.ended_as, -1);
  const std::set<JobId> gone(pruned.gone.begin(), pruned.gone.end());
  for (const auto id : gone) {
    if (const auto known = archived_by_id_.find(id); known != archived_by_id_.end())
      drop_archived(known->second);
    const auto found = jobs_.find(id);
    if (found != jobs_.end() && core::is_terminal(found->second.state.phase)) drop(id);
  }
  std::erase_if(ended_, [&](const Ended& ended) { return gone.contains(ended.id); });
}

bool JobBook::set_progress(JobId id, Attempt attempt, proto::ProgressDoc progress) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end() || !is_current(id, attempt)) return false;
  found->second.progress = std::move(progress);
  ++found->second.progress_version;
  return true;
}

const JobRecord* JobBook::find(JobId id) const {
  if (const auto found = jobs_.find(id); found != jobs_.end()) return &found->second;
  if (const auto known = archived_by_id_.find(id); known != archived_by_id_.end()) {
    archived_.splice(archived_.begin(), archived_, known->second);
    return &archived_.front();
  }
  if (id.value() < 1 || id.value() >= next_id_) return nullptr;
  auto ended = store_.history.ended_job(id);
  if (!ended)
    log::error("an ended job cannot be read", {{"job", to_string(id)}, {"cause", ended.error().message()}});
  if (!ended || !*ended) return nullptr;
  auto& record = archived_.emplace_front();
  record.state = std::move(**ended);
  record.metrics_dropped = record.state.reports;
  record.state_version = 1;
  archived_by_id_[id] = archived_.begin();
  archived_specs_.add(record.state.spec);
  while (archived_.size() > kArchivedMax ||
         (archived_.size() > kArchivedMin && archived_specs_.bytes() > kEndedBytesMax))
    drop_archived(std::prev(archived_.end()));
  return &archived_.front();
}

std::vector<JobId> JobBook::queue() const { return {queued_.begin(), queued_.end()}; }

bool JobBook::is_current(JobId id, Attempt attempt) const {
  const auto* record = find(id);
  return record != nullptr && record->state.attempt == attempt && core::has_attempt(record->state.phase);
}

}  // namespace rtrain::head
