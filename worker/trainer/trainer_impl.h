// The implementation of Trainer.
#pragma once

#include "worker/checkpoint/part_reader.h"
#include "worker/checkpoint/save.h"
#include "worker/checkpoint/snapshot.h"
#include "worker/loops/evaluation_loop.h"
#include "worker/loops/fit_loop.h"
#include "worker/run/attachment.h"
#include "worker/run/run_context.h"
#include "worker/trainer/residency.h"

#include <rtrain/trainer.h>

#include <atomic>
#include <exception>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace rtrain {

/// Identifies the fit that wrote a checkpoint, by run and attempt. A fit that resumes from a checkpoint of an
/// earlier attempt of its own job is the same fit.
struct CheckpointWriter {
  std::string run;  ///< the run's folder; empty outside a job
  std::int64_t attempt = 0;
  std::string fit;  ///< drawn at random for each fit that starts anew
  /// True if `before` belongs to an earlier attempt of the same job.
  [[nodiscard]] bool retries(const CheckpointWriter& before) const {
    return !run.empty() && before.run == run && before.attempt < attempt;
  }
  [[nodiscard]] nlohmann::json json() const;
  [[nodiscard]] static CheckpointWriter of(const nlohmann::json& loop);
  [[nodiscard]] static CheckpointWriter begin();
};

struct Trainer::Impl {
  Impl(Trainer& trainer, TrainerOptions given);
  ~Impl();

  /// What the caller gives: loaders, or a data module.
  struct Data {
    DataLoaders train{}, evaluation{};
    const AnyDataModule* module = nullptr;
  };
  /// Keeps what was passed as a shared_ptr alive until the next run, so that save_checkpoint() can use it.
  void keep(const AnyModule& given, const Data& data) {
    if (given.owned()) owned = given.owned();
    owned_data = data.module != nullptr ? data.module->owned() : nullptr;
  }

  // ---- one run -----------------------------------------------------------------------------------
  void fit(const AnyModule& module, const Data& data, const CheckpointPath& resume_from);
  EvaluationMetrics evaluate(Stage function, const AnyModule& module, const Data& data,
                             const CheckpointPath& weights, bool verbose);
  /// With the module and the data of the run before. @param what "test()", for messages.
  EvaluationMetrics evaluate_last(Stage function, const char* what, const EvaluationArguments& arguments);
  Predictions predict(const AnyModule& module, const Data& data, const CheckpointPath& weights,
                      const PredictionArguments& arguments);
  // ---- training that is taken back (trial.cpp) ---------------------------------------------------
  void try_training(std::int64_t steps, const std::function<void(std::int64_t)>& before,
                    const std::function<bool(std::int64_t, const torch::Tensor&)>& after);
  bool reload_training();
  /// @throws std::logic_error elsewhere.
  void require_fit_start(const char* what) const;
  /// The folder that `given` means, once the callbacks know their folders: those called "best" and "last",
  /// and for a fit what an OnExceptionCheckpoint left. Empty: none. The same on every rank.
  /// @throws std::invalid_argument there is no best one; a name that only other programs know.
  [[nodiscard]] std::filesystem::path resolved(const CheckpointPath& given);
  void connect();
  void begin(Stage function, LightningModule& module, const Data& data);
  void make_plan(LightningModule& module, bool fitting);
  /// @throws std::invalid_argument options that manual optimization does not follow.
  void refuse_automatic_options() const;
  void make_optimizers();
  /// Under cuda_graph. @param recorder null: this device has none. @throws std::invalid_argument see
  /// require_capturable().
  void capture_steps(const std::shared_ptr<Recorder>& recorder);
  void check_sanity();
  void end();
  /// Runs `body`; if it fails, calls on_exception of the callbacks before the exception leaves.
  template <class Body>
  void guarded(Body body);
  void finalize_loggers(const std::string& status);
  /// log_hyperparams() of the loggers, unless they have the same already.
  void log_hyperparams();
  /// Calls on_exception of the callbacks and records the place of the failure for its report.
  void tell(const std::exception_ptr& failure);
  /// accumulate_grad_batches, or more if fewer ranks must make up the same global batch (elastic_batch).
  [[nodiscard]] std::int64_t batches_a_step() const;
  /// Calls a hook of the data module, if there is one.
  template <class... P, class... A>
  void call_data(Hook where, void (LightningDataModule::*hook)(P...), A&&... arguments);
  // ---- data (run_data.cpp) -----------------------------------------------------------------------
  /// Returns `loader` restricted to this rank's part, with the samplers that Lightning injects.
  [[nodiscard]] DataLoader distributed(const DataLoader& loader, Stage stage) const;
  /// The loaders of a stage: those given, else the data module's, else the module's.
  [[nodiscard]] DataLoaders loaders(Stage stage, const DataLoaders& given);
  /// What batches_of_epoch() has made already, or anew.
  [[nodiscard]] BatchSource training_data(const DataLoaders& given);
  /// Of this fit's training data, which it makes if need be.
  [[nodiscard]] std::int64_t batches_of_epoch();
  [[nodiscard]] EvaluationData evaluation_data(Stage stage, const DataLoaders& given);

  // ---- checkpoints (checkpoint.cpp) --------------------------------------------------------------
  /// @throws std::invalid_argument if a parameter or buffer has a type that checkpoints cannot store and a
  ///        callback will write them.
  void require_storable() const;
  [[nodiscard]] TrainerCheckpoint capture(bool weights_only);
  /// Once there is a plan: of a model that it shards, this rank's part. Every rank calls it.
  [[nodiscard]] TrainerCheckpoint read(const std::filesystem::path& path);
  /// The files that this rank brings. Their tensors are the run's own.
  [[nodiscard]] SaveFiles files_of(const TrainerCheckpoint& content, bool weights_only) const;
  void write(const std::filesystem::path& path, const TrainerCheckpoint& content, bool weights_only);
  /// The same with a snapshot, where the CheckpointIO writes later.
  void write_later(const std::filesystem::path& path, SaveFiles files);
  /// Waits for the saves that are still to be written. @throws what one of them threw.
  void finish_saves();
  /// The same after a failure: what cannot be written is a warning, and ranks that are gone are not waited
  /// for long.
  void finish_saves_quietly() noexcept;
  [[nodiscard]] CheckpointIO& io() const { return *run.placement.checkpoint_io; }
  /// True if an earlier attempt of this fit wrote this checkpoint after the point where the fit resumes: the
  /// attempt failed before it could report the checkpoint, nothing refers to it, and it will be written
  /// again.
  [[nodiscard]] bool left_by_earlier_attempt(const std::filesystem::path& path);
  void restore_module_and_callbacks(const TrainerCheckpoint& content);
  void restore_training(const TrainerCheckpoint& content);
  void restore_precision(const nlohmann::json& saved);
  /// @param same_ranks there are as many as those that saved it.
  void restore_plan(const TrainerCheckpoint& content, bool same_ranks);

  std::shared_ptr<Attachment> attachment = std::make_shared<Attachment>();
  std::shared_ptr<LightningModule> owned;           ///< passed as a shared_ptr
  std::shared_ptr<LightningDataModule> owned_data;  ///< passed as a shared_ptr
  bool connected = false;
  std::filesystem::path resumed_from;
  CheckpointWriter writer;
  PlanState plan_of_fit;       ///< of the fit that has ended, for a checkpoint that is saved after it
  DataLoaders given_training;  ///< of this fit
  std::optional<BatchSource> made_training;                                ///< before the loop asks for it
  std::int64_t resumed_step = 0;                                           ///< global_step of that checkpoint
  nlohmann::json logged_hparams;                                           ///< what the loggers have
  std::shared_ptr<Profiler> profiler;                                      ///< null: none
  std::shared_ptr<HostBuffers> buffers = std::make_shared<HostBuffers>();  ///< of snapshots
  /// The writing threads of other ranks are not waited for any more.
  std::shared_ptr<std::atomic<bool>> gives_up = std::make_shared<std::atomic<bool>>(false);

  RunContext run;
  const std::vector<std::shared_ptr<Callback>> own_callbacks;  ///< without those of a module
  ResidentData resident;
  EvaluationLoop validation;  ///< inside fit
  EvaluationLoop evaluation;  ///< validate, test, predict
  FitLoop fit_loop;
};

/// Each file is held against checksums.json as it is read, where the folder has one.
/// One warning of what strict_loading = false has let pass; none if all fitted.
void warn_of_misfits(const LoadedWeights& loaded);

/// Ranks that shard a model read a checkpoint together, each the elements that it holds.
struct ShardedRead {
  StateTree own;  ///< of the model
  PartReaders readers;
};

/// @param rank the rank that reads, which selects the rank's own file. @param sharded null: this rank reads
///        all of the model and the optimizers. @throws std::runtime_error names path and fault, a damaged
///        file among them.
[[nodiscard]] TrainerCheckpoint read_checkpoint(const std::filesystem::path& given, int rank,
                                                CheckpointIO& io, const ShardedRead* sharded = nullptr);

}  // namespace rtrain
