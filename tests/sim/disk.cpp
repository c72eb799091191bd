#include "tests/sim/disk.h"

#include <algorithm>

namespace rtrain::sim {

// ---- what survives ------------------------------------------------------------------------------

const Disk::Job* Disk::find(JobId id) const {
  const auto found = jobs_.find(id);
  return found == jobs_.end() ? nullptr : &found->second;
}

void Disk::write(JobId id, const proto::StampedEvent& event, std::optional<core::JobState> snapshot) {
  auto& job = jobs_[id];
  if (watch.event) watch.event(id, event);
  job.events.push_back(event);
  if (const auto* submitted = std::get_if<proto::JobSubmitted>(&event.event)) {
    job.name = submitted->spec->name;
    job.submission = submitted->submission;
    job.held = submitted->spec->scheduling.hold;
  }
  if (const auto* held = std::get_if<proto::JobHeld>(&event.event))
    (held->by_sweep ? job.paused : job.held) = true;
  if (const auto* released = std::get_if<proto::JobReleased>(&event.event))
    (released->by_sweep ? job.paused : job.held) = false;
  if (const auto* yield = std::get_if<proto::YieldRequested>(&event.event)) {
    job.stopping = yield->attempt.value();
    job.paused = job.paused || yield->cause == proto::YieldCause::kPaused;
  }
  if (const auto* limit = std::get_if<proto::TimeLimitReached>(&event.event))
    job.stopping = limit->attempt.value();
  if (const auto* placed = std::get_if<proto::AttemptPlaced>(&event.event))
    job.placed = placed->attempt.value();
  if (const auto* failed = std::get_if<proto::AttemptFailed>(&event.event))
    job.stopping = failed->attempt.value();
  if (std::holds_alternative<proto::CancelRequested>(event.event)) {
    job.cancelled = true;
    job.stopping = job.placed;
  }
  if (const auto* finished = std::get_if<proto::RankFinished>(&event.event))
    job.finished.insert({finished->attempt.value(), finished->rank});
  if (const auto* over = std::get_if<proto::AttemptEnded>(&event.event)) job.over = over->attempt.value();
  if (snapshot) {
    if (core::is_terminal(snapshot->phase)) job.end = snapshot->phase;
    job.snapshot = std::move(snapshot);
    job.snapshot_events = job.events.size();
  }
}

void Disk::write(JobId id, const proto::MetricPoint& point) {
  if (watch.point) watch.point(id, point);
  jobs_[id].points.push_back(point);
}

void Disk::write(JobId id, const proto::StampedSweepEvent& event, const proto::Json& row) {
  if (watch.sweep_event) watch.sweep_event(id, event);
  auto& sweep = sweeps_[id];
  sweep.events.push_back(event);
  if (!row.is_null()) sweep.row = row;
}

store::SweepRecord Disk::sweep(JobId id) const {
  const auto& sweep = sweeps_.at(id);
  auto state = core::replay_sweep(id.value(), sweep.events);
  if (!state) throw std::runtime_error("replay of sweep " + to_string(id) + ": " + state.error().message());
  return {std::move(*state), sweep.events.front().at, sweep.row.is_null() ? 0 : sweep.events.back().at};
}

core::JobState Disk::replayed(JobId id, const Job& job) {
  core::JobState state;
  std::size_t next = job.snapshot_events;
  if (job.snapshot) {
    state = *job.snapshot;
  } else {
    state = core::submitted(id, job.events.at(0).at, std::get<proto::JobSubmitted>(job.events.at(0).event));
    next = 1;
  }
  for (; next < job.events.size(); ++next)
    if (auto done = core::advance(state, job.events[next]); !done)
      throw std::runtime_error("replay of job " + to_string(id) + ": " + done.error().message());
  return state;
}

core::JobState Disk::state(JobId id) const {
  const auto& job = jobs_.at(id);
  auto state = replayed(id, job);
  if (job.points.empty()) return state;
  const auto& last = job.points.back();
  state.reports = static_cast<std::int64_t>(job.points.size());
  state.metrics = last.metrics;
  if (last.attempt == state.attempt.value()) state.last_seq = std::max(state.last_seq, last.seq);
  return state;
}

/// As recover_tail() of daemon/store: its agent sends the report again.
void Disk::cut_points(JobId id, Job& job) {
  const auto state = replayed(id, job);
  const auto lost = std::ranges::find_if(job.points, [&](const proto::MetricPoint& point) {
    return !point.checkpoint.empty() &&
           (point.attempt > state.attempt.value() ||
            (point.attempt == state.attempt.value() && point.seq > state.last_seq));
  });
  if (lost == job.points.end()) return;
  job.points.erase(lost, job.points.end());
  if (watch.cut) watch.cut(id);
}

proto::Json Disk::document(const std::string& kind, const std::string& name) const {
  const auto found = documents_.find({kind, name});
  return found == documents_.end() ? proto::Json() : found->second.value;
}

store::Recovered Disk::recover() {
  store::Recovered recovered;
  for (auto& [id, job] : jobs_) {
    if (job.end) {
      ++recovered.ended[*job.end];
      continue;
    }
    cut_points(id, job);
    recovered.jobs.push_back(state(id));
  }
  for (const auto& [id, stored] : sweeps_)
    if (stored.row.is_null()) recovered.sweeps.push_back(sweep(id));
  for (const auto& [key, document] : documents_)
    if (!document.value.is_null()) recovered.documents.push_back(document);
  return recovered;
}

// ---- one head's journal -------------------------------------------------------------------------

SimJournal::SimJournal(World& world, Disk& disk, std::function<void()> sync_failed)
    : world_(world), disk_(disk), sync_failed_(std::move(sync_failed)) {}

void SimJournal::append(JobId id, const proto::StampedEvent& event, const core::JobState& after) {
  // The real store keeps one at the end of a job and every 1,000 events; here more often, so that recovery
  // meets them.
  const bool keep = core::is_terminal(after.phase) || world_.random().chance(0.05);
  events_.push_back(Event{id, event, keep ? std::optional(after) : std::nullopt});
  ++appended_.events;
  arm();
}

void SimJournal::append(JobId id, const proto::MetricPoint& point) {
  points_.push_back({id, point});
  ++appended_.points;
  arm();
}

void SimJournal::append(JobId sweep, const proto::StampedSweepEvent& event, const proto::Json& row) {
  events_.push_back(SweepEvent{sweep, event, row});
  ++appended_.events;
  arm();
}

void SimJournal::put(const store::Document& document) {
  events_.push_back(document);
  ++appended_.events;
  arm();
}

store::Health SimJournal::health() const {
  return disk_.full ? store::Health{false, "no space left in the simulated disk"} : store::Health{};
}

void SimJournal::arm() {
  if (dead_ || disk_.full) return;
  auto& random = world_.random();
  if (!events_.empty() && !commit_armed_) {
    commit_armed_ = true;
    // all that one turn of the head appends
    world_.after(0, [self = shared_from_this()] { self->batch_ = self->events_.size(); });
    const double takes =
        random.chance(0.03) ? random.between(0.05, 0.4) : random.between(0.0005, 0.006) * disk_.slowness;
    world_.after(seconds(takes), [self = shared_from_this()] {
      self->commit_armed_ = false;
      self->commit();
    });
  }
  if (!points_.empty() && !points_armed_) {
    points_armed_ = true;
    world_.after(seconds(random.between(0.05, 1.0)), [self = shared_from_this()] {
      self->points_armed_ = false;
      if (self->dead_ || self->disk_.full) return;
      self->sync_points(self->appended_.points);
      self->tell(self->written_);
    });
  }
}

void SimJournal::commit() {
  if (dead_ || disk_.full) return;
  if (disk_.next_sync_fails) {
    disk_.next_sync_fails = false;
    sync_failed_();
    return;
  }
  sync_points(appended_.points);
  for (; batch_ > 0; --batch_, ++written_.events) {
    auto& record = events_.front();
    if (auto* event = std::get_if<Event>(&record))
      disk_.write(event->id, event->event, std::move(event->snapshot));
    else if (const auto* of_sweep = std::get_if<SweepEvent>(&record))
      disk_.write(of_sweep->id, of_sweep->event, of_sweep->row);
    else
      disk_.write(std::get<store::Document>(record));
    events_.pop_front();
  }
  if (disk_.watch.committed) disk_.watch.committed();
  tell(written_);
}

void SimJournal::sync_points(std::int64_t through) {
  for (; written_.points < through; ++written_.points) {
    disk_.write(points_.front().id, points_.front().point);
    points_.pop_front();
  }
}

void SimJournal::tell(store::Mark reached) {
  // The writer is another thread: a crash may come between.
  world_.after(seconds(world_.random().between(0.00002, 0.0005)), [self = shared_from_this(), reached] {
    if (self->dead_) return;
    self->durable_.events = std::max(self->durable_.events, reached.events);
    self->durable_.points = std::max(self->durable_.points, reached.points);
    if (self->grown_) self->grown_();
    self->arm();
  });
}

void SimJournal::crash() {
  if (!disk_.full)
    sync_points(written_.points + world_.random().between(0, static_cast<int>(points_.size())));
  dead_ = true;
  grown_ = {};
}

Result<std::optional<core::JobState>> SimJournal::ended_job(JobId id) {
  const auto* job = disk_.find(id);
  if (job == nullptr || !job->end) return std::optional<core::JobState>();
  return std::optional(disk_.state(id));
}

Result<std::vector<JobId>> SimJournal::ended_ids(JobId before, int limit) {
  std::vector<JobId> found;
  for (auto it = disk_.jobs().rbegin(); it != disk_.jobs().rend() && static_cast<int>(found.size()) < limit;
       ++it)
    if (it->first < before && it->second.end) found.push_back(it->first);
  return found;
}

Result<std::optional<JobId>> SimJournal::job_of_submission(const std::string& submission) {
  for (const auto& [id, job] : disk_.jobs())
    if (!submission.empty() && job.submission == submission) return std::optional(id);
  return std::optional<JobId>();
}

Result<std::vector<core::JobState>> SimJournal::ended_jobs(JobId before, int limit) {
  std::vector<core::JobState> found;
  for (auto it = disk_.jobs().rbegin(); it != disk_.jobs().rend() && static_cast<int>(found.size()) < limit;
       ++it)
    if (it->first < before && it->second.end) found.push_back(disk_.state(it->first));
  return found;
}

Result<std::vector<proto::StampedEvent>> SimJournal::events(JobId id, std::int64_t from, int limit) {
  const auto* job = disk_.find(id);
  std::vector<proto::StampedEvent> found;
  for (std::size_t i = static_cast<std::size_t>(from);
       job != nullptr && i < job->events.size() && static_cast<int>(found.size()) < limit; ++i)
    found.push_back(job->events[i]);
  return found;
}

Result<store::MetricPage> SimJournal::metrics(JobId id, std::int64_t from, int limit) {
  const auto* job = disk_.find(id);
  store::MetricPage page;
  page.next = from;
  for (; job != nullptr && page.next < static_cast<std::int64_t>(job->points.size()) &&
         static_cast<int>(page.points.size()) < limit;
       ++page.next)
    page.points.push_back(job->points[static_cast<std::size_t>(page.next)]);
  page.more = job != nullptr && page.next < static_cast<std::int64_t>(job->points.size());
  return page;
}

Result<std::optional<store::SweepRecord>> SimJournal::ended_sweep(JobId id) {
  const auto found = disk_.sweeps().find(id);
  if (found == disk_.sweeps().end() || found->second.row.is_null())
    return std::optional<store::SweepRecord>();
  return std::optional(disk_.sweep(id));
}

Result<std::optional<JobId>> SimJournal::sweep_of_submission(const std::string& submission) {
  for (const auto& [id, sweep] : disk_.sweeps())
    if (std::get<proto::SweepSubmitted>(sweep.events.front().event).submission == submission)
      return std::optional(id);
  return std::optional<JobId>();
}

Result<std::vector<std::pair<JobId, proto::Json>>> SimJournal::ended_sweeps(JobId before, int limit) {
  std::vector<std::pair<JobId, proto::Json>> rows;
  for (auto it = disk_.sweeps().rbegin();
       it != disk_.sweeps().rend() && static_cast<int>(rows.size()) < limit; ++it)
    if (it->first < before && !it->second.row.is_null()) rows.emplace_back(it->first, it->second.row);
  return rows;
}

}  // namespace rtrain::sim
