#include "daemon/head/job_book.h"

#include "common/log/log.h"

namespace rtrain::head {

std::string run_name(const std::string& name, proto::UnixMs now, JobId id) {
  std::string stamp = proto::rfc3339(now).substr(0, 19);  // 2026-11-23T22:30:00
  stamp[10] = '_';
  stamp[13] = stamp[16] = '-';
  return name + "_" + stamp + "_" + to_string(id);
}

Result<JobId> JobBook::submit(proto::JobSpec spec, proto::UnixMs now, int queue_max) {
  if (queued_.size() >= static_cast<std::size_t>(queue_max))
    return fail(Errc::kUnavailable, std::to_string(queued_.size()) + " jobs are waiting already (queue_max)",
                "wait, cancel jobs, or raise queue_max of the head");
  auto id = ids_.next();
  if (!id) return id.error();
  proto::JobSubmitted event;
  event.run_name = run_name(spec.name, now, *id);
  event.run_dir = spec.run_config.storage_path + "/" + event.run_name;
  event.spec = std::move(spec);
  auto& record = jobs_[*id];
  record.state = core::submitted(*id, now, event);
  record.state_version = 1;
  queued_.insert(*id);
  for (const auto& action : core::actions(core::JobPhase::kQueued, record.state, event)) act_(*id, action);
  changed_(*id);
  return *id;
}

Result<Done> JobBook::apply(JobId id, proto::JobEvent event, proto::UnixMs now) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return fail(Errc::kNotFound, "job " + to_string(id) + ": no such job", "rtrain list shows the jobs");
  JobRecord& record = found->second;
  std::vector<core::Action> due;
  for (std::optional<proto::JobEvent> next = std::move(event); next; next = core::follow_up(record.state)) {
    const auto before = record.state.phase;
    const proto::StampedEvent stamped{now, std::move(*next)};
    if (auto done = core::advance(record.state, stamped); !done) return done.error();
    for (auto& action : core::actions(before, record.state, stamped.event)) due.push_back(std::move(action));
    if (const auto* report = std::get_if<proto::MetricsReported>(&stamped.event)) {
      record.metrics.push_back({report->attempt.value(), report->seq, now, report->metrics, report->checkpoint ? report->checkpoint->path : ""});
      if (record.metrics.size() > kMetricPointsMax) {
        record.metrics.pop_front();
        ++record.metrics_dropped;
      }
    }
    if (std::holds_alternative<proto::AttemptPlaced>(stamped.event)) record.progress.reset();
  }
  ++record.state_version;
  if (record.state.phase == core::JobPhase::kQueued) queued_.insert(id);
  else queued_.erase(id);
  for (const auto& action : due) act_(id, action);
  changed_(id);
  return ok();
}

void JobBook::set_progress(JobId id, Attempt attempt, proto::ProgressDoc progress) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end() || !is_current(id, attempt)) return;
  found->second.progress = std::move(progress);
  ++found->second.progress_version;
  changed_(id);
}

void JobBook::set_wait_reason(JobId id, const std::string& reason) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end() || found->second.wait_reason == reason) return;
  found->second.wait_reason = reason;
  ++found->second.state_version;
  changed_(id);
}

const JobRecord* JobBook::find(JobId id) const {
  const auto found = jobs_.find(id);
  return found == jobs_.end() ? nullptr : &found->second;
}

std::vector<JobId> JobBook::queue() const { return {queued_.begin(), queued_.end()}; }

bool JobBook::is_current(JobId id, Attempt attempt) const {
  const auto* record = find(id);
  return record != nullptr && record->state.attempt == attempt && record->state.phase != core::JobPhase::kQueued &&
         !core::is_terminal(record->state.phase);
}

}  // namespace rtrain::head
