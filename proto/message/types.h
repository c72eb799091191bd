// Values that appear in several messages, events and API documents.
#pragma once

#include "common/base/id.h"
#include "proto/jobspec/jobspec.h"
#include "proto/json.h"

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rtrain::proto {

struct GpuInfo {
  int index = 0;  ///< NVML index on the node
  std::string uuid, name;
  std::uint64_t memory_bytes = 0;
};

/// What an agent tells of its node when it connects.
struct NodeInfo {
  std::string name;     ///< unique in the cluster; default: the host name
  std::string address;  ///< where the other nodes reach the ranks of this node
  Resources resources;  ///< totals offered: CPU, GPU, memory, custom
  std::vector<GpuInfo> gpus;
  std::map<std::string, std::string> labels;
  /// "rtrain", "torch" (empty without a zygote), "os", "kernel", "cuda_driver", "cgroup" (v2 | none)
  std::map<std::string, std::string> versions;
};

/// Where one rank runs and what it holds there.
struct RankPlacement {
  int rank = 0;  ///< global
  std::string node;
  int node_rank = 0, local_rank = 0;
  std::vector<int> gpus;  ///< NVML indices held by this rank
};

/// How a process ended. Exactly one of the three holds. A missing exit record means lost, never success.
struct ExitStatus {
  std::optional<int> exit_code;
  std::optional<int> signal;
  bool lost = false;
  [[nodiscard]] bool success() const { return exit_code == 0; }
};
/// "exited with code 3", "was killed by signal 9 (Killed)", "was lost: ..."
[[nodiscard]] std::string to_string(const ExitStatus& status);

/// The kind of a rank that says that its hyperparameters cannot be trained: a retry would come to the same,
/// and a sweep tries others.
inline constexpr std::string_view kInvalidHyperparameters = "invalid_hyperparameters";

/// Why a rank failed, from the rank's own last words where it had any.
struct RankError {
  std::string kind;                   ///< exception | exit | signal | load | lost | spawn | lease | timeout
  std::string message;                ///< one sentence: what() of the exception, dlopen's words, ...
  std::vector<std::string> log_tail;  ///< the last lines (at most 20) of the rank's log
};

/// Why a job failed: the first rank that did, with its place.
struct JobError {
  std::string kind;
  std::string message;  ///< "rank 1 on node b: killed by signal 9 (Killed)"
  std::optional<int> rank;
  std::string node;
  std::int64_t attempt = 0;
  ExitStatus status;
  std::vector<std::string> log_tail;
};

/// What became of the validation that a report asked for. Written as "pending", "validated", "timeout",
/// "failed".
enum class ValidationStatus { kPending, kValidated, kTimeout, kFailed };
[[nodiscard]] std::string_view to_string(ValidationStatus status);
[[nodiscard]] std::span<const std::string_view> enum_names(ValidationStatus);

/// The validation of a checkpoint, in a job of its own.
struct CheckpointValidation {
  ValidationStatus status = ValidationStatus::kPending;
  Json fn_kwargs = Json::object();  ///< merged into validation.train_loop_config of the job's spec
  std::optional<double> timeout_s;  ///< instead of that of the job's spec
  JobId job;                        ///< that validates; 0: none yet
  std::string error;                ///< why there is no result; "" while there may be one
  [[nodiscard]] bool pending() const { return status == ValidationStatus::kPending; }
};

/// A checkpoint that is complete in storage.
struct CheckpointRecord {
  std::string path;               ///< absolute: <run_dir>/checkpoint_000003
  std::int64_t index = 0;         ///< 3: counts the checkpoint reports of the job over all attempts, from 0
  Json metrics = Json::object();  ///< reported with it, and what its validation gave
  std::optional<CheckpointValidation> validation = {};  ///< absent: its report asked for none
  /// Rank 0 deletes it only when it has heard which checkpoints are pinned, so that another job can go on
  /// from it. False: it was written by a library that knows of no pins.
  bool pinnable = false;
  /// Not to be deleted: a job may be reading it.
  [[nodiscard]] bool pinned() const { return validation && validation->pending(); }
};

/// Whose checkpoint a job validates.
struct ValidatedCheckpoint {
  JobId job;               ///< that reported it
  std::int64_t index = 0;  ///< of the checkpoint
  std::string path;
};

/// Which trial of a sweep a job trains. The jobs of a member of a population have the same.
struct SweepTrial {
  JobId sweep;             ///< its number, from the same counter as those of jobs
  std::int64_t trial = 0;  ///< from 0
  friend bool operator==(const SweepTrial&, const SweepTrial&) = default;
};
/// "7/12": sweep and trial.
[[nodiscard]] std::string to_string(const SweepTrial& trial);

/// The place of a job within an array of jobs that were submitted together. Their numbers follow each other
/// as their indices do.
struct ArrayTask {
  JobId id;              ///< of the array: its first job's
  int index = 0;         ///< this job's, as the submission numbers them
  int count = 1;         ///< jobs of the array
  int max_running = 0;   ///< so many at a time; 0: no limit
  int min = 0, max = 0;  ///< the first and the last index
  int step = 1;          ///< from index to index; 1 for a list of them
};
/// "12_3": array and index.
[[nodiscard]] std::string to_string(const ArrayTask& task);

void to_json(Json& j, const GpuInfo& v);
void from_json(const Json& j, GpuInfo& v);
void to_json(Json& j, const NodeInfo& v);
void from_json(const Json& j, NodeInfo& v);
void to_json(Json& j, const RankPlacement& v);
void from_json(const Json& j, RankPlacement& v);
void to_json(Json& j, const ExitStatus& v);
void from_json(const Json& j, ExitStatus& v);
void to_json(Json& j, const RankError& v);
void from_json(const Json& j, RankError& v);
void to_json(Json& j, const JobError& v);
void from_json(const Json& j, JobError& v);
void to_json(Json& j, const SweepTrial& v);
void from_json(const Json& j, SweepTrial& v);
void to_json(Json& j, const ValidatedCheckpoint& v);
void from_json(const Json& j, ValidatedCheckpoint& v);
void to_json(Json& j, const CheckpointRecord& v);
void from_json(const Json& j, CheckpointRecord& v);

}  // namespace rtrain::proto
