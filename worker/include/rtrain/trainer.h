// The training loop: Lightning's Trainer.
#pragma once

#include <rtrain/callback.h>
#include <rtrain/cluster_environment.h>
#include <rtrain/context.h>
#include <rtrain/data/data_loader.h>
#include <rtrain/detail/overrides.h>
#include <rtrain/export.h>
#include <rtrain/lightning_module.h>
#include <rtrain/logger.h>
#include <rtrain/state_tree.h>
#include <rtrain/strategies.h>

#include <nlohmann/json.hpp>

#include <concepts>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace rtrain {

/// A number of batches (an integer) or a part of them (a fraction in [0, 1]): 10 or 0.25. Note that 1 is one
/// batch and 1.0 is all.
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

/// "auto" or a number.
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

/// Lightning's Trainer arguments and defaults. Designated initialisers want them in this order: how long, how
/// much, how, where, with what.
struct RTRAIN_API TrainerOptions {
  /// -1: no limit; left out: 1000 with a warning, or no limit when max_steps is given
  std::optional<std::int64_t> max_epochs{};
  std::optional<std::int64_t> min_epochs{};  ///< should_stop waits for so many
  std::int64_t max_steps = -1;               ///< optimizer steps; -1: no limit
  std::optional<std::int64_t> min_steps{};
  BatchCount limit_train_batches = 1.0;
  BatchCount limit_val_batches = 1.0;  ///< 0: no validation
  BatchCount limit_test_batches = 1.0;
  BatchCount limit_predict_batches = 1.0;
  /// validate after so many training batches, or after each such part of an epoch
  BatchCount val_check_interval = 1.0;
  /// nullopt: val_check_interval counts batches over all epochs
  std::optional<std::int64_t> check_val_every_n_epoch = 1;
  /// validation batches before training, metrics thrown away; -1: all
  std::int64_t num_sanity_val_steps = 2;
  std::int64_t log_every_n_steps = 50;  ///< step metrics to the loggers; 0: never
  std::int64_t accumulate_grad_batches = 1;
  /// an optimizer step of an elastic job with fewer than its most workers: "per_worker" (of fewer samples) or
  /// "keep" (of as many, by more accumulate_grad_batches; rounded)
  std::string elastic_batch = "per_worker";
  std::optional<double> gradient_clip_val{};
  std::string gradient_clip_algorithm = "norm";  ///< or "value"
  /// "auto" (the GPU this worker holds, else the CPU), "cpu", "gpu" (or "cuda")
  std::string accelerator = "auto";
  Devices devices = "auto";  ///< of this node; a number must be the job's own workers a node
  AnyStrategy strategy = "auto";
  std::vector<AnyPlugin> plugins{};  ///< at most one ClusterEnvironment
  std::vector<AnyCallback> callbacks{};
  std::vector<std::shared_ptr<Logger>> loggers{};
  /// true: a ModelCheckpoint is added when there is none. Left out: true, unless a TrainReportCallback stores
  /// checkpoints already (Lightning would write both)
  std::optional<bool> enable_checkpointing{};
  std::optional<bool> enable_progress_bar{};  ///< progress to the job's followers; left out: true
  /// with several ranks: each reads its own part (training shuffled, as Lightning does)
  bool use_distributed_sampler = true;
  /// validate(), test() and predict() run without autograd's bookkeeping
  bool inference_mode = true;
  std::filesystem::path default_root_dir{};  ///< empty: the run's folder in a job, else the working directory
  /// seed_everything() when the Trainer is made: too late for a model that was built before (a warning says
  /// so). The order of shuffled data has its own seed.
  std::optional<std::uint64_t> seed{};
};

using Metrics = std::map<std::string, double>;

/// What one checkpoint holds, as on_save_checkpoint and on_load_checkpoint see it.
struct RTRAIN_API TrainerCheckpoint {
  /// parameters and buffers by PyTorch's names, as far as this rank holds them: model.safetensors
  StateTree model{};
  /// "<optimizer>.<parameter name>.<state name>": optimizer.safetensors; empty with weights only
  std::map<std::string, torch::Tensor> optimizer{};
  /// of this rank: generators, gradients of a half-done accumulation, metrics so far
  std::map<std::string, torch::Tensor> rank{};
  /// loop.json: format, version, epoch, global_step, progress, metrics, optimizers, writer
  nlohmann::json loop = nlohmann::json::object();
  nlohmann::json callbacks = nlohmann::json::object();  ///< by Callback::state_key()
  nlohmann::json module = nlohmann::json::object();     ///< the user's own
};

/// What fit() resumes from: nothing, a folder written by save_checkpoint(), or a reported Checkpoint that
/// holds "checkpoint.ckpt".
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

/// What a Trainer runs: a LightningModule by reference, as a temporary, as a shared_ptr, or in its holder
/// (TORCH_MODULE).
class RTRAIN_API AnyModule {
 public:
  /// @throws std::invalid_argument a null pointer or an empty holder.
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
  /// null for a reference
  [[nodiscard]] const std::shared_ptr<LightningModule>& owned() const { return owned_; }

 private:
  void hold(std::shared_ptr<LightningModule> module);
  LightningModule* module_ = nullptr;
  std::shared_ptr<LightningModule> owned_;
};

/// Runs the loop of one rank. Every rank of a job makes the same calls. One run at a time; use it again for
/// the next.
/// @thread one thread.
class RTRAIN_API Trainer {
 public:
  /// @throws std::invalid_argument every problem of the options at once, one a line.
  explicit Trainer(TrainerOptions options);
  ~Trainer();
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  /// Trains. @param train, val empty: the module's own train_dataloader(), val_dataloader().
  /// @param resume_from exact: parameters, optimizer, generators, callbacks and the place in the epoch. A run
  ///        resumed from its step k gives the bits of a run that never ended (CPU, same world), also when
  ///        max_steps or should_stop had ended it within an epoch: the rest of that epoch follows (the hooks
  ///        of its end have run for the shorter one as well). get_checkpoint() gives the job's latest.
  ///        should_stop is part of the state: a run that was stopped at the end of an epoch, and a retry of a
  ///        job that was stopped anywhere, stays stopped until max_epochs or max_steps is raised.
  /// @throws what a step, a hook or the data threw, as it was thrown; where the text is told (the job's
  /// error,
  ///         or stderr outside of a job) it begins with hook, epoch, batch and rank; std::invalid_argument
  ///         options that do not fit the data; std::runtime_error a checkpoint that does not fit the model
  ///         (all names at once) or cannot be read.
  /// @lifetime a module passed by reference must live until fit() returns (for save_checkpoint() afterwards:
  ///           until then).
  void fit(const AnyModule& module, const DataLoader& train = {}, const DataLoader& val = {},
           const CheckpointPath& resume_from = {});
  /// Means over the loader of what the steps log (on_epoch). Without gradients, in eval mode.
  Metrics validate(const AnyModule& module, const DataLoader& loader = {},
                   const CheckpointPath& weights = {});
  Metrics test(const AnyModule& module, const DataLoader& loader = {}, const CheckpointPath& weights = {});
  /// What predict_step returned, batch by batch; with several ranks each rank's own part, without padding.
  std::vector<torch::Tensor> predict(const AnyModule& module, const DataLoader& loader = {},
                                     const CheckpointPath& weights = {});

  /// Writes a folder `path` (whole or absent): model.safetensors, optimizer.safetensors, loop.json,
  /// rng-rank<k>.safetensors. Called by every rank, in a hook or after fit(); rank 0 writes what is common.
  /// `path` may be shared or local to each rank. A checkpoint that has this path is replaced as a whole;
  /// anything else there is left alone.
  /// @throws std::runtime_error names path and cause (also: what lies there is no checkpoint);
  ///         std::logic_error there is no module any more.
  void save_checkpoint(const std::filesystem::path& path, bool weights_only = false);

  [[nodiscard]] Metrics callback_metrics() const;      ///< Lightning's: everything logged, the latest value
  [[nodiscard]] Metrics logged_metrics() const;        ///< those with logger = true
  [[nodiscard]] Metrics progress_bar_metrics() const;  ///< those with prog_bar = true
  /// epochs completed: the number, from 0, of the one that runs
  [[nodiscard]] std::int64_t current_epoch() const;
  [[nodiscard]] std::int64_t global_step() const;           ///< optimizer steps taken
  [[nodiscard]] std::int64_t num_training_batches() const;  ///< an epoch, after limits; 0 before fit()
  [[nodiscard]] std::int64_t num_val_batches() const;       ///< of one validation of this fit
  /// of the validation, test or prediction that runs now
  [[nodiscard]] std::int64_t num_evaluation_batches() const;
  [[nodiscard]] bool should_stop() const;
  /// Ends the fit after this batch (and a validation), once min_epochs and min_steps are reached. Every rank
  /// must say so.
  void set_should_stop(bool stop = true);
  /// From the next accumulation on; for callbacks, at the start of an epoch. The same on every rank.
  /// @throws std::invalid_argument less than 1.
  void set_accumulate_grad_batches(std::int64_t batches);
  [[nodiscard]] Stage stage() const;
  [[nodiscard]] bool fitting() const;  ///< inside fit(), whatever its stage
  [[nodiscard]] bool sanity_checking() const { return stage() == Stage::kSanityCheck; }
  [[nodiscard]] bool is_last_batch() const;       ///< of the training epoch
  [[nodiscard]] bool validation_has_run() const;  ///< in this fit, the sanity check not counted
  /// What this fit resumed from; empty: it started anew.
  [[nodiscard]] std::filesystem::path resumed_from() const;
  [[nodiscard]] std::int64_t max_epochs() const;  ///< -1: no limit
  [[nodiscard]] bool is_global_zero() const { return global_rank() == 0; }
  [[nodiscard]] int global_rank() const;
  [[nodiscard]] int local_rank() const;
  [[nodiscard]] int world_size() const;
  [[nodiscard]] torch::Device device() const;
  [[nodiscard]] Strategy& strategy() const;
  [[nodiscard]] const std::vector<std::shared_ptr<Callback>>& callbacks() const;
  [[nodiscard]] const TrainerOptions& options() const;
  [[nodiscard]] std::filesystem::path default_root_dir() const;

  struct Impl;  ///< the SDK's own

 private:
  /// A checkpoint that an earlier attempt of this fit wrote behind the place that this one goes on from.
  [[nodiscard]] bool left_by_earlier_attempt(const std::filesystem::path& path) const;

  friend class LightningModule;
  friend class ModelCheckpoint;
  friend RTRAIN_API Trainer& prepare_trainer(Trainer& trainer);
  std::unique_ptr<Impl> impl_;
};

/// Lightning's seed_everything(): seeds LibTorch's default generators of this process. Called before the
/// model is built, each run draws the same parameters. The order of shuffled data comes from
/// DataLoaderOptions::seed. @thread the training thread.
RTRAIN_API void seed_everything(std::uint64_t seed);

/// Ray's prepare_trainer: the strategy must be one that the job's process group can serve ("auto", "ddp",
/// DDPStrategy) and a cluster environment, if one is given, ClusterEnvironment. @throws std::invalid_argument
/// all problems at once. @return the same trainer.
RTRAIN_API Trainer& prepare_trainer(Trainer& trainer);

}  // namespace rtrain
