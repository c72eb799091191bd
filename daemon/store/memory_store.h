// A store that forgets at the end of the process: for tests.
#pragma once

#include "daemon/store/journal.h"

#include <algorithm>
#include <limits>
#include <map>

namespace rtrain::store {

/// Durable at once, or when a test says commit().
class MemoryStore : public Journal, public History {
 public:
  explicit MemoryStore(bool durable_at_once = true) : at_once_(durable_at_once) {}

  [[nodiscard]] JobId next_job_id() const override { return JobId(next_job_id_); }
  void append(JobId id, const proto::StampedEvent& event, const core::JobState& after) override {
    auto& job = jobs_[id];
    job.events.push_back(event);
    job.state = after;
    next_job_id_ = std::max(next_job_id_, id.value() + 1);
    ++appended_.events;
    settle();
  }
  void append(JobId id, const proto::MetricPoint& point) override {
    jobs_[id].points.push_back(point);
    ++appended_.points;
    settle();
  }
  void append(JobId sweep, const proto::StampedSweepEvent& event, const proto::Json& row) override {
    auto& stored = sweeps_[sweep];
    stored.events.push_back(event);
    next_job_id_ = std::max(next_job_id_, sweep.value() + 1);
    ++appended_.events;
    if (!row.is_null()) {
      stored.row = row;
      stored.ended = appended_;
    }
    settle();
  }
  void put(const Document& document) override {
    documents_.insert_or_assign({document.kind, document.name}, document);
    ++appended_.events;
    settle();
  }
  [[nodiscard]] Mark appended() const override { return appended_; }
  [[nodiscard]] Mark durable() const override { return durable_; }
  void on_durable(std::function<void()> grown) override { grown_ = std::move(grown); }
  [[nodiscard]] Health health() const override { return health_; }

  void prune(PruneRequest request, std::function<void(const Pruned&)> told) override {
    std::vector<std::pair<proto::UnixMs, JobId>> ended;
    for (const auto& [id, job] : jobs_)
      if (core::is_terminal(job.state.phase)) ended.emplace_back(job.state.ended_ms, id);
    std::ranges::sort(ended);
    const auto keep = request.keep_jobs.value_or(std::numeric_limits<std::int64_t>::max());
    Pruned pruned;
    for (std::size_t i = 0; i < ended.size(); ++i) {
      const auto& [at, id] = ended[i];
      const bool old = request.ended_before_ms && at < *request.ended_before_ms;
      if ((!old && static_cast<std::int64_t>(ended.size() - i) <= keep) || request.spared.contains(id))
        continue;
      ++pruned.jobs;
      if (request.dry_run) continue;
      pruned.gone.push_back(id);
      ++pruned.ended_as[jobs_.at(id).state.phase];
      jobs_.erase(id);
    }
    for (auto it = sweeps_.begin(); it != sweeps_.end();) {
      const bool old = !it->second.row.is_null() && request.ended_before_ms &&
                       it->second.events.back().at < *request.ended_before_ms;
      const bool gone = old && !request.dry_run;
      if (old) ++pruned.sweeps;
      if (gone) pruned.sweeps_gone.push_back(it->first);
      it = gone ? sweeps_.erase(it) : std::next(it);
    }
    pruned.over = true;
    told(pruned);
  }

  [[nodiscard]] Result<std::optional<core::JobState>> ended_job(JobId id) override {
    const auto found = jobs_.find(id);
    if (found == jobs_.end() || !core::is_terminal(found->second.state.phase))
      return std::optional<core::JobState>();
    return std::optional(found->second.state);
  }
  [[nodiscard]] Result<std::vector<core::JobState>> ended_jobs(JobId before, int limit) override {
    std::vector<core::JobState> found;
    for (auto it = jobs_.rbegin(); it != jobs_.rend() && static_cast<int>(found.size()) < limit; ++it)
      if (it->first < before && core::is_terminal(it->second.state.phase)) found.push_back(it->second.state);
    return found;
  }
  [[nodiscard]] Result<std::vector<JobId>> ended_ids(JobId before, int limit) override {
    std::vector<JobId> found;
    for (auto it = std::make_reverse_iterator(jobs_.lower_bound(before));
         it != jobs_.rend() && static_cast<int>(found.size()) < limit; ++it)
      if (core::is_terminal(it->second.state.phase)) found.push_back(it->first);
    return found;
  }
  [[nodiscard]] Result<std::optional<JobId>> job_of_submission(const std::string& submission) override {
    for (const auto& [id, job] : jobs_)
      if (job.state.submission == submission) return std::optional(id);
    return std::optional<JobId>();
  }
  [[nodiscard]] Result<std::vector<proto::StampedEvent>> events(JobId id, std::int64_t from,
                                                                int limit) override {
    return page(jobs_[id].events, from, limit);
  }
  [[nodiscard]] Result<MetricPage> metrics(JobId id, std::int64_t from, int limit) override {
    MetricPage result;
    result.points = page(jobs_[id].points, from, limit);
    points_read += static_cast<std::int64_t>(result.points.size());
    result.next = from + static_cast<std::int64_t>(result.points.size());
    result.more = result.next < static_cast<std::int64_t>(jobs_[id].points.size());
    return result;
  }

  [[nodiscard]] Result<std::optional<SweepRecord>> ended_sweep(JobId id) override {
    const auto found = sweeps_.find(id);
    if (found == sweeps_.end() || !has_ended(found->second)) return std::optional<SweepRecord>();
    return std::optional(replayed(id, found->second));
  }
  [[nodiscard]] Result<std::optional<JobId>> sweep_of_submission(const std::string& submission) override {
    for (const auto& [id, sweep] : sweeps_)
      if (std::get<proto::SweepSubmitted>(sweep.events.front().event).submission == submission)
        return std::optional(id);
    return std::optional<JobId>();
  }
  [[nodiscard]] Result<std::vector<std::pair<JobId, proto::Json>>> ended_sweeps(JobId before,
                                                                                int limit) override {
    std::vector<std::pair<JobId, proto::Json>> rows;
    for (auto it = std::make_reverse_iterator(sweeps_.lower_bound(before));
         it != sweeps_.rend() && static_cast<int>(rows.size()) < limit; ++it)
      if (has_ended(it->second)) rows.emplace_back(it->first, it->second.row);
    return rows;
  }
  /// All events of a sweep.
  [[nodiscard]] const std::vector<proto::StampedSweepEvent>& sweep_events(JobId id) {
    return sweeps_[id].events;
  }

  /// Everything appended so far becomes durable.
  void commit() {
    if (durable_ == appended_) return;
    durable_ = appended_;
    if (grown_) grown_();
  }
  void set_health(Health health) { health_ = std::move(health); }
  /// What a start would find.
  [[nodiscard]] Recovered recover() const {
    Recovered recovered;
    for (const auto& [id, job] : jobs_)
      if (core::is_terminal(job.state.phase))
        ++recovered.ended[job.state.phase];
      else
        recovered.jobs.push_back(job.state);
    for (const auto& [id, sweep] : sweeps_)
      if (sweep.row.is_null()) recovered.sweeps.push_back(replayed(id, sweep));
    for (const auto& [key, document] : documents_)
      if (!document.value.is_null()) recovered.documents.push_back(document);
    return recovered;
  }

  std::int64_t points_read = 0;  ///< by metrics(), of all jobs

 private:
  struct Job {
    core::JobState state;
    std::vector<proto::StampedEvent> events;
    std::vector<proto::MetricPoint> points;
  };
  struct Sweep {
    std::vector<proto::StampedSweepEvent> events;
    proto::Json row;  ///< null: it has not ended
    Mark ended;
  };
  /// And is durable.
  [[nodiscard]] bool has_ended(const Sweep& sweep) const {
    return !sweep.row.is_null() && durable_.covers(sweep.ended);
  }
  /// A log that was appended event by event replays: anything else is a bug of who appended it.
  static SweepRecord replayed(JobId id, const Sweep& sweep) {
    return {core::replay_sweep(id.value(), sweep.events).value(), sweep.events.front().at,
            sweep.row.is_null() ? 0 : sweep.events.back().at};
  }
  template <class T>
  static std::vector<T> page(const std::vector<T>& all, std::int64_t from, int limit) {
    const auto size = static_cast<std::int64_t>(all.size());
    from = std::clamp<std::int64_t>(from, 0, size);
    return {all.begin() + from, all.begin() + std::min<std::int64_t>(size, from + limit)};
  }
  void settle() {
    if (at_once_) commit();
  }

  bool at_once_;
  std::int64_t next_job_id_ = 1;
  std::map<JobId, Job> jobs_;
  std::map<JobId, Sweep> sweeps_;
  std::map<std::pair<std::string, std::string>, Document> documents_;
  Mark appended_, durable_;
  Health health_;
  std::function<void()> grown_;
};

}  // namespace rtrain::store
