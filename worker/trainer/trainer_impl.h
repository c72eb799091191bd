// What a Trainer is made of.
#pragma once

#include "worker/loops/evaluation_loop.h"
#include "worker/loops/fit_loop.h"
#include "worker/run/attachment.h"
#include "worker/run/run_context.h"

#include <rtrain/trainer.h>

#include <exception>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

namespace rtrain {

/// Which fit wrote a checkpoint: of a job's run, in which attempt. A fit that goes on from a checkpoint of an
/// earlier attempt of its own job is the same fit.
struct CheckpointWriter {
  std::string run;  ///< the run's folder; empty outside of a job
  std::int64_t attempt = 0;
  std::string fit;  ///< drawn for each fit that begins anew
  /// Whether `before` belongs to the same job and to an attempt of it that is over.
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

  /// A module handed over as a shared_ptr lives until the next one is, so that save_checkpoint() finds it.
  void keep(const AnyModule& given) {
    if (!run.running && given.owned()) owned = given.owned();
  }

  // ---- one run -----------------------------------------------------------------------------------
  void fit(LightningModule& module, const DataLoader& train, const DataLoader& val,
           const CheckpointPath& resume_from);
  Metrics evaluate(Stage function, LightningModule& module, const DataLoader& loader,
                   const CheckpointPath& weights);
  void connect();
  void begin(Stage function, LightningModule& module);
  void make_plan(LightningModule& module, bool fitting);
  void make_optimizers();
  void check_sanity();
  void end();
  /// Runs `body`; a failure reaches the callbacks' on_exception before it leaves.
  template <class Body>
  void guarded(Body body);
  void finalize_loggers(const std::string& status);
  /// The callbacks' on_exception, and the place of the failure for whoever tells it.
  void tell(const std::exception_ptr& failure);
  /// accumulate_grad_batches, or more so that fewer ranks make up the same batch (elastic_batch).
  [[nodiscard]] std::int64_t batches_a_step() const;
  /// Each rank's own part of `loader`, as Lightning injects its samplers.
  [[nodiscard]] DataLoader distributed(const DataLoader& loader, Stage stage) const;

  // ---- checkpoints (checkpoint.cpp) --------------------------------------------------------------
  /// @throws std::invalid_argument a parameter or buffer of a type that checkpoints cannot hold, when some
  /// callback will write them.
  void require_storable() const;
  [[nodiscard]] TrainerCheckpoint capture(bool weights_only);
  void write(const std::filesystem::path& path, const TrainerCheckpoint& content, bool weights_only);
  /// A checkpoint that an earlier attempt of this fit wrote behind the place that this one goes on from: the
  /// attempt failed before it could report, nothing refers to it, and it is made again.
  [[nodiscard]] bool left_by_earlier_attempt(const std::filesystem::path& path) const;
  void restore_module_and_callbacks(const TrainerCheckpoint& content);
  void restore_training(const TrainerCheckpoint& content);

  std::shared_ptr<Attachment> attachment = std::make_shared<Attachment>();
  std::shared_ptr<LightningModule> owned;  ///< a module handed over as a shared_ptr
  bool connected = false;
  std::filesystem::path resumed_from;
  CheckpointWriter writer;
  std::int64_t resumed_step = 0;  ///< global_step of that checkpoint

  RunContext run;
  EvaluationLoop validation;  ///< inside fit
  EvaluationLoop evaluation;  ///< validate, test, predict
  FitLoop fit_loop;
};

/// @param rank of the reader: picks the rank's own file. @throws std::runtime_error names path and fault.
[[nodiscard]] TrainerCheckpoint read_checkpoint(const std::filesystem::path& given, int rank);

}  // namespace rtrain
