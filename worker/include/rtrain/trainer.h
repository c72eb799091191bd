// The training loop: Lightning's Trainer.
#pragma once

#include <rtrain/callback.h>
#include <rtrain/checkpoint_io.h>
#include <rtrain/cluster_environment.h>
#include <rtrain/context.h>
#include <rtrain/data/data_loaders.h>
#include <rtrain/data/data_module.h>
#include <rtrain/detail/overrides.h>
#include <rtrain/duration.h>
#include <rtrain/export.h>
#include <rtrain/lightning_module.h>
#include <rtrain/logger.h>
#include <rtrain/precision.h>
#include <rtrain/profiler.h>
#include <rtrain/state_tree.h>
#include <rtrain/strategies.h>

#include <nlohmann/json.hpp>

#include <concepts>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace rtrain {

/// A count of batches: an integer is a number of batches, a floating-point value in [0, 1] is a fraction of
/// them. `1` means one batch, `1.0` means all.
class RTRAIN_API BatchCount {
 public:
  template <std::integral T>
  constexpr BatchCount(T batches)
      : batches_(static_cast<std::int64_t>(batches)) {}  // NOLINT: implicit on purpose
  template <std::floating_point T>
  constexpr BatchCount(T fraction)
      : fraction_(static_cast<double>(fraction)), is_fraction_(true) {}  // NOLINT: implicit on purpose
  [[nodiscard]] constexpr bool is_fraction() const { return is_fraction_; }
  [[nodiscard]] constexpr double fraction() const { return fraction_; }
  [[nodiscard]] constexpr std::int64_t batches() const { return batches_; }
  [[nodiscard]] constexpr bool is_zero() const { return is_fraction_ ? fraction_ == 0 : batches_ == 0; }
  [[nodiscard]] std::string text() const;

 private:
  std::int64_t batches_ = 0;
  double fraction_ = 0;
  bool is_fraction_ = false;
};

/// How many devices each node uses: "auto" or a count.
class RTRAIN_API Devices {
 public:
  Devices(const char* text) : text_(text) {}                           // NOLINT: implicit on purpose
  Devices(int count) : text_(std::to_string(count)), count_(count) {}  // NOLINT: implicit on purpose
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] std::optional<int> count() const { return count_; }

 private:
  std::string text_;
  std::optional<int> count_;
};

/// TrainerOptions::deterministic: true, false or "warn".
class RTRAIN_API Deterministic {
 public:
  Deterministic(bool on) : text_(on ? "true" : "false") {}  // NOLINT: implicit on purpose
  Deterministic(const char* text) : text_(text) {}          // NOLINT: implicit on purpose
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] bool is_on() const { return text_ != "false"; }
  [[nodiscard]] bool only_warns() const { return text_ == "warn"; }

 private:
  std::string text_;
};

/// Lightning's Trainer arguments and defaults. Designated initialisers must follow this order: how long, how
/// much, how, where, with what.
struct RTRAIN_API TrainerOptions {
  /// -1: no limit; default: 1000 with a warning, or no limit if max_steps is set
  std::optional<std::int64_t> max_epochs{};
  /// should_stop has no effect before; default: 0, or 1 with min_steps
  std::optional<std::int64_t> min_epochs{};
  std::int64_t max_steps = -1;              ///< optimizer steps; -1: no limit
  std::optional<std::int64_t> min_steps{};  ///< should_stop has no effect before; default: 0
  /// stops after so much time of training, over all attempts of a job ("90m", "DD:HH:MM:SS" or a duration):
  /// adds a Timer, unless the callbacks hold one; min_epochs and min_steps come first
  std::optional<Duration> max_time{};
  BatchCount limit_train_batches = 1.0;
  BatchCount limit_val_batches = 1.0;  ///< 0: no validation
  BatchCount limit_test_batches = 1.0;
  BatchCount limit_predict_batches = 1.0;
  /// trains and validates on the first batches only, in the same order in each epoch (shuffling is off);
  /// 0.0: on all
  BatchCount overfit_batches = 0.0;
  /// tries every step of the program with so many batches and one epoch: no sanity check, no loggers, no
  /// checkpoints, no early stop, no tuning; 0: off
  std::int64_t fast_dev_run = 0;
  /// validate every N training batches (1 or more), or after each fraction of an epoch (above 0.0, up to 1.0)
  BatchCount val_check_interval = 1.0;
  /// 1 or more; std::nullopt: val_check_interval counts batches across epochs
  std::optional<std::int64_t> check_val_every_n_epoch = 1;
  /// validation batches to run before training, with their metrics discarded; -1: all
  std::int64_t num_sanity_val_steps = 2;
  std::int64_t log_every_n_steps = 50;       ///< training steps between step metrics for loggers; 0: never
  std::int64_t accumulate_grad_batches = 1;  ///< batches per optimizer step, 1 or more
  /// what an elastic job with fewer workers than its maximum does to the global batch: "per_worker" lets it
  /// shrink, "keep" preserves its size by raising accumulate_grad_batches (rounded)
  std::string elastic_batch = "per_worker";
  std::optional<double> gradient_clip_val{};     ///< finite, 0 or more; 0 or default: no clipping
  std::string gradient_clip_algorithm = "norm";  ///< or "value"
  /// "32-true" (the default), "64-true", "bf16-mixed", "16-mixed" (on the CPU: "bf16-mixed", with a warning),
  /// "bf16-true", "16-true", their short forms 16, 32, 64 and "bf16", or a Precision
  AnyPrecision precision{};
  /// float32 matrix products on a GPU: "highest", "high" (TF32) or "medium"; default: as the process has it.
  /// For the whole process, from the construction of the Trainer on.
  std::optional<std::string> matmul_precision{};
  /// true: operations that have no deterministic implementation throw; "warn": they warn. Also sets
  /// CUBLAS_WORKSPACE_CONFIG. Default: as the process has it. For the whole process, from the construction of
  /// the Trainer on.
  std::optional<Deterministic> deterministic{};
  /// cuDNN times its algorithms for each new shape and takes the fastest; default: as the process has it, or
  /// false with `deterministic`. For the whole process, from the construction of the Trainer on.
  std::optional<bool> benchmark{};
  /// backward fails at the first operation that gives NaN, and names it. Slow; during fit() only
  bool detect_anomaly = false;
  /// with several ranks, batch norms of a training step use the statistics of all ranks' batches
  bool sync_batchnorm = false;
  /// captures a training step with its optimizer into a CUDA graph and replays it: for steps that wait for
  /// the host. Same results; docs/guides/gpus.md says what a step may then do. On the CPU: a warning, and
  /// nothing else
  bool cuda_graph = false;
  /// weights and batches of convolutions (4 dimensions) lie in memory as NHWC, which tensor cores want; same
  /// results to rounding
  bool channels_last = false;
  /// "auto" (this worker's GPU, or the CPU if it has none), "cpu", "gpu" or "cuda"
  std::string accelerator = "auto";
  Devices devices = "auto";  ///< a number must equal the job's workers per node
  AnyStrategy strategy = "auto";
  /// at most one ClusterEnvironment, one CheckpointIO, and one Precision, which only without `precision`
  std::vector<AnyPlugin> plugins{};
  std::vector<AnyCallback> callbacks{};
  std::vector<AnyLogger> loggers{};
  /// true: adds a ModelCheckpoint if there is none. Default: true, unless a TrainReportCallback already
  /// stores checkpoints (Lightning would write both)
  std::optional<bool> enable_checkpointing{};
  /// sends progress to clients that follow the job; default: true
  std::optional<bool> enable_progress_bar{};
  /// true: adds a ModelSummary if there is none, which prints a table of the layers. Default: false
  /// (Lightning: true)
  std::optional<bool> enable_model_summary{};
  /// nothing but training, to measure its speed: no loggers, no checkpoints, no progress, no summary, no
  /// sanity check; log() does nothing, with a warning. What contradicts it is refused.
  bool barebones = false;
  /// with several ranks, give each rank its own part of the data (shuffled for training, as in Lightning)
  bool use_distributed_sampler = true;
  /// ask for the loaders of training and of validation again once so many epochs have passed; 0: never
  std::int64_t reload_dataloaders_every_n_epochs = 0;
  /// run validate(), test() and predict() under torch::InferenceMode
  bool inference_mode = true;
  /// in a checkpoint, weights of more bytes than this are several files with an index, in Hugging Face's
  /// layout: model-00001-of-00003.safetensors and model.safetensors.index.json. A tensor that is larger has a
  /// file of its own. More than 0; default: Hugging Face's 5 GB
  std::int64_t max_shard_size = 5'000'000'000;
  /// default: the run's folder in a job, else the working directory
  std::filesystem::path default_root_dir{};
  /// calls seed_everything() when the Trainer is constructed. A model built before that is not affected; a
  /// warning says so. The order of shuffled data has its own seed.
  std::optional<std::uint64_t> seed{};
  /// "simple", "pytorch" or a profiler; default: nothing is measured
  AnyProfiler profiler{};
  /// log_hyperparams() of the loggers after on_fit_start
  bool enable_autolog_hparams = true;

  /// Options by their names: TrainerOptions::from_json(config.json()["trainer"]). Callbacks, loggers,
  /// profiler, strategy and precision by the names that are registered (Names), with their options.
  /// @throws std::invalid_argument all at once: options that do not exist, with the nearest one that does;
  ///         options of Lightning's that are not here, with what does the same; values of the wrong type.
  [[nodiscard]] static TrainerOptions from_json(const nlohmann::json& options);
};

/// Logged metrics by name.
using Metrics = std::map<std::string, double>;

/// What validate() and test() return: all metrics, and those of each loader.
struct RTRAIN_API EvaluationMetrics : Metrics {
  /// Lightning's list: what the steps of a loader logged, and what the hooks of the end did. One at least.
  std::vector<Metrics> by_loader{};
};

/// The content of one checkpoint, as on_save_checkpoint and on_load_checkpoint see it.
struct RTRAIN_API TrainerCheckpoint {
  /// this rank's part of the parameters and buffers, by PyTorch's names: model.safetensors
  StateTree model{};
  /// this rank's part of "<optimizer>.<parameter name>.<state name>": optimizer.safetensors; empty if weights
  /// only
  StateTree optimizer{};
  /// this rank's own state: generators, gradients of an incomplete accumulation, metrics so far
  std::map<std::string, torch::Tensor> rank{};
  /// loop.json: format, version, epoch, global_step, progress, metrics, optimizers, writer
  nlohmann::json loop = nlohmann::json::object();
  nlohmann::json callbacks = nlohmann::json::object();  ///< by Callback::state_key()
  nlohmann::json module = nlohmann::json::object();     ///< the user's own state
  /// tensors of callbacks and of the module, by names that begin with whose they are ("WeightAveraging."):
  /// extra.safetensors. The same on every rank, and rank 0's are stored; or parts of which each rank has its
  /// own, as `model` has them, with the same names on every rank
  StateTree tensors{};
};

/// Where fit() resumes: nowhere, a folder written by save_checkpoint(), or a reported Checkpoint that
/// contains "checkpoint.ckpt". "best" is best_model_path() of the first ModelCheckpoint, after a fit; "last"
/// the newest of the checkpoints that the ModelCheckpoints called "last" and of OnExceptionCheckpoint's (none
/// there yet: a warning, and nothing is read). A folder of one of these names is written "./best".
class RTRAIN_API CheckpointPath {
 public:
  CheckpointPath() = default;
  CheckpointPath(std::nullopt_t) {}                                           // NOLINT: implicit on purpose
  CheckpointPath(std::filesystem::path path) : path_(std::move(path)) {}      // NOLINT: implicit on purpose
  CheckpointPath(const char* path) : path_(path) {}                           // NOLINT: implicit on purpose
  CheckpointPath(const std::string& path) : path_(path) {}                    // NOLINT: implicit on purpose
  CheckpointPath(const Checkpoint& checkpoint) : path_(checkpoint.path()) {}  // NOLINT: implicit on purpose
  CheckpointPath(const std::optional<Checkpoint>& checkpoint)
      : path_(checkpoint ? checkpoint->path() : "") {}                       // NOLINT: implicit on purpose
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }  ///< empty: none

 private:
  std::filesystem::path path_;
};

namespace detail {

template <class T>
inline constexpr bool kIsSharedPointer = false;
template <class T>
inline constexpr bool kIsSharedPointer<std::shared_ptr<T>> = true;

template <class M>
consteval bool is_lightning_module() {
  constexpr bool derived = std::is_convertible_v<M*, LightningModule*>;
  static_assert(derived,
                "the Trainer runs a rtrain::LightningModule: derive the model publicly from it, not from "
                "torch::nn::Module");
  if constexpr (derived) {
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, training_step);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, validation_step);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, test_step);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, predict_step);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, configure_optimizers);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, train_dataloader);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, val_dataloader);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, test_dataloader);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, predict_dataloader);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, prepare_data);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, setup);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, teardown);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, configure_model);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, configure_callbacks);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, on_fit_start);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, on_fit_end);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, on_train_start);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, on_train_end);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, on_train_epoch_start);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, on_train_epoch_end);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, on_train_batch_start);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, on_train_batch_end);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, on_before_zero_grad);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, on_before_backward);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, on_after_backward);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, on_before_optimizer_step);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, optimizer_step);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, optimizer_zero_grad);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, backward);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, configure_gradient_clipping);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, lr_scheduler_step);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, on_validation_epoch_start);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, on_validation_epoch_end);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, on_validation_batch_end);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, on_test_epoch_end);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, on_save_checkpoint);
    RTRAIN_CHECK_OVERRIDE(LightningModule, M, on_load_checkpoint);
  }
  return derived;
}

}  // namespace detail

/// Of validate() and test().
struct RTRAIN_API EvaluationArguments {
  DataLoaders dataloaders{};  ///< default: of the data module of the latest run, or of the module
  CheckpointPath ckpt_path{};
  bool verbose = true;  ///< prints a table of the metrics on rank 0
};

/// Of predict().
struct RTRAIN_API PredictionArguments {
  bool return_predictions = true;  ///< false: empty lists; a PredictionWriter gets them
  bool keep_on_device = false;     ///< false: what predict_step returns is copied to the CPU, as in Lightning
};

/// What predict_step returned, batch by batch, and loader by loader: all of it, and apart for each loader.
/// The tensors are the same ones.
struct RTRAIN_API Predictions : std::vector<torch::Tensor> {
  std::vector<std::vector<torch::Tensor>> by_loader;  ///< by loader, in order; of one loader one list
};

/// The module a Trainer runs: a LightningModule by reference, as a temporary, as a shared_ptr, or in its
/// holder (TORCH_MODULE).
class RTRAIN_API AnyModule {
 public:
  /// @throws std::invalid_argument if given a null pointer or an empty holder.
  template <class M>
    requires(!std::same_as<std::remove_cvref_t<M>, AnyModule>)
  AnyModule(M&& module) {  // NOLINT: implicit on purpose
    using Given = std::remove_cvref_t<M>;
    if constexpr (detail::kIsSharedPointer<Given>) {
      if constexpr (detail::is_lightning_module<typename Given::element_type>()) hold(module);
    } else if constexpr (requires { typename Given::ContainedType; }) {
      if constexpr (detail::is_lightning_module<typename Given::ContainedType>())
        hold(module.is_empty() ? nullptr : module.ptr());
    } else {
      constexpr bool is_const = std::is_const_v<std::remove_reference_t<M>>;
      static_assert(!is_const, "the Trainer changes the module that it runs: it cannot be const");
      if constexpr (!is_const && detail::is_lightning_module<Given>()) module_ = &module;
    }
  }
  [[nodiscard]] LightningModule& get() const { return *module_; }
  /// null if the module was passed by reference
  [[nodiscard]] const std::shared_ptr<LightningModule>& owned() const { return owned_; }

 private:
  void hold(std::shared_ptr<LightningModule> module);
  LightningModule* module_ = nullptr;
  std::shared_ptr<LightningModule> owned_;
};

/// Runs the training loop of one rank. All ranks of a job make the same calls. A Trainer runs one fit,
/// validation, test or prediction at a time and can be reused for the next.
/// @thread one thread.
class RTRAIN_API Trainer {
 public:
  /// @throws std::invalid_argument lists every problem of the options, one per line.
  explicit Trainer(TrainerOptions options);
  ~Trainer();
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  /// Trains the module.
  /// @param train, val if empty, the module's own train_dataloader() and val_dataloader(). Several train
  ///        loaders are read together, several for validation in sequence (DataLoaders).
  /// @param resume_from restores parameters, optimizer, generators, callbacks and the position in the epoch;
  ///        get_checkpoint() gives the job's latest. A run resumed from step k is bit-identical to one that
  ///        was never interrupted (CPU, same world size). This holds also if max_steps or should_stop ended
  ///        the run within an epoch: the rest of that epoch follows (its end hooks have then run for the
  ///        shortened epoch as well). should_stop is part of the state: a run that stopped at the end of an
  ///        epoch, and a retry of a job that stopped anywhere, stay stopped until max_epochs or max_steps is
  ///        raised.
  /// @throws whatever a step, a hook or the data threw, unchanged; the job's error (outside a job: stderr)
  ///        prefixes its text with hook, epoch, batch and rank. std::invalid_argument if the options do not
  ///        fit the data. std::runtime_error if a checkpoint cannot be read or does not fit the model (lists
  ///        all names).
  /// @lifetime a module passed by reference must outlive fit(), and a later save_checkpoint().
  void fit(const AnyModule& module, const DataLoaders& train = {}, const DataLoaders& val = {},
           const CheckpointPath& resume_from = {});
  /// @lifetime a data module passed by reference must outlive fit(); a later save_checkpoint() leaves out the
  ///           state of one that is gone.
  void fit(const AnyModule& module, const AnyDataModule& data, const CheckpointPath& resume_from = {});
  /// Returns the means over the loader of what the steps log (on_epoch), and prints them. Runs without
  /// gradients and in eval mode. Of several loaders the names tell which one it is of:
  /// "acc/dataloader_idx_1".
  EvaluationMetrics validate(const AnyModule& module, const DataLoaders& loaders = {},
                             const CheckpointPath& weights = {}, bool verbose = true);
  EvaluationMetrics validate(const AnyModule& module, const AnyDataModule& data,
                             const CheckpointPath& weights = {}, bool verbose = true);
  EvaluationMetrics test(const AnyModule& module, const DataLoaders& loaders = {},
                         const CheckpointPath& weights = {}, bool verbose = true);
  EvaluationMetrics test(const AnyModule& module, const AnyDataModule& data,
                         const CheckpointPath& weights = {}, bool verbose = true);
  /// With the module of the latest run, and without a ckpt_path with its best checkpoint, which a warning
  /// says:
  ///    trainer.fit(model, loaders);
  ///    trainer.test({.dataloaders = test_loader});
  /// @throws std::logic_error there is no such module, or one passed as a temporary is gone;
  ///         std::invalid_argument no ModelCheckpoint knows a best checkpoint: pass the module, or a path.
  EvaluationMetrics validate(const EvaluationArguments& arguments = {});
  EvaluationMetrics test(const EvaluationArguments& arguments = {});
  /// Returns what predict_step returned, on the CPU; with several ranks, each rank's own part without
  /// padding:
  ///    for (const auto& batch : trainer.predict(model, loader)) ...
  ///    const auto of_second = trainer.predict(model, {first, second}).by_loader.at(1);
  Predictions predict(const AnyModule& module, const DataLoaders& loaders = {},
                      const CheckpointPath& weights = {}, const PredictionArguments& arguments = {});
  Predictions predict(const AnyModule& module, const AnyDataModule& data, const CheckpointPath& weights = {},
                      const PredictionArguments& arguments = {});

  /// Writes a folder `path` atomically: model.safetensors, optimizer.safetensors, loop.json, checksums.json,
  /// rng-rank<k>.safetensors. Every rank calls it, in a hook or after fit(); rank 0 writes the shared files.
  /// `path` may be shared or local to each rank. A checkpoint already at this path is replaced as a whole;
  /// anything else there is left alone. It is written by checkpoint_io(); with AsyncCheckpointIO it appears
  /// some time after this returns.
  /// @throws std::runtime_error names path and cause (also if `path` exists and is not a checkpoint);
  ///        std::logic_error if there is no module any more.
  void save_checkpoint(const std::filesystem::path& path, bool weights_only = false);

  /// Waits until a snapshot that AsyncCheckpointIO asked for is complete. A hook calls it before it changes
  /// parameters outside of an optimizer step; the optimizer step does so by itself.
  void wait_for_snapshot();
  [[nodiscard]] CheckpointIO& checkpoint_io() const;  ///< LocalCheckpointIO, unless plugins holds another

  [[nodiscard]] Metrics callback_metrics() const;      ///< the latest value of everything logged
  [[nodiscard]] Metrics logged_metrics() const;        ///< metrics logged with logger = true
  [[nodiscard]] Metrics progress_bar_metrics() const;  ///< metrics logged with prog_bar = true
  /// epochs completed, which is the number of the current one, from 0
  [[nodiscard]] std::int64_t current_epoch() const;
  /// optimizer steps taken; under manual optimization those of all optimizers
  [[nodiscard]] std::int64_t global_step() const;
  /// Steps of this (or the latest) fit that were replayed from a CUDA graph; 0 without cuda_graph.
  [[nodiscard]] std::int64_t graphed_steps() const;
  /// per epoch, after limits; 0 before fit(). Of a stream: at most so many, or kUnknownBatches
  [[nodiscard]] std::int64_t num_training_batches() const;
  /// Optimizer steps of the whole fit under automatic optimization, for schedulers that need to know
  /// (OneCycleLR's total_steps); -1: no limit. In configure_optimizers() it makes the training data earlier
  /// than otherwise, as Lightning. should_stop may end the fit before.
  /// @throws std::logic_error outside of a fit.
  [[nodiscard]] std::int64_t estimated_stepping_batches();
  [[nodiscard]] std::int64_t num_val_batches() const;  ///< per validation of this fit, of all loaders
  [[nodiscard]] std::int64_t dataloader_idx() const;   ///< LightningModule::dataloader_idx()
  /// Of the run that goes on, or of the latest one if it lives still; null: it had none.
  [[nodiscard]] LightningDataModule* datamodule() const;
  /// of the loader that the validation, test or prediction in progress reads
  [[nodiscard]] std::int64_t num_evaluation_batches() const;
  [[nodiscard]] bool should_stop() const;
  /// Ends the fit after this batch (and a validation), once min_epochs and min_steps are reached. Every rank
  /// must call it.
  void set_should_stop(bool stop = true);
  /// The optimizers of the current (or latest) fit.
  [[nodiscard]] const std::vector<std::shared_ptr<Optimizer>>& optimizers() const;
  /// Their schedulers, which a callback may replace in on_fit_start or between two epochs.
  [[nodiscard]] std::vector<LRSchedulerConfig>& lr_scheduler_configs();
  /// For callbacks that measure: a row for the loggers, now and as it is, at the training's x (batches that
  /// stepped), and into callback_metrics(). Every rank calls it; rank 0's loggers get it.
  void log_metrics(const Metrics& metrics);
  /// True if the step metrics of the current batch go to the loggers (log_every_n_steps).
  [[nodiscard]] bool logs_this_step() const;
  /// Visits the batches of an epoch of the fit's training data, on the device. Nothing counts, and no hook
  /// runs but those of the transfer. Between two epochs, or after the last.
  /// @throws std::logic_error outside of the training of a fit.
  void for_each_training_batch(const std::function<void(const Batch&)>& body);
  /// For callbacks that look for an option (CallbackOrder::kTuner), in on_fit_start: makes up to `steps`
  /// steps of the optimizer with the fit's data, epoch after epoch. A step takes accumulate_grad_batches
  /// batches, or what is left of the epoch. Calls training_step and the hooks of backward and step, no
  /// others; what is logged goes nowhere. Afterwards weights, buffers, optimizers, precision and generators
  /// are what they were, also if something throws.
  /// @param before gets the number of the step, from 0. @param after gets the mean of its batches' losses,
  /// too;
  ///        undefined if none had one. false: no more steps.
  /// @throws std::logic_error elsewhere, or under manual optimization.
  void try_training(std::int64_t steps, const std::function<void(std::int64_t)>& before,
                    const std::function<bool(std::int64_t, const torch::Tensor&)>& after);
  /// In on_fit_start: train_dataloader() is asked anew. @return false: loaders were passed to fit().
  bool reload_train_dataloader();
  /// The places in the data set of the samples of a batch of the predict() that goes on, in order.
  [[nodiscard]] std::vector<std::int64_t> prediction_indices(std::int64_t batch_idx) const;
  /// From the next accumulation on; for callbacks, at the start of an epoch. The same on every rank.
  /// @throws std::invalid_argument less than 1; std::logic_error more than 1 under manual optimization.
  void set_accumulate_grad_batches(std::int64_t batches);
  [[nodiscard]] Stage stage() const;
  [[nodiscard]] bool fitting() const;  ///< inside fit(), at any stage
  [[nodiscard]] bool sanity_checking() const { return stage() == Stage::kSanityCheck; }
  [[nodiscard]] bool is_last_batch() const;       ///< of the training epoch
  [[nodiscard]] bool validation_has_run() const;  ///< in this fit, not counting the sanity check
  /// The checkpoint this fit resumed from; empty if it started anew.
  [[nodiscard]] std::filesystem::path resumed_from() const;
  [[nodiscard]] std::int64_t max_epochs() const;  ///< -1: no limit
  [[nodiscard]] bool is_global_zero() const { return global_rank() == 0; }
  [[nodiscard]] int global_rank() const;
  [[nodiscard]] int local_rank() const;
  [[nodiscard]] int world_size() const;
  [[nodiscard]] torch::Device device() const;
  [[nodiscard]] Strategy& strategy() const;
  [[nodiscard]] std::string precision() const;  ///< its name, without short forms: "bf16-mixed"
  [[nodiscard]] Precision& precision_plugin() const;
  [[nodiscard]] const std::vector<std::shared_ptr<Callback>>& callbacks() const;
  /// On rank 0 those of TrainerOptions; empty on the others, which log nothing.
  [[nodiscard]] const std::vector<std::shared_ptr<Logger>>& loggers() const;
  [[nodiscard]] Logger* logger() const;  ///< the first of loggers(); null: there is none
  /// The first logger's folder, or default_root_dir() if it has none. The same on every rank only if the
  /// loggers are given a version, or in a job.
  [[nodiscard]] std::filesystem::path log_dir() const;
  [[nodiscard]] Profiler& profiler() const;  ///< one that measures nothing if there is none
  [[nodiscard]] const TrainerOptions& options() const;
  [[nodiscard]] std::filesystem::path default_root_dir() const;

  struct Impl;  ///< internal to the SDK

 private:
  /// True if an earlier attempt of this fit wrote this checkpoint after the point where the fit resumes.
  [[nodiscard]] bool left_by_earlier_attempt(const std::filesystem::path& path) const;
  /// set_should_stop(), but a run that resumes is not bound to it.
  void stop_for_time();

  friend class LightningModule;
  friend class ModelCheckpoint;
  friend class Timer;
  friend RTRAIN_API Trainer& prepare_trainer(Trainer& trainer);
  std::unique_ptr<Impl> impl_;
};

/// Lightning's seed_everything(): seeds this process's default generators of LibTorch. Call it before
/// building the model to get the same initial parameters in each run. The order of shuffled data comes from
/// DataLoaderOptions::seed.
/// @thread the training thread.
RTRAIN_API void seed_everything(std::uint64_t seed);

/// Ray's prepare_trainer(): checks that the job's process group can serve the strategy ("auto", "ddp" or
/// DDPStrategy) and that a cluster environment, if given, is a ClusterEnvironment.
/// @return the same trainer. @throws std::invalid_argument lists all problems.
RTRAIN_API Trainer& prepare_trainer(Trainer& trainer);

}  // namespace rtrain
