#include "daemon/head/api/documents.h"

#include <algorithm>
#include <cmath>

namespace rtrain::head {

std::vector<proto::CheckpointRecord> best_first(std::vector<proto::CheckpointRecord> checkpoints,
                                                const proto::CheckpointConfig& config) {
  std::ranges::reverse(checkpoints);
  if (config.checkpoint_score_attribute.empty()) return checkpoints;
  const auto score = [&](const proto::CheckpointRecord& checkpoint) -> std::optional<double> {
    const auto found = checkpoint.metrics.find(config.checkpoint_score_attribute);
    double value = 0;
    if (found == checkpoint.metrics.end() || !proto::json_number(*found, value) || std::isnan(value))
      return std::nullopt;
    return config.score_is_max ? -value : value;
  };
  std::ranges::stable_sort(checkpoints, [&](const auto& a, const auto& b) {
    const auto x = score(a), y = score(b);
    return x && y ? *x < *y : x.has_value() && !y.has_value();
  });
  return checkpoints;
}

namespace {

std::vector<proto::ValidationDoc> validation_docs(const core::JobState& state) {
  std::vector<proto::ValidationDoc> docs;
  for (const auto& checkpoint : state.checkpoints)
    if (const auto& validation = checkpoint.validation)
      docs.push_back({checkpoint.path.substr(checkpoint.path.rfind('/') + 1), checkpoint.index,
                      validation->status, validation->job, validation->error});
  return docs;
}

/// "waits for the validation of 2 checkpoints: jobs 13, 14"
std::string validating_words(const core::JobState& state) {
  std::string jobs;
  int pending = 0, with_job = 0;
  for (const auto& checkpoint : state.checkpoints) {
    if (!checkpoint.pinned()) continue;
    ++pending;
    if (checkpoint.validation->job.value() == 0) continue;
    ++with_job;
    jobs += (jobs.empty() ? "" : ", ") + to_string(checkpoint.validation->job);
  }
  return "waits for the validation of " + std::to_string(pending) +
         (pending == 1 ? " checkpoint" : " checkpoints") +
         (jobs.empty() ? "" : (with_job == 1 ? ": job " : ": jobs ") + jobs);
}

}  // namespace

proto::JobDoc job_doc(const JobRecord& record, const Waiting& waiting) {
  const auto& s = record.state;
  proto::JobDoc doc;
  doc.id = s.id;
  doc.name = s.spec->name;
  doc.state = core::to_string(s.phase);
  doc.reason = s.phase == core::JobPhase::kQueued       ? waiting.reason
               : s.cancel_requested                     ? "cancelled by " + s.cancelled_by
               : s.phase == core::JobPhase::kValidating ? validating_words(s)
                                                        : s.verdict;
  doc.user = s.user;
  doc.array = s.array;
  doc.queue = s.spec->scheduling.queue;
  doc.priority = s.spec->scheduling.priority;
  doc.queue_position = waiting.position;
  doc.expected_start_ms = waiting.expected_start_ms;
  doc.begin_at_ms = s.spec->scheduling.begin_at_ms;
  doc.submitted_ms = s.submitted_ms;
  doc.started_ms = s.started_ms;
  doc.ended_ms = s.ended_ms;
  doc.attempt = s.attempt.value();
  doc.failures = s.failures;
  doc.max_failures = s.spec->run_config.failure_config.max_failures;
  doc.controller_failures = s.controller_failures;
  doc.preemptions = s.preemptions;
  doc.drains = s.drains;
  doc.resizes = s.resizes;
  doc.failures_by_class = s.failures_by_class;
  doc.held = core::is_held(s);
  doc.held_by = core::holders_of(s);
  doc.retry_at_ms = s.not_before_ms;
  doc.num_workers = s.spec->scaling_config.num_workers;
  for (const auto& rank : s.ranks) {
    const auto& p = rank.placement;
    doc.ranks.push_back({p.rank, p.node, std::string(core::to_string(rank.phase)), p.local_rank, p.node_rank,
                         p.gpus, rank.pid, rank.status});
  }
  doc.progress = record.progress;
  doc.metrics = s.metrics;
  doc.reports = s.reports;
  doc.reports_dropped = core::reports_dropped(s);
  doc.error = s.error;
  if (s.error) doc.failure_class = to_string(s.failure_class);
  doc.run_dir = s.run_dir;
  doc.validates = s.validates;
  doc.validations = validation_docs(s);
  doc.sweep = s.sweep;
  return doc;
}

proto::ResultDoc result_doc(const JobRecord& record) {
  const auto& s = record.state;
  proto::ResultDoc doc;
  doc.id = s.id;
  doc.name = s.spec->name;
  doc.state = core::to_string(s.phase);
  doc.metrics = s.metrics.is_null() ? proto::Json::object() : s.metrics;
  if (!s.checkpoints.empty()) doc.checkpoint = s.checkpoints.back();
  doc.path = s.run_dir;
  if (s.phase == core::JobPhase::kFailed) doc.error = s.error;
  doc.best_checkpoints = best_first(s.checkpoints, s.spec->run_config.checkpoint_config);
  doc.attempts = s.attempt.value();
  doc.reports = s.reports;
  doc.reports_dropped = core::reports_dropped(s);
  doc.return_value = s.return_value;
  return doc;
}

proto::NodeDoc node_doc(const Node& node, const NodeSetting& setting, std::vector<JobId> jobs,
                        const std::string& suspicion) {
  const auto& view = node.view;
  proto::NodeDoc doc;
  doc.info = view.info;
  doc.used = view.used;
  doc.gpus_used = {view.gpus_used.begin(), view.gpus_used.end()};
  doc.alive = view.alive && !view.away;
  doc.cordoned = view.cordoned;
  doc.gpus_out = {view.gpus_out.begin(), view.gpus_out.end()};
  doc.state = !view.alive        ? "lost"
              : view.away        ? "away"
              : setting.draining ? (jobs.empty() ? "drained" : "draining")
              : view.cordoned    ? "cordoned"
                                 : "ready";
  doc.jobs = std::move(jobs);
  doc.suspicion = view.suspicion;
  doc.reason = setting.words();
  if (!suspicion.empty()) doc.reason += (doc.reason.empty() ? "" : "; ") + suspicion;
  doc.drain_until_ms = setting.drain_until_ms;
  return doc;
}

proto::QueuedDoc queued_doc(const JobRecord& record, int position, const std::string& reason,
                            proto::UnixMs expected_start_ms) {
  const auto& s = record.state;
  return {s.id,
          s.array,
          position,
          s.spec->name,
          s.user,
          s.spec->scheduling.queue,
          s.spec->scheduling.priority,
          s.spec->scaling_config.num_workers,
          s.spec->scaling_config.resources(),
          s.submitted_ms,
          reason,
          expected_start_ms};
}

proto::PlanDoc plan_doc(const core::Decision& decision) {
  return {decision.placement.placed(),
          decision.placement.feasible,
          decision.placement.ranks,
          decision.queue_position,
          decision.reason,
          decision.expected_start_ms};
}

}  // namespace rtrain::head
