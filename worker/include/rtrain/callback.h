// Code that runs at the same hooks as the model but is separate from it: Lightning's Callback.
#pragma once

#include <rtrain/batch.h>
#include <rtrain/detail/overrides.h>
#include <rtrain/export.h>
#include <rtrain/lightning_module.h>
#include <rtrain/names.h>
#include <rtrain/step_output.h>

#include <nlohmann/json.hpp>

#include <concepts>
#include <exception>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace rtrain {

/// When a callback runs relative to others at the same hook. It ensures that the state in a checkpoint or a
/// report is final.
enum class CallbackOrder {
  /// looks for an option before training, as a finder of learning rates: before all others
  kTuner,
  /// in the order of TrainerOptions::callbacks; at the end of a training epoch, before the module's own hook
  kPlain,
  /// reads metrics and decides (EarlyStopping): after kPlain, and at the end of an epoch after the module's
  /// hook
  kMonitor,
  kCheckpoint,  ///< writes checkpoints (ModelCheckpoint): after all decisions
  kReport,  ///< reports a checkpoint to the job (TrainReportCallback): last, so that a restart includes what
            ///< all the others did
};

/// What a callback is there for, where the Trainer adds one by itself unless TrainerOptions::callbacks has
/// it.
enum class CallbackRole {
  kOther,
  kCheckpoint,    ///< keeps checkpoints (ModelCheckpoint): enable_checkpointing
  kReport,        ///< reports checkpoints to the job (TrainReportCallback); no ModelCheckpoint is added then
  kTimeLimit,     ///< ends the fit after a time (Timer): max_time
  kModelSummary,  ///< enable_model_summary
  kProgressBar,   ///< shows how far a run is, outside of a job: enable_progress_bar
};

/// The checkpoints that fit(), validate(), test() and predict() find by a name.
enum class SavedCheckpoint {
  kBest,       ///< "best"
  kLast,       ///< "last"
  kOfFailure,  ///< left by a fit that failed; the next fit resumes from it without being told to
};

/// Every hook receives the Trainer and the module. Callbacks run by order(), then in the order of
/// TrainerOptions::callbacks, then the module's own hook runs. At the end of a training epoch
/// (on_train_epoch_end) the module's hook runs after the kPlain callbacks and before the others, so that
/// these see what it logs.
class RTRAIN_API Callback {
 public:
  virtual ~Callback() = default;

  virtual void setup(Trainer&, LightningModule&, Stage) {}
  virtual void teardown(Trainer&, LightningModule&, Stage) {}
  virtual void on_fit_start(Trainer&, LightningModule&) {}
  virtual void on_fit_end(Trainer&, LightningModule&) {}
  virtual void on_sanity_check_start(Trainer&, LightningModule&) {}
  virtual void on_sanity_check_end(Trainer&, LightningModule&) {}
  virtual void on_train_start(Trainer&, LightningModule&) {}
  virtual void on_train_end(Trainer&, LightningModule&) {}
  virtual void on_train_epoch_start(Trainer&, LightningModule&) {}
  virtual void on_train_epoch_end(Trainer&, LightningModule&) {}
  virtual void on_train_batch_start(Trainer&, LightningModule&, const Batch&, std::int64_t /*batch_idx*/) {}
  virtual void on_train_batch_end(Trainer&, LightningModule&, const StepOutput&, const Batch&,
                                  std::int64_t /*batch_idx*/) {}
  virtual void on_before_zero_grad(Trainer&, LightningModule&, Optimizer&);
  virtual void on_before_backward(Trainer&, LightningModule&, const torch::Tensor& /*loss*/);
  virtual void on_after_backward(Trainer&, LightningModule&);
  virtual void on_before_optimizer_step(Trainer&, LightningModule&, Optimizer&);
  virtual void on_validation_start(Trainer&, LightningModule&) {}
  virtual void on_validation_end(Trainer&, LightningModule&) {}
  virtual void on_validation_epoch_start(Trainer&, LightningModule&) {}
  virtual void on_validation_epoch_end(Trainer&, LightningModule&) {}
  virtual void on_validation_batch_start(Trainer&, LightningModule&, const Batch&,
                                         std::int64_t /*batch_idx*/) {}
  virtual void on_validation_batch_end(Trainer&, LightningModule&, const torch::Tensor& /*output*/,
                                       const Batch&, std::int64_t /*batch_idx*/) {}
  virtual void on_test_start(Trainer&, LightningModule&) {}
  virtual void on_test_end(Trainer&, LightningModule&) {}
  virtual void on_test_epoch_start(Trainer&, LightningModule&) {}
  virtual void on_test_epoch_end(Trainer&, LightningModule&) {}
  virtual void on_test_batch_start(Trainer&, LightningModule&, const Batch&, std::int64_t /*batch_idx*/) {}
  virtual void on_test_batch_end(Trainer&, LightningModule&, const torch::Tensor& /*output*/, const Batch&,
                                 std::int64_t /*batch_idx*/) {}
  virtual void on_predict_start(Trainer&, LightningModule&) {}
  virtual void on_predict_end(Trainer&, LightningModule&) {}
  virtual void on_predict_epoch_start(Trainer&, LightningModule&) {}
  virtual void on_predict_epoch_end(Trainer&, LightningModule&) {}
  virtual void on_predict_batch_start(Trainer&, LightningModule&, const Batch&, std::int64_t /*batch_idx*/) {}
  virtual void on_predict_batch_end(Trainer&, LightningModule&, const torch::Tensor& /*output*/, const Batch&,
                                    std::int64_t /*batch_idx*/) {}
  /// The job yields here, between two optimizer steps or within a validation (context.h, should_yield()):
  /// report() the state from which the next attempt resumes. Called on every rank; then fit() throws Yielded.
  /// TrainReportCallback reports a checkpoint.
  virtual void on_yield(Trainer&, LightningModule&) {}
  /// A hook or a step threw; the exception leaves the Trainer afterwards, unchanged. An exception that is not
  /// a std::exception is passed here as a std::runtime_error that names its type. An exception thrown by this
  /// hook is logged and dropped.
  virtual void on_exception(Trainer&, LightningModule&, const std::exception&) {}
  virtual void on_save_checkpoint(Trainer&, LightningModule&, TrainerCheckpoint&) {}
  virtual void on_load_checkpoint(Trainer&, LightningModule&, const TrainerCheckpoint&) {}

  /// The state of this callback to store in a checkpoint; null: none.
  [[nodiscard]] virtual nlohmann::json state_dict() const { return nullptr; }
  virtual void load_state_dict(const nlohmann::json&) {}
  /// The key of this callback's state in a checkpoint, which must be unique; default: the name of the type.
  /// The Trainer refuses two callbacks that store state under the same key.
  [[nodiscard]] virtual std::string state_key() const;

  /// A callback that saves or reports the Trainer's state at the end of an epoch returns kCheckpoint or
  /// kReport.
  [[nodiscard]] virtual CallbackOrder order() const { return CallbackOrder::kPlain; }
  [[nodiscard]] virtual CallbackRole role() const { return CallbackRole::kOther; }
  /// The folders of this callback's checkpoints of that name, whether they exist yet or not; the newest that
  /// exists is taken. std::nullopt: this callback keeps none of that name.
  [[nodiscard]] virtual std::optional<std::vector<std::filesystem::path>> saved(
      SavedCheckpoint /*name*/) const {
    return std::nullopt;
  }

 protected:
  /// The module's log() and log_dict(), by the rules of the hook they are called in.
  /// @throws std::logic_error outside of a run, and as LightningModule::log() does.
  void log(const std::string& name, const torch::Tensor& value, const LogOptions& options = {});
  void log(const std::string& name, double value, const LogOptions& options = {});
  void log(const std::string& name, Metric& metric, const LogOptions& options = {});
  void log_dict(const std::map<std::string, torch::Tensor>& values, const LogOptions& options = {});
  void log_dict(const std::map<std::string, double>& values, const LogOptions& options = {});

 private:
  friend class RunContext;
  [[nodiscard]] LightningModule& of_run() const;
  LightningModule* of_run_ = nullptr;  ///< the module of the run that goes on
};

namespace detail {

template <class C>
consteval bool overrides_hooks() {
  RTRAIN_CHECK_OVERRIDE(Callback, C, setup);
  RTRAIN_CHECK_OVERRIDE(Callback, C, teardown);
  RTRAIN_CHECK_OVERRIDE(Callback, C, on_fit_start);
  RTRAIN_CHECK_OVERRIDE(Callback, C, on_fit_end);
  RTRAIN_CHECK_OVERRIDE(Callback, C, on_train_start);
  RTRAIN_CHECK_OVERRIDE(Callback, C, on_train_end);
  RTRAIN_CHECK_OVERRIDE(Callback, C, on_train_epoch_start);
  RTRAIN_CHECK_OVERRIDE(Callback, C, on_train_epoch_end);
  RTRAIN_CHECK_OVERRIDE(Callback, C, on_train_batch_start);
  RTRAIN_CHECK_OVERRIDE(Callback, C, on_train_batch_end);
  RTRAIN_CHECK_OVERRIDE(Callback, C, on_before_backward);
  RTRAIN_CHECK_OVERRIDE(Callback, C, on_after_backward);
  RTRAIN_CHECK_OVERRIDE(Callback, C, on_before_optimizer_step);
  RTRAIN_CHECK_OVERRIDE(Callback, C, on_validation_end);
  RTRAIN_CHECK_OVERRIDE(Callback, C, on_validation_epoch_end);
  RTRAIN_CHECK_OVERRIDE(Callback, C, on_validation_batch_end);
  RTRAIN_CHECK_OVERRIDE(Callback, C, on_yield);
  RTRAIN_CHECK_OVERRIDE(Callback, C, on_exception);
  RTRAIN_CHECK_OVERRIDE(Callback, C, on_save_checkpoint);
  RTRAIN_CHECK_OVERRIDE(Callback, C, on_load_checkpoint);
  return true;
}

}  // namespace detail

/// An element of TrainerOptions::callbacks: a callback by value, a shared_ptr if the caller needs it
/// afterwards, or what Names<Callback>::from_json() takes.
class RTRAIN_API AnyCallback {
 public:
  template <std::derived_from<Callback> C>
  AnyCallback(C callback)
      : callback_(std::make_shared<C>(std::move(callback))) {  // NOLINT: implicit on purpose
    static_assert(detail::overrides_hooks<C>());
  }
  template <std::derived_from<Callback> C>
  AnyCallback(std::shared_ptr<C> callback) : callback_(std::move(callback)) {  // NOLINT: implicit on purpose
    static_assert(detail::overrides_hooks<C>());
  }
  /// @throws std::invalid_argument see Names::from_json().
  template <std::same_as<nlohmann::json> J>
  AnyCallback(const J& described)  // NOLINT: implicit on purpose
      : callback_(Names<Callback>::from_json(described)) {}
  [[nodiscard]] const std::shared_ptr<Callback>& get() const { return callback_; }

 private:
  std::shared_ptr<Callback> callback_;
};

/// The callbacks that a JSON list describes, such as config.value("callbacks", nlohmann::json::array()).
/// @throws std::invalid_argument all problems of all elements.
[[nodiscard]] RTRAIN_API std::vector<AnyCallback> callbacks_from(const nlohmann::json& list);

}  // namespace rtrain
