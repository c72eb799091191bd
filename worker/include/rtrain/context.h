// What a worker knows of its job, and how it reports. Ray's get_context(), report() and get_checkpoint().
#pragma once

#include <rtrain/export.h>

#include <torch/types.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace rtrain {

/// A folder with the files of one checkpoint, in storage or local.
class RTRAIN_API Checkpoint {
 public:
  explicit Checkpoint(std::filesystem::path path) : path_(std::move(path)) {}
  [[nodiscard]] static Checkpoint from_directory(std::filesystem::path path) {
    return Checkpoint(std::move(path));
  }
  /// A new, empty folder to write a checkpoint's files into, removed with the last copy of this object:
  /// report() has copied it by then. In a job it lies below the run's folder, hidden, and the next attempt
  /// removes what a killed rank left; else in $TMPDIR.
  /// @throws std::runtime_error it cannot be made (names path and cause).
  [[nodiscard]] static Checkpoint temporary();
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// Ray's as_directory(): the folder itself, read-only by convention (storage is a file system here).
  [[nodiscard]] const std::filesystem::path& as_directory() const { return path_; }
  /// Copies the files to `target` (made if missing). @throws std::filesystem::filesystem_error
  void to_directory(const std::filesystem::path& target) const;

 private:
  std::filesystem::path path_;
  std::shared_ptr<const void> folder_;  ///< of a temporary one: removes it
};

/// Ray's TrainContext: ranks and sizes of this worker. Outside a job: rank 0 of 1.
class RTRAIN_API TrainContext {
 public:
  [[nodiscard]] int get_world_size() const;
  /// of an elastic job: the most workers it may have; else get_world_size()
  [[nodiscard]] int get_max_world_size() const;
  [[nodiscard]] int get_world_rank() const;
  [[nodiscard]] int get_local_rank() const;
  [[nodiscard]] int get_local_world_size() const;
  [[nodiscard]] int get_node_rank() const;
  [[nodiscard]] std::string get_experiment_name() const;      ///< the job's name
  [[nodiscard]] std::string get_trial_name() const;           ///< the run's name
  [[nodiscard]] std::string get_trial_id() const;             ///< the job's id
  [[nodiscard]] std::filesystem::path get_trial_dir() const;  ///< run_dir: where checkpoints and metrics go
  [[nodiscard]] nlohmann::json get_trial_resources() const;   ///< of one worker: {"CPU": 1, "GPU": 1}
  [[nodiscard]] std::filesystem::path get_storage() const;    ///< storage_path
  /// {} (Ray's dataset metadata has no place here)
  [[nodiscard]] nlohmann::json get_metadata() const;
  [[nodiscard]] int get_attempt() const;  ///< 1 for the first try
};
/// The context of this process. @thread any
[[nodiscard]] RTRAIN_API const TrainContext& get_context();

/// Ray's report(): every rank calls it the same number of times. Metrics of rank 0 count; each report is
/// stored and the latest is Result.metrics, checkpoint or not. With a checkpoint the files of all ranks that
/// bring one are merged into <run_dir>/checkpoint_<n>/ (written beside, fsynced, renamed by rank 0 when every
/// rank has come this far), then num_to_keep applies; those ranks return together. A rank without a
/// checkpoint never waits; rank 0 must bring one where another does. No collective is used: whatever the loop
/// does between reports stays in step. Outside a job: does nothing but validate.
/// @param metrics a JSON object (numbers, strings, booleans; NaN allowed).
/// @throws std::invalid_argument metrics is no object; std::runtime_error the checkpoint could not be stored
/// (disk full: names path and cause).
/// @thread the training thread.
RTRAIN_API void report(const nlohmann::json& metrics,
                       const std::optional<Checkpoint>& checkpoint = std::nullopt);

/// The latest complete checkpoint of this job (after a restart), or resume_from_checkpoint of the spec, or
/// nothing.
[[nodiscard]] RTRAIN_API std::optional<Checkpoint> get_checkpoint();

/// True when the job is to give its place back (preemption, a drained node, an elastic job that changes its
/// size): write a checkpoint, report() it and return; the job goes on from there later, and the return counts
/// as no failure. For loops without the Trainer, which does all this by itself. To be called once a step, by
/// every rank equally often: all ranks get true at the same call, without a collective, also when they are
/// many steps apart. Costs nothing measurable until somebody asks. Once true, always true. Who does not call
/// it is ended after the grace (scheduling.preempt_grace_s, drain --deadline) and goes on from the last
/// checkpoint. Outside a job: false. @thread the training thread.
[[nodiscard]] RTRAIN_API bool should_yield();

/// What the Trainer throws when it has made way, out of the training function. Derived from nothing, so that
/// `catch (const std::exception&)` lets it pass; who catches everything throws it on.
class RTRAIN_API Yielded {};

/// Ray's get_device(): cuda:<local index> when the worker holds GPUs, else cpu. get_devices(): all of this
/// worker's.
[[nodiscard]] RTRAIN_API torch::Device get_device();
[[nodiscard]] RTRAIN_API std::vector<torch::Device> get_devices();

}  // namespace rtrain
