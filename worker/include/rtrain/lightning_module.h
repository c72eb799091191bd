// The user's model with its steps and hooks: Lightning's LightningModule.
#pragma once

#include <rtrain/backward_options.h>
#include <rtrain/batch.h>
#include <rtrain/data/data_loaders.h>
#include <rtrain/export.h>
#include <rtrain/hyperparameters_mixin.h>
#include <rtrain/lightning_optimizer.h>
#include <rtrain/metrics/metric.h>
#include <rtrain/optim.h>
#include <rtrain/stage.h>
#include <rtrain/step_output.h>

#include <torch/nn/module.h>
#include <nlohmann/json.hpp>

#include <concepts>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rtrain {

class Trainer;
class Callback;
class Logger;
class Mesh;
class RunContext;  // internal to the SDK
struct TrainerCheckpoint;
struct Attachment;  // links a Trainer to the module it runs

/// How the values of a metric become one: those of an epoch's steps, and with sync_dist those of the ranks.
enum class ReduceFx { kMean, kSum, kMin, kMax };

/// Lightning's arguments of log(). on_step and on_epoch default by hook: training_step and the training batch
/// hooks log on_step, all others on_epoch. If both are set, the metric is named `name_step` and `name_epoch`.
struct RTRAIN_API LogOptions {
  std::optional<bool> on_step{};
  std::optional<bool> on_epoch{};
  bool prog_bar = false;
  bool logger = true;
  ReduceFx reduce_fx = ReduceFx::kMean;  ///< over the steps of an epoch, and over the ranks with sync_dist
  bool sync_dist = false;                ///< reduce over all ranks; every rank must then log the metric
  /// weight of this value in the epoch's mean; default: Batch::size()
  std::optional<std::int64_t> batch_size{};
  bool rank_zero_only = false;  ///< only rank 0 logs it; it is never reduced over ranks
  /// in an evaluation of several loaders, names end in /dataloader_idx_N; with false each loader's metrics
  /// need names of their own
  bool add_dataloader_idx = true;
};

/// The Trainer calls the steps and hooks in Lightning's order (tests/golden/hooks), callbacks before the
/// module, and runs backward and the optimizer.
/// @thread the training thread only. @lifetime the Trainer keeps a module alive only if it was passed as a
///        shared_ptr.
class RTRAIN_API LightningModule : public torch::nn::Module, public HyperparametersMixin {
 public:
  LightningModule() = default;
  ~LightningModule() override;
  // A copied or moved module has the same layers and metrics, and is not attached to a Trainer.
  LightningModule(const LightningModule& other)
      : torch::nn::Module(other),
        HyperparametersMixin(other),
        automatic_optimization_(other.automatic_optimization_),
        strict_loading_(other.strict_loading_),
        metrics_(other.metrics_) {}
  LightningModule(LightningModule&& other) noexcept
      : torch::nn::Module(std::move(other)),
        HyperparametersMixin(std::move(other)),
        automatic_optimization_(other.automatic_optimization_),
        strict_loading_(other.strict_loading_),
        metrics_(other.metrics_) {}
  LightningModule& operator=(const LightningModule&) = delete;

  // ---- steps ------------------------------------------------------------------------------------
  /// @param batch on device(). @return the loss (StepOutput says in which forms).
  virtual StepOutput training_step(const Batch& batch, std::int64_t batch_idx);
  /// The returned tensor is passed only to the on_*_batch_end hooks; it may be undefined.
  virtual torch::Tensor validation_step(const Batch& batch, std::int64_t batch_idx);
  virtual torch::Tensor test_step(const Batch& batch, std::int64_t batch_idx);
  virtual torch::Tensor predict_step(const Batch& batch, std::int64_t batch_idx);
  /// Called once per fit, after the parameters are on their device. Automatic optimization takes one
  /// optimizer, or none, with a warning: then nothing is learned.
  virtual Optimizers configure_optimizers();

  // ---- logging ----------------------------------------------------------------------------------
  /// Lightning's log(). Cheap: a tensor is stored detached, and read only when its value is needed.
  /// @param value a tensor of one element, or a number.
  /// @throws std::logic_error in a hook that cannot log (on_fit_start, on_train_end, ...), with on_step and
  ///        on_epoch both false, with on_step in an epoch hook, or for a name logged twice in one hook with
  ///        different options.
  void log(const std::string& name, const torch::Tensor& value, const LogOptions& options = {});
  void log(const std::string& name, double value, const LogOptions& options = {});
  void log_dict(const std::map<std::string, torch::Tensor>& values, const LogOptions& options = {});
  void log_dict(const std::map<std::string, double>& values, const LogOptions& options = {});
  /// Keeps a metric with the module, on its device. Checkpoints within an epoch have its states.
  ///    rtrain::metrics::Accuracy& acc = register_metric("acc", rtrain::metrics::Accuracy({...}));
  /// @param name within this module, not empty, without a dot.
  /// @return the metric, which lives as long as the module and its copies.
  /// @throws std::invalid_argument the name is taken, empty, or has a dot.
  template <std::derived_from<Metric> M>
  M& register_metric(const std::string& name, M metric) {
    const auto kept = std::make_shared<M>(std::move(metric));
    keep_metric(name, kept);
    return *kept;
  }
  /// Lightning's log() of a metric object. on_step: the value of the latest batch alone, which
  /// metric(preds, target) has; on_epoch: of all ranks' data of the epoch (sync_dist is not needed), and then
  /// the metric is reset. One with several outputs is logged as `name_output` each.
  /// @param name may be empty for one with several outputs.
  /// @throws std::logic_error it is not registered with the module or one below it; on_step of one that was
  ///         only updated; as log() of a tensor.
  void log(const std::string& name, Metric& metric, const LogOptions& options = {});
  /// The outputs under their own names: of a MetricCollection.
  void log_dict(Metric& metric, const LogOptions& options = {}) { log("", metric, options); }
  /// By name, those of modules below with their names before ("encoder.acc").
  [[nodiscard]] std::vector<std::pair<std::string, std::shared_ptr<Metric>>> registered_metrics() const;

  // ---- what trains ------------------------------------------------------------------------------
  /// Lightning's freeze(): no parameter needs a gradient, and all layers are in eval mode.
  void freeze() { freeze(*this); }
  /// All parameters need one, and all layers are in train mode.
  void unfreeze() { unfreeze(*this); }
  /// The same of a part of the module. Before fit(), or at the start of an epoch, on every rank; an optimizer
  /// keeps what it has of a frozen parameter. BackboneFinetuning freezes by epoch.
  static void freeze(torch::nn::Module& part);
  static void unfreeze(torch::nn::Module& part);
  /// Lightning's example_input_array: a batch that predict_step() takes, of any size. ModelSummary tells the
  /// sizes of the layers' inputs and outputs with it.
  virtual std::optional<Batch> example_input() { return std::nullopt; }

  // ---- where it is ------------------------------------------------------------------------------
  /// @throws std::logic_error if the module is not attached to a Trainer.
  [[nodiscard]] Trainer& trainer() const;
  /// Lightning's device_mesh: how the strategy arranges the ranks. For configure_model(), which makes
  /// parallel layers with its groups. @throws std::logic_error if the module is not attached to a Trainer.
  [[nodiscard]] Mesh& device_mesh() const;
  [[nodiscard]] std::int64_t current_epoch() const;  ///< 0 without a Trainer
  [[nodiscard]] std::int64_t global_step() const;    ///< optimizer steps so far; 0 without a Trainer
  /// Of the batch in an evaluation that reads several loaders; else 0. Lightning passes it to the hooks.
  [[nodiscard]] std::int64_t dataloader_idx() const;
  /// the device of the first parameter or buffer; the CPU if there is neither
  [[nodiscard]] torch::Device device() const;
  [[nodiscard]] int global_rank() const;  ///< 0 without a Trainer
  [[nodiscard]] int local_rank() const;   ///< on its node; 0 without a Trainer
  /// Trainer::loggers(): none but on rank 0. @throws std::logic_error if the module is not attached to a
  /// Trainer.
  [[nodiscard]] const std::vector<std::shared_ptr<Logger>>& loggers() const;
  /// Writes a line to the log, on rank 0 only.
  void print(const std::string& text) const;
  /// Every rank's `value`, stacked: shape [world_size, shape of value]. Shape and type must be the same on
  /// all ranks, which all call it. No gradient flows through it.
  /// @throws std::logic_error if the module is not attached to a Trainer.
  [[nodiscard]] torch::Tensor all_gather(const torch::Tensor& value) const;

  // ---- loading ----------------------------------------------------------------------------------
  /// Lightning's strict_loading, true by default. With false, a checkpoint may lack parameters of the module,
  /// or have others: they keep their values, and one warning names them.
  [[nodiscard]] bool strict_loading() const { return strict_loading_; }
  void set_strict_loading(bool strict) { strict_loading_ = strict; }

  // ---- optimization -----------------------------------------------------------------------------
  /// The optimizers and schedulers that configure_optimizers() returned, in its order. lr_scheduler() is of
  /// the fit, not of an optimizer: numbers count all.
  /// @throws std::logic_error outside of a fit; std::out_of_range no such number.
  [[nodiscard]] LightningOptimizer optimizer(std::size_t number = 0) const;
  [[nodiscard]] std::vector<LightningOptimizer> optimizers() const;
  [[nodiscard]] LRScheduler& lr_scheduler(std::size_t number = 0) const;
  [[nodiscard]] std::vector<std::shared_ptr<LRScheduler>> lr_schedulers() const;

  /// Lightning's automatic_optimization, true by default. With false, training_step itself calls
  /// manual_backward(), and step() and zero_grad() of its optimizers, and steps its schedulers; each step()
  /// is one global_step. TrainerOptions::gradient_clip_val and accumulate_grad_batches are refused then.
  [[nodiscard]] bool automatic_optimization() const { return automatic_optimization_; }
  /// In the constructor, or any time before fit(). @throws std::logic_error within a fit.
  void set_automatic_optimization(bool automatic);
  /// on_before_backward, backward(), on_after_backward. Averages the gradients over the ranks, unless a
  /// no_sync() lives: every rank makes the same calls. Gradients add up until zero_grad(). A checkpoint holds
  /// those that no step has used yet; call zero_grad() between a step and the next manual_backward().
  /// @throws std::logic_error under automatic optimization, outside of a fit, for a loss without a graph, or
  ///        one that is no scalar and has no options.gradient.
  void manual_backward(const torch::Tensor& loss, const BackwardOptions& options = {});
  /// For losses that reach parameters of several optimizers (a GAN's): the others get no gradients meanwhile.
  ///    const auto toggled = toggle_optimizer(optimizer(1));
  /// Required with DDP where a loss does not reach all parameters, or DDPOptions::find_unused_parameters is.
  [[nodiscard]] ToggledOptimizer toggle_optimizer(const Optimizer& optimizer) const;
  /// For all but the last manual_backward() of an accumulation.
  /// @throws std::logic_error under automatic optimization or outside of a fit.
  [[nodiscard]] NoSync no_sync() const;
  /// Clips the gradients of the optimizer's parameters.
  /// @param gradient_clip_val none: the Trainer's; 0: nothing happens.
  /// @param gradient_clip_algorithm "norm" (of all gradients together) or "value"; none: the Trainer's.
  /// @throws std::invalid_argument a value that differs from the one that the Trainer was given, or is
  ///        negative or not finite; another algorithm. std::logic_error outside of a fit.
  void clip_gradients(Optimizer& optimizer, std::optional<double> gradient_clip_val = {},
                      const std::optional<std::string>& gradient_clip_algorithm = {});

  // ---- data -------------------------------------------------------------------------------------
  /// Used if neither the call of fit(), validate(), test() or predict() nor its data module gives a loader.
  virtual DataLoaders train_dataloader() { return {}; }
  virtual DataLoaders val_dataloader() { return {}; }
  virtual DataLoaders test_dataloader() { return {}; }
  virtual DataLoaders predict_dataloader() { return {}; }
  /// BatchSizeFinder calls it: the next train_dataloader() has batches of this size.
  /// @return false: there is nothing to set (the default).
  virtual bool set_batch_size(std::int64_t /*size*/) { return false; }
  virtual Batch on_before_batch_transfer(Batch batch);
  virtual Batch transfer_batch_to_device(Batch batch, torch::Device device);
  virtual Batch on_after_batch_transfer(Batch batch);

  // ---- hooks ------------------------------------------------------------------------------------
  virtual void prepare_data() {}  ///< on local rank 0 only; the other ranks wait for it
  virtual void setup(Stage) {}
  virtual void teardown(Stage) {}
  virtual void configure_model() {}
  /// Callbacks of this run beside the Trainer's; of the same type they take the place of the Trainer's.
  /// Called first of all hooks, in fit(), validate(), test() and predict().
  virtual std::vector<std::shared_ptr<Callback>> configure_callbacks() { return {}; }
  virtual void on_fit_start() {}
  virtual void on_fit_end() {}
  virtual void on_train_start() {}
  virtual void on_train_end() {}
  virtual void on_train_epoch_start() {}
  virtual void on_train_epoch_end() {}
  /// @return -1 to skip the rest of the epoch, including this batch.
  virtual int on_train_batch_start(const Batch&, std::int64_t /*batch_idx*/) { return 0; }
  virtual void on_train_batch_end(const StepOutput&, const Batch&, std::int64_t /*batch_idx*/) {}
  virtual void on_before_zero_grad(Optimizer&);
  virtual void on_before_backward(const torch::Tensor& /*loss*/);
  virtual void on_after_backward();
  virtual void on_before_optimizer_step(Optimizer&);
  /// With the last batch of an accumulation. `closure` is training_step, clearing and backward; it must be
  /// called. Default: optimizer.step(closure), which goes on with on_before_optimizer_step, clipping and the
  /// step. Not with manual optimization. An override that calls closure() alone learns without a step. The
  /// call counts as one global_step, whether or not it steps.
  virtual void optimizer_step(std::int64_t epoch, std::int64_t batch_idx, LightningOptimizer& optimizer,
                              const Closure& closure);
  /// Default: clears as the strategy wants it, which may be zeros rather than none.
  virtual void optimizer_zero_grad(std::int64_t epoch, std::int64_t batch_idx, Optimizer& optimizer);
  /// Computes the gradients. Default: loss.backward() as the strategy does it. An override calls this one
  /// with other options; with several ranks, one that does not is refused.
  virtual void backward(const torch::Tensor& loss, const BackwardOptions& options);
  /// Before every step of automatic optimization. Default: clip_gradients() with the Trainer's values.
  virtual void configure_gradient_clipping(Optimizer& optimizer, std::optional<double> gradient_clip_val,
                                           const std::string& gradient_clip_algorithm);
  /// Steps one scheduler. Not with manual optimization. @param metric what its configuration monitors;
  /// nullopt: it monitors nothing.
  virtual void lr_scheduler_step(LRScheduler& scheduler, std::optional<double> metric);
  virtual void on_validation_model_zero_grad();  ///< clears the gradients
  virtual void on_validation_model_eval();       ///< eval mode
  virtual void on_validation_model_train();      ///< restores the previous mode of each submodule
  virtual void on_validation_start() {}
  virtual void on_validation_end() {}
  virtual void on_validation_epoch_start() {}
  virtual void on_validation_epoch_end() {}
  virtual void on_validation_batch_start(const Batch&, std::int64_t /*batch_idx*/) {}
  virtual void on_validation_batch_end(const torch::Tensor& /*output*/, const Batch&,
                                       std::int64_t /*batch_idx*/) {}
  virtual void on_test_model_eval();
  virtual void on_test_model_train();
  virtual void on_test_start() {}
  virtual void on_test_end() {}
  virtual void on_test_epoch_start() {}
  virtual void on_test_epoch_end() {}
  virtual void on_test_batch_start(const Batch&, std::int64_t /*batch_idx*/) {}
  virtual void on_test_batch_end(const torch::Tensor& /*output*/, const Batch&, std::int64_t /*batch_idx*/) {}
  virtual void on_predict_model_eval();
  virtual void on_predict_start() {}
  virtual void on_predict_end() {}
  virtual void on_predict_epoch_start() {}
  virtual void on_predict_epoch_end() {}
  virtual void on_predict_batch_start(const Batch&, std::int64_t /*batch_idx*/) {}
  virtual void on_predict_batch_end(const torch::Tensor& /*output*/, const Batch&,
                                    std::int64_t /*batch_idx*/) {}
  /// Write and read the `module` part of the checkpoint.
  virtual void on_save_checkpoint(TrainerCheckpoint&) {}
  virtual void on_load_checkpoint(const TrainerCheckpoint&) {}

 private:
  friend class Trainer;
  friend struct Attachment;
  void restore_modes();
  /// The Trainer's, where one runs fit(). @throws std::logic_error says what was called outside of one.
  [[nodiscard]] RunContext& fit_of(const char* what) const;
  std::shared_ptr<Attachment> attachment_;
  void keep_metric(const std::string& name, std::shared_ptr<Metric> metric);
  bool automatic_optimization_ = true, strict_loading_ = true;
  std::vector<std::pair<std::string, std::shared_ptr<Metric>>> metrics_;
  /// train or eval mode of each submodule before evaluation
  std::vector<std::pair<torch::nn::Module*, bool>> modes_;
};

}  // namespace rtrain
