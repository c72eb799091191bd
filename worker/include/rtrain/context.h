// A worker's view of its job, and its reports: Ray's get_context(), report() and get_checkpoint().
#pragma once

#include <rtrain/export.h>

#include <torch/types.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace rtrain {

/// A folder with the files of one checkpoint, in storage or local.
class RTRAIN_API Checkpoint {
 public:
  explicit Checkpoint(std::filesystem::path path) : path_(std::move(path)) {}
  [[nodiscard]] static Checkpoint from_directory(std::filesystem::path path) {
    return Checkpoint(std::move(path));
  }
  /// Creates an empty folder for the files of a new checkpoint. It is removed with the last copy of this
  /// object, after report() has copied it. In a job it is a hidden folder below the run's folder, and the
  /// next attempt removes what a killed rank left behind; outside a job it is in $TMPDIR.
  /// @throws std::runtime_error if it cannot be created (names path and cause).
  [[nodiscard]] static Checkpoint temporary();
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// Ray's as_directory(): the folder itself, read-only by convention (storage is a file system).
  [[nodiscard]] const std::filesystem::path& as_directory() const { return path_; }
  /// Copies the files to `target`, which is created if missing. @throws std::filesystem::filesystem_error
  void to_directory(const std::filesystem::path& target) const;

  /// What was noted about the checkpoint: the object in its file .metadata.json; {} if there is none.
  /// @throws std::runtime_error the file cannot be read, or holds no JSON object.
  [[nodiscard]] nlohmann::json get_metadata() const;
  /// Replaces it, before report() or after: the file is not part of checksums.json.
  /// @throws std::invalid_argument `metadata` is no object; std::runtime_error the file cannot be written.
  void set_metadata(const nlohmann::json& metadata) const;
  /// Sets the keys of `metadata` and leaves the others. @throws as set_metadata() and get_metadata().
  void update_metadata(const nlohmann::json& metadata) const;

 private:
  std::filesystem::path path_;
  std::shared_ptr<const void> folder_;  ///< of temporary(): removes the folder
};

/// Ray's TrainContext: this worker's ranks and sizes. Outside a job: rank 0 of 1.
class RTRAIN_API TrainContext {
 public:
  [[nodiscard]] int get_world_size() const;
  /// the maximum number of workers of an elastic job; else get_world_size()
  [[nodiscard]] int get_max_world_size() const;
  [[nodiscard]] int get_world_rank() const;
  [[nodiscard]] int get_local_rank() const;
  [[nodiscard]] int get_local_world_size() const;
  [[nodiscard]] int get_node_rank() const;
  [[nodiscard]] std::string get_experiment_name() const;      ///< the job's name
  [[nodiscard]] std::string get_trial_name() const;           ///< the run's name
  [[nodiscard]] std::string get_trial_id() const;             ///< the job's id
  [[nodiscard]] std::filesystem::path get_trial_dir() const;  ///< run_dir: where checkpoints and metrics go
  [[nodiscard]] nlohmann::json get_trial_resources() const;   ///< per worker: {"CPU": 1, "GPU": 1}
  [[nodiscard]] std::filesystem::path get_storage() const;    ///< storage_path
  /// {} (Ray's dataset metadata has no counterpart here)
  [[nodiscard]] nlohmann::json get_metadata() const;
  [[nodiscard]] int get_attempt() const;  ///< from 1
};
/// The context of this process. @thread any
[[nodiscard]] RTRAIN_API const TrainContext& get_context();

/// Ray's CheckpointUploadMode: how report() brings a checkpoint into storage.
enum class CheckpointUploadMode {
  kSync,   ///< before report() returns
  kAsync,  ///< by a thread of its own, while training goes on
  /// not at all: the folder is in storage already, where all ranks and later attempts can read it. It is
  /// recorded by its path, and num_to_keep deletes it only if it lies below the run's folder.
  kNoUpload
};

/// Ray's ValidationTaskConfig: what one report says of the validation of its checkpoint.
struct RTRAIN_API ValidationTaskConfig {
  /// an object that is merged into validation.train_loop_config of the job; at most 64 KiB as JSON
  nlohmann::json fn_kwargs = nlohmann::json::object();
  std::optional<double> timeout_s{};  ///< > 0; default: validation.timeout_s of the job
};

/// Ray's arguments of report() beside metrics and checkpoint. All ranks pass the same.
struct RTRAIN_API ReportOptions {
  /// the checkpoint's folder below the run's folder; default: checkpoint_<n>. Not used before in this run;
  /// without "/", and not of the form checkpoint_<n>, or hidden
  std::string checkpoint_dir_name{};
  CheckpointUploadMode checkpoint_upload_mode = CheckpointUploadMode::kSync;
  /// removes the local folder once its files are stored; default: true with kAsync, else false
  std::optional<bool> delete_local_checkpoint_after_upload{};
  /// Brings this rank's files into storage instead of report(), and returns where they are: a folder that all
  /// ranks can read, and the same for all. It is recorded as with kNoUpload. Runs on the thread that uploads.
  std::function<Checkpoint(const Checkpoint& checkpoint, const std::string& checkpoint_dir_name)>
      checkpoint_upload_fn{};
  /// Validates the checkpoint beside the training, in a job of one worker that the job file's `validation`
  /// describes (docs/guides/checkpoints.md). The object that its function returns is merged into the metrics
  /// of the checkpoint, which is then scored by all of them, and which num_to_keep does not delete before.
  /// The options of rank 0 count. Default: no validation
  std::variant<bool, ValidationTaskConfig> validation = false;
};

/// Ray's report(). Every rank must call it the same number of times. The metrics of rank 0 are stored; those
/// of the latest report become Result.metrics, with or without a checkpoint. If a checkpoint is given, the
/// files of all ranks that pass one are merged into <run_dir>/checkpoint_<n>/ atomically (rank 0 renames the
/// folder with checksums.json after the fsync, once every rank is in this call), num_to_keep is applied, and
/// those ranks return together. A rank without a checkpoint never waits; rank 0 must pass one if any other
/// rank does. No collective is used, so the order of the loop's own collectives is not affected. Outside a
/// job it only validates.
///
/// With CheckpointUploadMode::kAsync it returns at once, unless two reports wait for the upload before them
/// already. Reports are stored in the order of the calls: those after it wait for it without holding up the
/// training, and one with a synchronous upload waits for it in the call. The files must not change before
/// wait_for_uploads(). An error of an upload is thrown by the next report() or wait_for_uploads().
/// @param metrics a JSON object (numbers, strings, booleans; NaN is allowed).
/// @throws std::invalid_argument if metrics is not an object, or the options do not fit the checkpoint;
///        std::runtime_error if the checkpoint could not be stored (disk full: names path and cause).
/// @thread the training thread.
RTRAIN_API void report(const nlohmann::json& metrics,
                       const std::optional<Checkpoint>& checkpoint = std::nullopt,
                       const ReportOptions& options = {});

/// Waits until every report so far is stored. The end of the training function and a yield of the Trainer do
/// it too. @throws what an upload threw, once. @thread the training thread.
RTRAIN_API void wait_for_uploads();

/// Ray's ReportedCheckpointStatus.
enum class ReportedCheckpointStatus {
  kCommitted,          ///< stored, without a validation
  kPendingValidation,  ///< stored, and being validated
  kValidated,          ///< its metrics have those of the validation
  kValidationTimeout,  ///< stored; the validation took too long
  kValidationFailed    ///< stored; the validation failed or was cancelled
};
/// Ray's CheckpointConsistencyMode: what get_all_reported_checkpoints() waits for.
enum class CheckpointConsistencyMode { kCommitted, kValidated };

/// Ray's ReportedCheckpoint.
struct RTRAIN_API ReportedCheckpoint {
  Checkpoint checkpoint;
  nlohmann::json metrics;  ///< of the report that brought it, and of its validation
  ReportedCheckpointStatus status = ReportedCheckpointStatus::kCommitted;
};

/// The checkpoints of the job that are kept, oldest first, those of earlier attempts among them. Waits for
/// the reports of this rank so far, and with kValidated until none of them is kPendingValidation. A
/// validation that needs the resources which this job holds starts only when the job has ended: give a
/// timeout_s where that may be. Outside a job there are none.
/// @param timeout_s std::nullopt: without a limit. Once it is over, what is stored by then is returned.
/// @throws what an upload threw; std::invalid_argument timeout_s less than 0.
/// @thread the training thread.
[[nodiscard]] RTRAIN_API std::vector<ReportedCheckpoint> get_all_reported_checkpoints(
    CheckpointConsistencyMode consistency_mode = CheckpointConsistencyMode::kValidated,
    std::optional<double> timeout_s = std::nullopt);

/// The job's latest checkpoint whose files are whole (checksums.json), after a restart; else the job file's
/// resume_from_checkpoint, else std::nullopt. @throws std::runtime_error names the file if all are damaged.
[[nodiscard]] RTRAIN_API std::optional<Checkpoint> get_checkpoint();

/// True if the job must yield (preemption, a drained node, an elastic job that changes its size): write a
/// checkpoint, report() it and return. The job resumes from it later, and the return does not count as a
/// failure. For loops without the Trainer, which does all this by itself. Call it once per step, equally
/// often on every rank: all ranks get true at the same call without a collective, even if they are many steps
/// apart. The cost is negligible until a request arrives. Once true, it stays true. A job that does not call
/// it is ended after its grace period (scheduling.preempt_grace_s, drain --deadline) and resumes from its
/// last checkpoint. Outside a job it returns false.
/// @thread the training thread.
[[nodiscard]] RTRAIN_API bool should_yield();

/// Why and until when the job must yield.
struct RTRAIN_API PreemptionInfo {
  std::string reason;  ///< the scheduler's words: "node b is drained"
  /// What has not ended by then is killed.
  std::chrono::system_clock::time_point deadline;
};
/// Ray's get_preemption_info(): std::nullopt as long as nobody has asked the job to yield. Ranks learn it at
/// different times: what they do together they do by should_yield(). @thread any
[[nodiscard]] RTRAIN_API std::optional<PreemptionInfo> get_preemption_info();

/// Thrown by the Trainer after the job has yielded; it unwinds the training function. Deliberately not a
/// std::exception, so that `catch (const std::exception&)` does not intercept it; a `catch (...)` must
/// rethrow it.
class RTRAIN_API Yielded {};

/// Ray's get_device(): cuda:<local index> if the worker holds GPUs, else cpu. get_devices() returns all
/// devices of this worker.
[[nodiscard]] RTRAIN_API torch::Device get_device();
[[nodiscard]] RTRAIN_API std::vector<torch::Device> get_devices();

}  // namespace rtrain
