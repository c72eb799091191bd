// The documents of the user API (HTTP/1.1 + JSON under /v1/), shared by the head, which writes them, and the
// CLI, which reads them. Routes, one table in docs/reference/api.md and proto/api/openapi.json:
//   GET  /healthz                       no token needed: {"status":"ok"}
//   GET  /v1/version                    VersionDoc
//   GET  /v1/status                     StatusDoc: the cluster at a glance
//   POST /v1/jobs                       job spec (paths absolute) -> 201 SubmitReply | 400 ErrorDoc. Header
//                                       Idempotency-Key: the same request gets the first answer again
//   POST /v1/plan                       job spec -> PlanDoc; acts on nothing
//   GET  /v1/jobs[?state=RUNNING&user=ann&array=12&limit=1000&before=13]   {"jobs":[JobDoc],"next":..,"more":..}, newest first
//   GET  /v1/jobs/{id}                  JobDoc
//   GET  /v1/jobs/{id}/result           ResultDoc
//   GET  /v1/jobs/{id}/metrics          {"points":[MetricPoint]}
//   GET  /v1/jobs/{id}/events?from=0&limit=1000   {"events":[StampedEvent with "at"],"next":..,"more":..}, oldest first
//   GET  /v1/jobs/{id}/logs?rank=0&attempt=1&offset=0&tail=20&limit=65536   text/plain; headers Rtrain-Offset, Rtrain-Next-Offset,
//                                       Rtrain-Complete: true|false. One chunk; offset or tail, not both
//   GET  /v1/jobs/{id}/stream?logs=true&rank=0   server-sent events until the job ends:
//                                       event: state (JobDoc) | metrics (MetricPoint) | progress (ProgressDoc) | log (LogDoc)
//                                       | end (ResultDoc, the last one). A stream that ends without `end` was lost: ask again with the
//                                       header Last-Event-ID, the id of the last event that came (stream_position.h).
//   POST /v1/jobs/{id}/cancel           JobDoc
//   POST /v1/jobs/{id}/hold             JobDoc
//   POST /v1/jobs/{id}/release          JobDoc
//   POST /v1/jobs/{id}/profile          {"steps":20,"ranks":[0],"timeout_s":300} -> 202 ProfileDoc
//   GET  /v1/jobs/{id}/profile          ProfileDoc: the last one that was asked for
//   POST /v1/jobs/{id}/debug            {"ranks":"all","timeout_s":5} -> 202 DebugDoc
//   GET  /v1/jobs/{id}/debug            DebugDoc: the last one, asked for or kept of a failed attempt
//   POST /v1/arrays/{id}/cancel         {"indices":"3-7"} or nothing: all -> ArrayReply
//   POST /v1/arrays/{id}/hold           the same
//   POST /v1/arrays/{id}/release        the same
//   GET  /v1/queue                      {"jobs":[QueuedDoc],"queues":[QueueDoc]}: what waits, in order
//   GET  /v1/nodes                      {"nodes":[NodeDoc]}
//   GET  /v1/nodes/{name}               NodeDoc
//   DELETE /v1/nodes/{name}             NodeDoc: forgets one that is lost
//   POST /v1/nodes/{name}/cordon        {"reason":..} -> NodeDoc
//   POST /v1/nodes/{name}/uncordon      NodeDoc
//   POST /v1/nodes/{name}/drain         {"reason":..,"deadline_s":..} -> NodeDoc
//   POST /v1/nodes/{name}/label         {"labels":{"rack":"r1","old":null}} -> NodeDoc
//   POST /v1/nodes/{name}/return        {"gpus":[3]} or nothing: all -> NodeDoc
//   GET  /v1/reservations               {"reservations":[ReservationDoc]}
//   POST /v1/reservations               ReservationDoc -> 201 ReservationDoc
//   DELETE /v1/reservations/{name}      ReservationDoc
//   POST /v1/sweeps                     sweep spec (paths absolute) -> 201 SweepDoc | 400 ErrorDoc
//   GET  /v1/sweeps[?state=RUNNING&user=ann&limit=100&before=13]   {"sweeps":[SweepDoc],"next":..,"more":..}, newest first
//   GET  /v1/sweeps/{id}                SweepDoc
//   GET  /v1/sweeps/{id}/trials?order=best&state=PAUSED&from=0&limit=1000   {"trials":[TrialDoc],"next":..,"more":..}
//   POST /v1/sweeps/{id}/stop           {"now":true} or nothing: each running trial ends at its next rung -> SweepDoc
//   POST /v1/sweeps/{id}/pause          SweepDoc
//   POST /v1/sweeps/{id}/resume         SweepDoc
//   POST /v1/sweeps/{id}/extend         {"trials":50}: so many more -> SweepDoc
//   POST /v1/sweeps/{id}/retry          {"trials":[3,8]} or nothing: those that failed -> 201 {"trials":[64,65],"sweep":SweepDoc}
//   POST /v1/sweeps/{id}/trials         {"params":{"lr":0.003},"trial":64} is tried next -> 201 {"trial":64,"sweep":SweepDoc}
//   POST /v1/sweeps/{id}/trials/{trial}/stop   SweepDoc
//   POST /v1/prune                      {"older_than_s":..,"keep":..,"dry_run":..} -> PruneDoc
// {id} of a job may be "12_3", the job with index 3 of array 12. Over TCP the header Rtrain-User says who
// asks; on a Unix socket the head asks the kernel. Errors: ErrorDoc with the HTTP status of http_status().
#pragma once

#include "proto/event/event.h"
#include "proto/frame/frame.h"
#include "proto/message/flight.h"

namespace rtrain::proto {

struct VersionDoc {
  std::string version, commit;
  int protocol_version = kProtocolVersion;
};

struct ErrorDoc {
  std::string code;  ///< an Errc name
  std::string message;
  std::string hint;
  std::vector<SpecError> errors;  ///< of a job file that was refused
};

struct SubmitReply {
  JobId id;  ///< of an array: the array's, which is its first job's
  std::string name, run_dir;
  int count = 1;  ///< jobs that were made: more than one for an array
};

/// What was done to the jobs of an array.
struct ArrayReply {
  JobId id;
  std::vector<JobId> jobs;
};

/// How much of a resource is in use.
struct ResourceUse {
  double used = 0, total = 0;
};
struct NodeCounts {
  int alive = 0, total = 0;
};

struct RankDoc {
  int rank = 0;
  std::string node, state;  ///< PLACED | FORKED | RUNNING | ENDED
  int local_rank = 0, node_rank = 0;
  std::vector<int> gpus;
  std::int64_t pid = 0;
  ExitStatus status;  ///< when ENDED
};

struct ProgressDoc {
  std::string stage;
  std::int64_t epoch = 0, max_epochs = -1, step = 0, steps = -1;
  double steps_per_s = 0;
  Json prog_bar = Json::object();
};

/// The validation of a checkpoint of a job.
struct ValidationDoc {
  std::string checkpoint;  ///< its folder's name
  std::int64_t index = 0;
  ValidationStatus status = ValidationStatus::kPending;
  JobId job;          ///< that validates; 0: none yet
  std::string error;  ///< why there is no result
};

struct JobDoc {
  JobId id;
  /// QUEUED | STARTING | RUNNING | STOPPING | VALIDATING | SUCCEEDED | FAILED | CANCELLED
  std::string name, state;
  std::string reason;              ///< why it waits, or the last verdict
  std::string user;                ///< who submitted it; "" unknown
  std::optional<ArrayTask> array;  ///< its place in an array; null for a job of its own
  std::string queue;
  int priority = 0;
  int queue_position = 0;  ///< 1-based among those that wait; 0: it does not stand in line
  /// of a job that waits: at the latest, if what runs keeps to its limits; 0: nobody can say
  UnixMs expected_start_ms = 0;
  UnixMs begin_at_ms = 0;                                 ///< does not start before; 0: nothing was said
  UnixMs submitted_ms = 0, started_ms = 0, ended_ms = 0;  ///< RFC 3339 in JSON, null when 0
  std::int64_t attempt = 0;
  int failures = 0, max_failures = 0, num_workers = 1;
  int controller_failures = 0;                   ///< attempts that could not be started
  int preemptions = 0, drains = 0, resizes = 0;  ///< how often it was asked for its place
  FailureCounts failures_by_class;               ///< counted or not, preemptions among them
  bool held = false;                             ///< does not start before it is released
  std::string held_by;
  UnixMs retry_at_ms = 0;  ///< failed, and does not start again before then; 0: nothing keeps it
  std::vector<RankDoc> ranks;
  std::optional<ProgressDoc> progress;
  Json metrics;  ///< latest report, or null
  std::int64_t reports = 0;
  std::int64_t reports_dropped = 0;  ///< made, but faster than they could be taken: they are in no history
  std::optional<JobError> error;
  std::string failure_class;  ///< of error: user | infrastructure | preemption; "" without one
  std::string run_dir;
  std::optional<ValidatedCheckpoint> validates;  ///< whose checkpoint it validates; null for most
  std::vector<ValidationDoc> validations;        ///< of its own checkpoints that are kept, oldest first
  std::optional<SweepTrial> sweep;               ///< which trial of a sweep it trains; null for most
};

struct ResultDoc {
  JobId id;
  std::string name, state;
  Json metrics;                                    ///< of the latest report, or {}
  std::optional<CheckpointRecord> checkpoint;      ///< the latest
  std::string path;                                ///< run_dir
  std::optional<JobError> error;                   ///< null in JSON unless the job FAILED
  std::vector<CheckpointRecord> best_checkpoints;  ///< kept ones, best first by the score, else newest first
  std::int64_t attempts = 0;
  Json return_value;
  std::int64_t reports = 0, reports_dropped = 0;  ///< as those of JobDoc
};

struct MetricPoint {
  std::int64_t attempt = 0, seq = 0;
  UnixMs time_ms = 0;
  Json metrics;
  std::string checkpoint;
};
/// [offset, next) of a rank's log. Bytes that are no UTF-8 are replaced in the text, which may be longer or
/// shorter then.
struct LogDoc {
  std::int64_t attempt = 0;
  int rank = 0;
  std::int64_t offset = 0, next = 0;
  std::string text;
};

struct NodeDoc {
  NodeInfo info;
  Resources used;
  std::vector<int> gpus_used;
  bool alive = true;  ///< its agent is connected
  /// ready | cordoned | draining | drained | away | lost; an agent that is not there comes first
  std::string state = "ready";
  double silent_s = 0;        ///< seconds since its agent was last heard of
  bool cordoned = false;      ///< nothing new starts here
  std::vector<int> gpus_out;  ///< GPUs that are out of service
  std::vector<JobId> jobs;
  double suspicion = 0;       ///< above 0: several jobs failed here for no fault of theirs, it is taken last
  std::string reason;         ///< why it is not ready, or is suspected, or what is out of service
  UnixMs drain_until_ms = 0;  ///< draining: what is left then is stopped; 0: no deadline
};

/// A job that waits.
struct QueuedDoc {
  JobId id;
  std::optional<ArrayTask> array;
  /// 1-based among those that stand in line; 0: something else keeps it (a hold, another job)
  int position = 0;
  std::string name, user, queue;
  int priority = 0, num_workers = 1;
  Resources resources_per_worker;
  UnixMs submitted_ms = 0;
  std::string reason;  ///< why it waits
  /// at the latest, if what runs keeps to its limits; null in JSON: nobody can say
  UnixMs expected_start_ms = 0;
};

/// A user in a queue.
struct QueueUserDoc {
  std::string name;  ///< "" unknown
  int running = 0, waiting = 0;
  double gpus = 0, cpus = 0;  ///< in use
  Resources used;             ///< resource-seconds of late, those of a half-life ago at half their weight
  double usage = 0;  ///< of all that is used in the queue: 0..1, by the largest share of any resource
};

/// A queue: what it may have, has, and has had of late. In the words of Slurm's sshare: weight is RawShares,
/// share NormShares, used RawUsage, usage EffectvUsage. Jobs of queues whose usage is small for their share
/// come first.
struct QueueDoc {
  std::string name;
  double weight = 1;
  double share = 0;  ///< the weight by the sum of all queues' weights: 0..1
  Resources used;    ///< resource-seconds of late, those of a half-life ago at half their weight
  double usage = 0;  ///< of all that is used: 0..1, by the largest share of any resource
  int running = 0, waiting = 0;
  double gpus = 0, cpus = 0;                 ///< in use
  std::optional<double> gpus_max, cpus_max;  ///< quotas; null in JSON: no bound
  std::optional<int> jobs_max;
  std::optional<double> user_gpus_max, user_cpus_max;  ///< of each user
  std::optional<int> user_jobs_max;
  std::vector<QueueUserDoc> users;  ///< who has or had something in it, by name
};

/// A job whose record in the journal cannot be read: the head works without it, and keeps its number.
struct SetAsideDoc {
  JobId id;
  std::string reason;
};

/// The cluster at a glance.
struct StatusDoc {
  std::string status = "ok", reason;  ///< read_only: the head's disk takes no writes, and why
  std::string clock;                  ///< what is wrong with the machine's clock; "" nothing
  UnixMs since_ms = 0;                ///< when this head started
  NodeCounts nodes;
  std::map<std::string, ResourceUse> resources;  ///< of the nodes that are alive
  /// of all jobs that the head knows; states without a job are left out
  std::map<std::string, std::int64_t> jobs_by_state;
  FailureCounts failures_by_class;  ///< since the head started
  /// that have not ended: the first kActiveShown, running ones first, newest first
  std::vector<JobDoc> active_jobs;
  /// the first kSetAsideShown jobs that could not be read when this head started
  std::vector<SetAsideDoc> set_aside;
  static constexpr int kActiveShown = 20;
  static constexpr int kSetAsideShown = 100;
};

/// A hyperparameter search.
struct SweepDoc {
  JobId id;                  ///< from the same counter as the numbers of jobs
  std::string name, state;   ///< RUNNING | PAUSED | STOPPING | SUCCEEDED | FAILED | CANCELLED
  std::string reason;        ///< why it stops, or how it ended; "" while it runs
  std::string user;          ///< who submitted it; "" unknown
  std::string metric, mode;  ///< mode: min | max
  std::string search, schedule;
  UnixMs submitted_ms = 0, ended_ms = 0;                ///< RFC 3339 in JSON, null when 0
  std::int64_t trials = 0;                              ///< suggested so far
  std::int64_t known = 0;                               ///< trials of earlier sweeps that the searcher knows
  std::int64_t trials_max = 0;                          ///< so many that can be trained are suggested at most
  std::map<std::string, std::int64_t> trials_by_state;  ///< states without a trial are left out
  double gpu_hours = 0;                                 ///< of the attempts of its jobs that have ended
  std::optional<std::int64_t> best_trial;               ///< null in JSON: no trial has a value
  std::optional<double> best_value;
};

/// A trial of a sweep.
struct TrialDoc {
  std::int64_t trial = 0;
  /// SUGGESTED | RUNNING | PAUSED | STOPPING | COMPLETED | PRUNED | FAILED | INVALID | CANCELLED
  std::string state;
  JobId job;       ///< that trains it, the newest; 0: none yet
  std::string by;  ///< who suggested it: "baseline", "start_with", "enqueued", or a search method
  Json params = Json::object();
  std::optional<double> value;  ///< of the metric, at `resource`; null in JSON: it has none
  double resource = 0;
  std::optional<std::int64_t> rung;  ///< the last that it came to; null in JSON: none
  double violation = 0;              ///< by how much it is out of its constraints
  std::string reason;                ///< of the last decision about it, or its error
};

/// Nodes kept for those who may use them.
struct ReservationDoc {
  std::string name;
  std::vector<std::string> nodes, users;  ///< users empty: everybody who names it
  UnixMs start_ms = 0, end_ms = 0;
  std::string by;       ///< who made it
  bool active = false;  ///< it has begun
};

/// Jobs and sweeps that ended and are forgotten, or would be.
struct PruneDoc {
  std::int64_t jobs = 0, sweeps = 0, bytes = 0;
  bool dry_run = false;
};

/// What became of one rank of a profile.
struct ProfiledRankDoc {
  int rank = 0;
  std::string node;
  std::string state = "recording";  ///< recording | done | failed
  std::int64_t steps = 0;           ///< training batches that were recorded
  std::string trace;                ///< absolute path of the Chrome trace; "": there is none
  std::string error;                ///< why there is none, or fewer steps than were asked for
};
/// The last profile of a job that was asked for.
struct ProfileDoc {
  JobId job;
  std::int64_t attempt = 0;
  std::int64_t steps = 0;  ///< as asked for
  double timeout_s = 0;
  std::string state = "recording";  ///< recording; done: each rank has a trace; failed: one has none
  std::vector<ProfiledRankDoc> ranks;
};

/// Where one rank of a diagnosis is.
struct DebuggedRankDoc {
  int rank = 0;
  std::string node;
  std::string state = "asked";  ///< asked | answered | silent | unknown: it could not be asked | ended
  std::string where;            ///< in words: "all_reduce #83 of the job, Float [4, 8]"; "" nothing is known
  double where_s = 0;           ///< for so long
  std::vector<int> waits_for;   ///< ranks that have not come to where it waits, or came with another call
  std::string error;            ///< why there is no snapshot
  std::optional<RankSnapshot> snapshot;
};
/// Which rank waits for whom.
struct DebugDoc {
  JobId job;
  std::int64_t attempt = 0;
  UnixMs time_ms = 0;            ///< when it was asked for
  std::string reason = "asked";  ///< asked | hang | failure
  std::string state = "asking";  ///< asking; done: each rank has answered, or will not
  std::string verdict;           ///< a sentence: who holds up whom, where; "" while asking
  std::optional<int> culprit;    ///< the one rank that the others wait for
  std::vector<DebuggedRankDoc> ranks;
};

struct PlanDoc {
  bool would_start = false, feasible = true;
  std::vector<RankPlacement> ranks;
  int queue_position = 0;
  std::string reason;
  /// at the latest, if what runs keeps to its limits; 0: it starts now, or nobody can say
  UnixMs expected_start_ms = 0;
};

void to_json(Json& j, const VersionDoc& v);
void from_json(const Json& j, VersionDoc& v);
void to_json(Json& j, const ErrorDoc& v);
void from_json(const Json& j, ErrorDoc& v);
void to_json(Json& j, const SubmitReply& v);
void from_json(const Json& j, SubmitReply& v);
void to_json(Json& j, const ArrayReply& v);
void from_json(const Json& j, ArrayReply& v);
void to_json(Json& j, const QueuedDoc& v);
void from_json(const Json& j, QueuedDoc& v);
void to_json(Json& j, const StatusDoc& v);
void from_json(const Json& j, StatusDoc& v);
void to_json(Json& j, const QueueUserDoc& v);
void from_json(const Json& j, QueueUserDoc& v);
void to_json(Json& j, const QueueDoc& v);
void from_json(const Json& j, QueueDoc& v);
void to_json(Json& j, const SweepDoc& v);
void from_json(const Json& j, SweepDoc& v);
void to_json(Json& j, const TrialDoc& v);
void from_json(const Json& j, TrialDoc& v);
void to_json(Json& j, const ReservationDoc& v);
void from_json(const Json& j, ReservationDoc& v);
void to_json(Json& j, const PruneDoc& v);
void from_json(const Json& j, PruneDoc& v);
void to_json(Json& j, const ProfileDoc& v);
void from_json(const Json& j, ProfileDoc& v);
void to_json(Json& j, const DebugDoc& v);
void from_json(const Json& j, DebugDoc& v);
void to_json(Json& j, const RankSnapshot& v);
void from_json(const Json& j, RankSnapshot& v);
void to_json(Json& j, const ProgressDoc& v);
void from_json(const Json& j, ProgressDoc& v);
void to_json(Json& j, const JobDoc& v);
void from_json(const Json& j, JobDoc& v);
void to_json(Json& j, const ResultDoc& v);
void from_json(const Json& j, ResultDoc& v);
void to_json(Json& j, const MetricPoint& v);
void from_json(const Json& j, MetricPoint& v);
void to_json(Json& j, const LogDoc& v);
void from_json(const Json& j, LogDoc& v);
void to_json(Json& j, const NodeDoc& v);
void from_json(const Json& j, NodeDoc& v);
void to_json(Json& j, const PlanDoc& v);
void from_json(const Json& j, PlanDoc& v);

/// One value of a document. kInvalidArgument says what it is instead; whole numbers are within kWholeMax, and
/// none is taken for another type.
[[nodiscard]] Result<Done> read_value(const Json& json, bool& value);
[[nodiscard]] Result<Done> read_value(const Json& json, double& value);
[[nodiscard]] Result<Done> read_value(const Json& json, std::int64_t& value);
[[nodiscard]] Result<Done> read_value(const Json& json, std::string& value);
[[nodiscard]] Result<Done> read_value(const Json& json, std::vector<int>& value);
[[nodiscard]] Result<Done> read_value(const Json& json, ReservationDoc& value);

[[nodiscard]] ErrorDoc error_doc(const Error& error);
[[nodiscard]] Error to_error(const ErrorDoc& doc);
/// 400, 401, 404, 409, 413, 503, ... for a code.
[[nodiscard]] int http_status(Errc code);
/// Reads a document of type T; kProtocol with the field at fault.
template <class T>
[[nodiscard]] Result<T> read_document(std::string_view text) {
  auto json = parse_json(text);
  if (!json) return json.error();
  try {
    return json->template get<T>();
  } catch (const Json::exception& e) {
    return fail(Errc::kProtocol, std::string("unexpected document: ") + e.what());
  }
}

}  // namespace rtrain::proto
