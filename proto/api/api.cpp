#include "proto/api/api.h"

#include "common/base/clip.h"
#include "proto/message/type_fields.h"

namespace rtrain::proto {

using codec::Time;

void visit_fields(auto& visit, Is<SpecError> auto& v) {
  visit("path", v.path);
  visit("message", v.message);
  visit("line", v.line);
  visit("column", v.column);
}
void visit_fields(auto& visit, Is<VersionDoc> auto& v) {
  visit("version", v.version);
  visit("commit", v.commit);
  visit("protocol_version", v.protocol_version);
}
void visit_fields(auto& visit, Is<ErrorDoc> auto& v) {
  visit("code", v.code);
  visit("message", v.message);
  visit("hint", v.hint);
  visit("errors", v.errors);
}
void visit_fields(auto& visit, Is<SubmitReply> auto& v) {
  visit("id", v.id);
  visit("name", v.name);
  visit("run_dir", v.run_dir);
  visit("count", v.count);
}
void visit_fields(auto& visit, Is<ArrayReply> auto& v) {
  visit("id", v.id);
  visit("jobs", v.jobs);
}
void visit_fields(auto& visit, Is<RankDoc> auto& v) {
  visit("rank", v.rank);
  visit("node", v.node);
  visit("state", v.state);
  visit("local_rank", v.local_rank);
  visit("node_rank", v.node_rank);
  visit("gpus", v.gpus);
  visit("pid", v.pid);
  visit("status", v.status);
}
void visit_fields(auto& visit, Is<ProgressDoc> auto& v) {
  visit("stage", v.stage);
  visit("epoch", v.epoch);
  visit("max_epochs", v.max_epochs);
  visit("step", v.step);
  visit("steps", v.steps);
  visit("steps_per_s", v.steps_per_s);
  visit("prog_bar", v.prog_bar);
}
void visit_fields(auto& visit, Is<ValidationDoc> auto& v) {
  visit("checkpoint", v.checkpoint);
  visit("index", v.index);
  visit("status", v.status);
  visit("job", v.job);
  visit("error", v.error);
}
void visit_fields(auto& visit, Is<JobDoc> auto& v) {
  visit("id", v.id);
  visit("name", v.name);
  visit("state", v.state);
  visit("reason", v.reason);
  visit("user", v.user);
  visit("array", v.array);
  visit("queue", v.queue);
  visit("priority", v.priority);
  visit("queue_position", v.queue_position);
  visit("expected_start", Time{v.expected_start_ms});
  visit("begin_at", Time{v.begin_at_ms});
  visit("submitted_at", Time{v.submitted_ms});
  visit("started_at", Time{v.started_ms});
  visit("ended_at", Time{v.ended_ms});
  visit("attempt", v.attempt);
  visit("failures", v.failures);
  visit("max_failures", v.max_failures);
  visit("controller_failures", v.controller_failures);
  visit("preemptions", v.preemptions);
  visit("drains", v.drains);
  visit("resizes", v.resizes);
  visit("failures_by_class", v.failures_by_class);
  visit("held", v.held);
  visit("held_by", v.held_by);
  visit("retry_at", Time{v.retry_at_ms});
  visit("num_workers", v.num_workers);
  visit("ranks", v.ranks);
  visit("progress", v.progress);
  visit("metrics", v.metrics);
  visit("reports", v.reports);
  visit("reports_dropped", v.reports_dropped);
  visit("error", v.error);
  visit("failure_class", v.failure_class);
  visit("run_dir", v.run_dir);
  visit("validates", v.validates);
  visit("validations", v.validations);
  visit("sweep", v.sweep);
}
void visit_fields(auto& visit, Is<ResultDoc> auto& v) {
  visit("id", v.id);
  visit("name", v.name);
  visit("state", v.state);
  visit("metrics", v.metrics);
  visit("checkpoint", v.checkpoint);
  visit("path", v.path);
  visit("error", v.error);
  visit("best_checkpoints", v.best_checkpoints);
  visit("attempts", v.attempts);
  visit("return_value", v.return_value);
  visit("reports", v.reports);
  visit("reports_dropped", v.reports_dropped);
}
void visit_fields(auto& visit, Is<MetricPoint> auto& v) {
  visit("attempt", v.attempt);
  visit("seq", v.seq);
  visit("time", Time{v.time_ms});
  visit("metrics", v.metrics);
  visit("checkpoint", v.checkpoint);
}
void visit_fields(auto& visit, Is<LogDoc> auto& v) {
  visit("attempt", v.attempt);
  visit("rank", v.rank);
  visit("offset", v.offset);
  visit("next", v.next);
  visit("text", v.text);
}
void visit_fields(auto& visit, Is<NodeDoc> auto& v) {
  visit_fields(visit, v.info);  // the node's own fields stand beside its use
  visit("used", v.used);
  visit("gpus_used", v.gpus_used);
  visit("alive", v.alive);
  visit("state", v.state);
  visit("silent_s", v.silent_s);
  visit("cordoned", v.cordoned);
  visit("gpus_out", v.gpus_out);
  visit("jobs", v.jobs);
  visit("suspicion", v.suspicion);
  visit("reason", v.reason);
  visit("drain_until", Time{v.drain_until_ms});
}
void visit_fields(auto& visit, Is<QueuedDoc> auto& v) {
  visit("id", v.id);
  visit("array", v.array);
  visit("position", v.position);
  visit("name", v.name);
  visit("user", v.user);
  visit("queue", v.queue);
  visit("priority", v.priority);
  visit("num_workers", v.num_workers);
  visit("resources_per_worker", v.resources_per_worker);
  visit("submitted_at", Time{v.submitted_ms});
  visit("reason", v.reason);
  visit("expected_start", Time{v.expected_start_ms});
}
void visit_fields(auto& visit, Is<QueueUserDoc> auto& v) {
  visit("name", v.name);
  visit("running", v.running);
  visit("waiting", v.waiting);
  visit("gpus", v.gpus);
  visit("cpus", v.cpus);
  visit("used", v.used);
  visit("usage", v.usage);
}
void visit_fields(auto& visit, Is<QueueDoc> auto& v) {
  visit("name", v.name);
  visit("weight", v.weight);
  visit("share", v.share);
  visit("used", v.used);
  visit("usage", v.usage);
  visit("running", v.running);
  visit("waiting", v.waiting);
  visit("gpus", v.gpus);
  visit("cpus", v.cpus);
  visit("gpus_max", v.gpus_max);
  visit("cpus_max", v.cpus_max);
  visit("jobs_max", v.jobs_max);
  visit("user_gpus_max", v.user_gpus_max);
  visit("user_cpus_max", v.user_cpus_max);
  visit("user_jobs_max", v.user_jobs_max);
  visit("users", v.users);
}
void visit_fields(auto& visit, Is<ResourceUse> auto& v) {
  visit("used", v.used);
  visit("total", v.total);
}
void visit_fields(auto& visit, Is<NodeCounts> auto& v) {
  visit("alive", v.alive);
  visit("total", v.total);
}
void visit_fields(auto& visit, Is<SetAsideDoc> auto& v) {
  visit("id", v.id);
  visit("reason", v.reason);
}
void visit_fields(auto& visit, Is<StatusDoc> auto& v) {
  visit("status", v.status);
  visit("reason", v.reason);
  visit("clock", v.clock);
  visit("since", Time{v.since_ms});
  visit("nodes", v.nodes);
  visit("resources", v.resources);
  visit("jobs_by_state", v.jobs_by_state);
  visit("failures_by_class", v.failures_by_class);
  visit("active_jobs", v.active_jobs);
  visit("set_aside", v.set_aside);
}
void visit_fields(auto& visit, Is<SweepDoc> auto& v) {
  visit("id", v.id);
  visit("name", v.name);
  visit("state", v.state);
  visit("reason", v.reason);
  visit("user", v.user);
  visit("metric", v.metric);
  visit("mode", v.mode);
  visit("search", v.search);
  visit("schedule", v.schedule);
  visit("submitted_at", Time{v.submitted_ms});
  visit("ended_at", Time{v.ended_ms});
  visit("trials", v.trials);
  visit("known", v.known);
  visit("trials_max", v.trials_max);
  visit("trials_by_state", v.trials_by_state);
  visit("gpu_hours", v.gpu_hours);
  visit("best_trial", v.best_trial);
  visit("best_value", v.best_value);
}
void visit_fields(auto& visit, Is<TrialDoc> auto& v) {
  visit("trial", v.trial);
  visit("state", v.state);
  visit("job", v.job);
  visit("by", v.by);
  visit("params", v.params);
  visit("value", v.value);
  visit("resource", v.resource);
  visit("rung", v.rung);
  visit("violation", v.violation);
  visit("reason", v.reason);
}
void visit_fields(auto& visit, Is<ReservationDoc> auto& v) {
  visit("name", v.name);
  visit("nodes", v.nodes);
  visit("users", v.users);
  visit("start", Time{v.start_ms});
  visit("end", Time{v.end_ms});
  visit("by", v.by);
  visit("active", v.active);
}
void visit_fields(auto& visit, Is<PruneDoc> auto& v) {
  visit("jobs", v.jobs);
  visit("sweeps", v.sweeps);
  visit("bytes", v.bytes);
  visit("dry_run", v.dry_run);
}
void visit_fields(auto& visit, Is<ProfiledRankDoc> auto& v) {
  visit("rank", v.rank);
  visit("node", v.node);
  visit("state", v.state);
  visit("steps", v.steps);
  visit("trace", v.trace);
  visit("error", v.error);
}
void visit_fields(auto& visit, Is<ProfileDoc> auto& v) {
  visit("job", v.job);
  visit("attempt", v.attempt);
  visit("steps", v.steps);
  visit("timeout_s", v.timeout_s);
  visit("state", v.state);
  visit("ranks", v.ranks);
}
void visit_fields(auto& visit, Is<DebuggedRankDoc> auto& v) {
  visit("rank", v.rank);
  visit("node", v.node);
  visit("state", v.state);
  visit("where", v.where);
  visit("where_s", v.where_s);
  visit("waits_for", v.waits_for);
  visit("error", v.error);
  visit("snapshot", v.snapshot);
}
void visit_fields(auto& visit, Is<DebugDoc> auto& v) {
  visit("job", v.job);
  visit("attempt", v.attempt);
  visit("time", Time{v.time_ms});
  visit("reason", v.reason);
  visit("state", v.state);
  visit("verdict", v.verdict);
  visit("culprit", v.culprit);
  visit("ranks", v.ranks);
}
void visit_fields(auto& visit, Is<PlanDoc> auto& v) {
  visit("would_start", v.would_start);
  visit("feasible", v.feasible);
  visit("ranks", v.ranks);
  visit("queue_position", v.queue_position);
  visit("reason", v.reason);
  visit("expected_start", Time{v.expected_start_ms});
}

void to_json(Json& j, const VersionDoc& v) { codec::write(j, v); }
void from_json(const Json& j, VersionDoc& v) { codec::read(j, v); }
void to_json(Json& j, const ErrorDoc& v) { codec::write(j, v); }
void from_json(const Json& j, ErrorDoc& v) { codec::read(j, v); }
void to_json(Json& j, const SubmitReply& v) { codec::write(j, v); }
void from_json(const Json& j, SubmitReply& v) { codec::read(j, v); }
void to_json(Json& j, const ArrayReply& v) { codec::write(j, v); }
void from_json(const Json& j, ArrayReply& v) { codec::read(j, v); }
void to_json(Json& j, const QueuedDoc& v) { codec::write(j, v); }
void from_json(const Json& j, QueuedDoc& v) { codec::read(j, v); }
void to_json(Json& j, const StatusDoc& v) { codec::write(j, v); }
void from_json(const Json& j, StatusDoc& v) { codec::read(j, v); }
void to_json(Json& j, const QueueUserDoc& v) { codec::write(j, v); }
void from_json(const Json& j, QueueUserDoc& v) { codec::read(j, v); }
void to_json(Json& j, const QueueDoc& v) { codec::write(j, v); }
void from_json(const Json& j, QueueDoc& v) { codec::read(j, v); }
void to_json(Json& j, const SweepDoc& v) { codec::write(j, v); }
void from_json(const Json& j, SweepDoc& v) { codec::read(j, v); }
void to_json(Json& j, const TrialDoc& v) { codec::write(j, v); }
void from_json(const Json& j, TrialDoc& v) { codec::read(j, v); }
void to_json(Json& j, const ReservationDoc& v) { codec::write(j, v); }
void from_json(const Json& j, ReservationDoc& v) { codec::read(j, v); }
void to_json(Json& j, const PruneDoc& v) { codec::write(j, v); }
void from_json(const Json& j, PruneDoc& v) { codec::read(j, v); }
void to_json(Json& j, const ProfileDoc& v) { codec::write(j, v); }
void from_json(const Json& j, ProfileDoc& v) { codec::read(j, v); }
void to_json(Json& j, const DebugDoc& v) { codec::write(j, v); }
void from_json(const Json& j, DebugDoc& v) { codec::read(j, v); }
void to_json(Json& j, const RankSnapshot& v) { codec::write(j, v); }
void from_json(const Json& j, RankSnapshot& v) { codec::read(j, v); }
void to_json(Json& j, const ProgressDoc& v) { codec::write(j, v); }
void from_json(const Json& j, ProgressDoc& v) { codec::read(j, v); }
void to_json(Json& j, const JobDoc& v) { codec::write(j, v); }
void from_json(const Json& j, JobDoc& v) { codec::read(j, v); }
void to_json(Json& j, const ResultDoc& v) { codec::write(j, v); }
void from_json(const Json& j, ResultDoc& v) { codec::read(j, v); }
void to_json(Json& j, const MetricPoint& v) { codec::write(j, v); }
void from_json(const Json& j, MetricPoint& v) { codec::read(j, v); }
void to_json(Json& j, const LogDoc& v) { codec::write(j, v); }
void from_json(const Json& j, LogDoc& v) { codec::read(j, v); }
void to_json(Json& j, const NodeDoc& v) { codec::write(j, v); }
void from_json(const Json& j, NodeDoc& v) { codec::read(j, v); }
void to_json(Json& j, const PlanDoc& v) { codec::write(j, v); }
void from_json(const Json& j, PlanDoc& v) { codec::read(j, v); }

namespace {

template <class T>
Result<Done> read_or_say(const Json& json, T& value) {
  try {
    codec::read(json, value);
    return ok();
  } catch (const FieldError& error) {
    const std::string text = error.what();
    return fail(Errc::kInvalidArgument, text.starts_with(": ") ? text.substr(2) : text);
  }
}

}  // namespace

Result<Done> read_value(const Json& json, bool& value) { return read_or_say(json, value); }
Result<Done> read_value(const Json& json, double& value) { return read_or_say(json, value); }
Result<Done> read_value(const Json& json, std::int64_t& value) { return read_or_say(json, value); }
Result<Done> read_value(const Json& json, std::string& value) { return read_or_say(json, value); }
Result<Done> read_value(const Json& json, std::vector<int>& value) { return read_or_say(json, value); }
Result<Done> read_value(const Json& json, ReservationDoc& value) { return read_or_say(json, value); }

ErrorDoc error_doc(const Error& error) {
  constexpr std::size_t kTextBytesMax = 2000;  // what was sent may be quoted in it
  return {std::string(to_string(error.code())),
          clipped(error.message(), kTextBytesMax),
          clipped(error.hint(), kTextBytesMax),
          {}};
}

Error to_error(const ErrorDoc& doc) {
  std::string message = doc.message;
  for (const SpecError& error : doc.errors) message += "\n  " + to_string(error);
  return {errc_from_string(doc.code), message, doc.hint};
}

int http_status(Errc code) {
  switch (code) {
    case Errc::kInvalidArgument:
    case Errc::kProtocol: return 400;
    case Errc::kUnauthenticated: return 401;
    case Errc::kNotFound: return 404;
    case Errc::kConflict: return 409;
    case Errc::kLimit: return 413;
    case Errc::kUnplaceable: return 422;
    case Errc::kUnavailable: return 503;
    case Errc::kTimeout: return 504;
    case Errc::kIo:
    case Errc::kInternal: return 500;
  }
  return 500;
}

}  // namespace rtrain::proto
