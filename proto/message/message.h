// The cluster protocol: every message between head, agent, supervisor (zygote, keeper) and worker.
// A connection starts with Hello (peer that dialled) and Welcome or Refused (peer that accepted).
// A receiver closes the connection on a message that is not for it.
#pragma once

#include "proto/frame/frame.h"
#include "proto/message/flight.h"
#include "proto/message/types.h"

#include <variant>

namespace rtrain::proto {

/// Names one rank of one attempt; carried by everything that concerns it.
struct RankKey {
  JobId job;
  Attempt attempt;
  int rank = 0;
  friend auto operator<=>(const RankKey&, const RankKey&) = default;
};
/// "12.1.0": job.attempt.rank
[[nodiscard]] std::string to_string(const RankKey& key);

// ---- handshake ----------------------------------------------------------------------------------

/// First message of the side that dialled.
struct Hello {
  int protocol_version = kProtocolVersion;
  std::string role;              ///< agent | worker | zygote | keeper
  std::string token;             ///< the cluster's token; for a worker the secret of its attempt
  std::optional<NodeInfo> node;  ///< agent
  std::optional<RankKey> rank;   ///< worker
  std::vector<RankKey> running;  ///< agent, zygote, keeper: the ranks it has in hand
  std::int64_t pid = 0;
  std::string torch_version;  ///< zygote
};
struct Welcome {
  /// the receiver must stop its ranks when it hears nothing (an agent: no answer) for this long
  double lease_s = 60;
  /// how often an agent sends Heartbeat to its head, or sends it to those it serves
  double heartbeat_s = 2;
};
struct Refused {
  std::string code;     ///< an Errc name
  std::string message;  ///< for the log and the operator
};
/// agent -> head: answered by a Heartbeat of the head, in order. The agent's lease counts from when the
/// answered one was sent, the head's word on the agent from any message. agent -> supervisor, worker: renews
/// their lease, which nothing else does but Welcome.
struct Heartbeat {
  /// to those whom the agent serves: for so long from now, instead of what was said before
  std::optional<double> lease_s;
};

// ---- head -> agent ------------------------------------------------------------------------------

/// Asks rank 0's node for a TCP port that stays reserved for the attempt. Answer: PortReserved.
struct ReservePort {
  JobId job;
  Attempt attempt;
};

/// Starts the ranks of one attempt that live on the receiving node.
struct Launch {
  JobId job;
  Attempt attempt;
  JobSpec spec;
  std::string run_name;  ///< the last part of run_dir
  std::string run_dir;   ///< <storage_path>/<run_name>; created by rank 0
  std::int64_t submitted_ms = 0;
  int world_size = 1, num_nodes = 1;
  std::vector<RankPlacement> ranks;  ///< of this node, by local_rank
  std::string master_addr;
  int master_port = 0;
  std::vector<CheckpointRecord> checkpoints;  ///< complete and kept so far, oldest first
  std::int64_t next_checkpoint_index = 0;
  std::optional<ArrayTask> array;                     ///< the job is one of an array
  std::optional<ValidatedCheckpoint> validates = {};  ///< the job validates a checkpoint of another one
  std::optional<SweepTrial> sweep = {};               ///< the job trains a trial of a sweep
  std::vector<std::string> pins = {};                 ///< as in CheckpointPins
};
/// Ends the local ranks of an attempt: SIGTERM, after grace_s SIGKILL, to each rank's process group.
struct StopAttempt {
  JobId job;
  Attempt attempt;
  double grace_s = 0;
  std::string reason;
};
/// Asks an attempt to write a checkpoint at its next step boundary and to end: preemption, drain, a change of
/// size. Goes on to each worker as it is. A program without the SDK gets SIGTERM instead. After grace_s the
/// ranks are stopped as by StopAttempt.
struct YieldAttempt {
  JobId job;
  Attempt attempt;
  double grace_s = 0;
  std::string reason;
};
/// Asks ranks of an attempt to record their next training batches with Kineto. Goes on to the worker of each
/// of them as it is; each answers with RankProfile. Since version 3 of the protocol.
struct ProfileRanks {
  JobId job;
  Attempt attempt;
  std::int64_t request = 0;  ///< comes back with the answers
  std::int64_t steps = 0;    ///< training batches, 1 or more
  std::vector<int> ranks;
  double timeout_s = 0;  ///< a rank that has not recorded them all by then writes those that it has
};
/// Asks ranks of an attempt where they are. Goes on to the worker of each of them as it is; each answers with
/// RankDebug, also one whose training thread hangs. Since version 5 of the protocol.
struct DebugRanks {
  JobId job;
  Attempt attempt;
  std::int64_t request = 0;  ///< comes back with the answers; 1 or more
  std::vector<int> ranks;
};
/// What became of the validation of one of the job's checkpoints. Goes on to each worker as it is, and comes
/// again to one that joins later. Since version 4 of the protocol.
struct CheckpointValidated {
  JobId job;
  Attempt attempt;
  CheckpointRecord checkpoint;  ///< with the metrics of its validation
};
/// The checkpoints of the job, by path, that other jobs are to go on from: rank 0 deletes none of them. All
/// of them each time, instead of what was said before. Goes on to the worker of rank 0 as it is, and comes
/// again when that joins later. What confirms the report that made a checkpoint superfluous comes on the same
/// connection and after the pins that were set before it, so that no deletion overtakes a pin. Since version
/// 6 of the protocol.
struct CheckpointPins {
  JobId job;
  Attempt attempt;
  std::vector<std::string> paths;
};
/// The first `count` messages of this connection are stored and need not be sent again. Hello, Heartbeat,
/// RankProgress and LogData are not counted.
struct Taken {
  std::int64_t count = 0;
};
/// Reads a rank's log. Answer: LogData with the same request number.
struct LogRead {
  std::int64_t request = 0;
  RankKey key;
  std::int64_t offset = 0;  ///< bytes from the start; negative: that many lines from the end
  std::int64_t bytes_max = 65536;
  double wait_s = 0;  ///< at the end of a live log: wait this long for more before an empty answer
};

// ---- agent -> head ------------------------------------------------------------------------------

struct PortReserved {
  JobId job;
  Attempt attempt;
  int port = 0;
  std::string error;
};
struct RankStarted {
  RankKey key;
  std::int64_t pid = 0;
};
/// The training function is about to be entered (train_func), or the program was exec'd (command).
struct RankRunning {
  RankKey key;
};
/// One report(); from rank 0 only reaches the head. Numbered from 1 within an attempt.
struct RankReport {
  RankKey key;
  std::int64_t seq = 0;
  std::int64_t time_ms = 0;  ///< when the rank called report()
  Json metrics = Json::object();
  std::optional<CheckpointRecord> checkpoint;
  std::vector<std::string> deleted_checkpoints;  ///< paths that retention removed with this report
  /// reports of this rank that were dropped before it for want of space, since the attempt began
  std::int64_t dropped = 0;
};
/// Where the loop is, a few times a second at most; only the newest matters, may be dropped.
struct RankProgress {
  RankKey key;
  std::string stage;                        ///< sanity | train | validate | test | predict
  std::int64_t epoch = 0, max_epochs = -1;  ///< -1: no limit
  std::int64_t step = 0, steps = -1;        ///< within the epoch
  double steps_per_s = 0;
  Json prog_bar = Json::object();  ///< metrics logged with prog_bar
};
struct RankEnded {
  RankKey key;
  ExitStatus status;
  std::optional<RankError> error;  ///< present unless the rank succeeded
  Json return_value;               ///< of the training function; null if it has none
  bool yielded = false;            ///< it ended because YieldAttempt asked, with its last checkpoint reported
};
/// A rank that makes no step for the job's hang time says where it stands, once a silence; the other ranks'
/// words come the same way.
struct RankDiagnosis {
  RankKey key;
  std::string stage;                 ///< as in RankProgress; "" before the first step
  std::int64_t epoch = 0, step = 0;  ///< the last one that was finished
  double silent_s = 0;               ///< since then
  std::string collective;            ///< the collective it waits in, or the last one; "" none yet
  std::int64_t collective_seq = 0;   ///< counts the collectives of the rank, from 1
  bool in_collective = false;
};
/// The answer to ProfileRanks: a trace, or why there is none.
struct RankProfile {
  RankKey key;
  std::int64_t request = 0;
  std::int64_t steps = 0;  ///< that were recorded; fewer than asked for: `error` says why
  std::string trace;       ///< absolute path of the Chrome trace; "": there is none
  std::string error;
};
/// The answer to DebugRanks. A rank that fails says it unasked, before its end.
struct RankDebug {
  RankKey key;
  std::int64_t request = 0;  ///< 0: it was not asked
  RankSnapshot snapshot;
  std::string error;  ///< "", or why there is no snapshot
};
/// RankDebug::error of a rank that has no process any more: whoever waits for it waits in vain.
inline constexpr std::string_view kRankHasEnded = "the rank has ended";
/// What a node cannot offer any more, all of it each time: GPUs held by a process that cannot be killed.
struct NodeHealth {
  std::vector<int> quarantined_gpus;
  std::string reason;
};
/// The agent was told to stop: nothing more may be placed on its node. The ends of its ranks follow, then the
/// end of the connection.
struct Leaving {};
struct LogData {
  std::int64_t request = 0;
  /// of the first byte of the frame's body; above the one asked for when the bytes between were cut
  std::int64_t offset = 0;
  bool at_end = false;    ///< nothing more now
  bool complete = false;  ///< the rank has ended and all of its log was sent
  std::string error;      ///< "" or why there is no log
  std::string data;       ///< travels as the frame's body
};

// ---- agent <-> supervisor (zygote, keeper) ------------------------------------------------------

/// Forks one rank. Environment, log and record are complete here: the supervisor adds nothing of its own.
struct SpawnRank {
  RankKey key;
  std::vector<std::string> argv;                         ///< keeper: the program; empty for the zygote
  std::optional<TrainFunc> train_func;                   ///< zygote
  std::vector<std::pair<std::string, std::string>> env;  ///< the whole environment
  std::string working_dir;
  std::string rank_dir;     ///< absolute, exists: log, error.json, outcome.json, exit.json go here
  std::string cgroup;       ///< absolute: the control group to make for the rank; "": none
  double kill_wait_s = 30;  ///< how long a process may take to end after SIGKILL before it is told as stuck
};
struct SpawnResult {
  RankKey key;
  std::int64_t pid = 0;
  std::string error;
};  ///< error "" when it runs
/// to the process group, SIGKILL to all that the rank forked; ignored when it has ended
struct SignalRank {
  RankKey key;
  int signal = 0;
};
/// Nothing of the rank is alive any more, and its exit record is on disk. Or (stuck_pid is not 0): this
/// process of it got SIGKILL kill_wait_s ago and still lives; status is lost when it is the rank itself. The
/// end of such a process is not told.
struct SupervisedEnd {
  RankKey key;
  ExitStatus status;
  std::int64_t stuck_pid = 0;
};

// ---- worker <-> agent ---------------------------------------------------------------------------
// worker -> agent: Hello, RankRunning, RankReport, RankProgress, RankDiagnosis, RankProfile, RankDebug. agent
// -> worker: Welcome, Heartbeat (renews the lease), YieldAttempt, ProfileRanks, DebugRanks,
// CheckpointValidated, CheckpointPins.

using Message = std::variant<Hello, Welcome, Refused, Heartbeat, ReservePort, Launch, StopAttempt, LogRead,
                             PortReserved, RankStarted, RankRunning, RankReport, RankProgress, RankEnded,
                             LogData, SpawnRank, SpawnResult, SignalRank, SupervisedEnd, Leaving,
                             YieldAttempt, Taken, RankDiagnosis, NodeHealth, ProfileRanks, RankProfile,
                             CheckpointValidated, DebugRanks, RankDebug, CheckpointPins>;

/// The rank that a worker's own message is of (RankRunning, RankReport, RankProgress, RankDiagnosis,
/// RankProfile, RankDebug); nothing for any other message.
[[nodiscard]] std::optional<RankKey> rank_of(const Message& message);

/// "launch", "rank_report", ...
[[nodiscard]] std::string_view message_name(const Message& message);
[[nodiscard]] Frame encode(const Message& message);
/// kProtocol with the message's name and the field at fault. Unknown fields are skipped (a newer peer may
/// send them).
[[nodiscard]] Result<Message> decode(const Frame& frame);

}  // namespace rtrain::proto
