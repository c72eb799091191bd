// What a Trainer is made of. The loops share it; each owns its own counters.
#pragma once

#include "worker/trainer/evaluation_loop.h"
#include "worker/trainer/fit_loop.h"
#include "worker/trainer/hook.h"
#include "worker/trainer/metrics.h"

#include <rtrain/trainer.h>

#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rtrain {

/// Two-way tie of a Trainer and the module it ran last: whoever goes first clears its side.
struct Attachment {
  Trainer* trainer = nullptr;
  LightningModule* module = nullptr;
  static void tie(const std::shared_ptr<Attachment>& attachment, LightningModule& module);
  static void capture_modes(LightningModule& module);
  static void restore_modes(LightningModule& module) { module.restore_modes(); }
};

/// Where the ranks of this process come from, and what the options mean on this machine.
struct Placement {
  int world_size = 1, global_rank = 0, local_rank = 0;
  torch::Device device = torch::kCPU;
  std::shared_ptr<Strategy> strategy;
  bool strategy_was_auto = false;
  std::shared_ptr<ClusterEnvironment> environment;
};
/// @throws std::invalid_argument every problem of the options at once.
[[nodiscard]] Placement check_options(const TrainerOptions& options);
/// The callbacks in the order of their calls, with those that the options ask for added.
[[nodiscard]] std::vector<std::shared_ptr<Callback>> arrange_callbacks(const TrainerOptions& options);
/// Batches of one pass over `batches`, after the limit. @throws std::invalid_argument a fraction that leaves
/// none.
[[nodiscard]] std::int64_t limited(const BatchCount& limit, std::int64_t batches, const std::string& option);

/// Writes to the rank's log, on rank 0 only.
void warn(const std::string& text);

struct Trainer::Impl {
  Impl(Trainer& trainer, TrainerOptions given);
  ~Impl();

  /// A module handed over as a shared_ptr lives until the next one is, so that save_checkpoint() finds it.
  void keep(const AnyModule& given) {
    if (!running && given.owned()) owned = given.owned();
  }

  // ---- one run ----------------------------------------------------------------------------------
  void fit(LightningModule& module, const DataLoader& train, const DataLoader& val,
           const CheckpointPath& resume_from);
  Metrics evaluate(Stage function, LightningModule& module, const DataLoader& loader,
                   const CheckpointPath& weights);
  void begin(Stage function, LightningModule& module);
  void end();
  /// Runs `body`; a failure reaches the callbacks' on_exception before it leaves.
  template <class Body>
  void guarded(Body body);

  // ---- calling out ------------------------------------------------------------------------------
  template <class... P, class... A>
  void call_callbacks(Hook where, void (Callback::*hook)(Trainer&, LightningModule&, P...),
                      A&&... arguments) {
    const HookScope scope(*this, where);
    for (const auto& callback : callbacks) ((*callback).*hook)(self, *module, arguments...);
  }
  template <class R, class... P, class... A>
  R call_module(Hook where, R (LightningModule::*hook)(P...), A&&... arguments) {
    const HookScope scope(*this, where);
    return ((*module).*hook)(std::forward<A>(arguments)...);
  }
  /// Callbacks first, then the module.
  template <class... P, class... Q, class... A>
  void call(Hook where, void (Callback::*of_callback)(Trainer&, LightningModule&, P...),
            void (LightningModule::*of_module)(Q...), A&&... arguments) {
    call_callbacks(where, of_callback, arguments...);
    call_module(where, of_module, arguments...);
  }
  struct HookScope {
    HookScope(Impl& impl, Hook now)
        : run(impl), before(std::exchange(impl.current_hook, now)), exceptions(std::uncaught_exceptions()) {
      run.failed_in.clear();
    }
    ~HookScope() {
      if (std::uncaught_exceptions() > exceptions && run.failed_in.empty())
        run.failed_in = run.place_of(run.current_hook);
      run.current_hook = before;
    }
    Impl& run;
    Hook before;
    int exceptions;
  };
  /// "training_step, epoch 3, batch 17, rank 1"
  [[nodiscard]] std::string place_of(Hook hook) const;
  /// The callbacks' on_exception, and the place of the failure for whoever tells it.
  void tell(const std::exception_ptr& failure);

  /// Where the ranks have agreed to stop: the callbacks report what a restart needs, then the run ends.
  /// @throws Yielded
  void make_way_if_asked(bool stops_here);

  [[nodiscard]] Batch to_device(Batch batch);
  /// accumulate_grad_batches, or more so that fewer ranks make up the same batch (elastic_batch).
  [[nodiscard]] bool is_same_on_every_rank(std::int64_t value) const;  ///< a collective
  [[nodiscard]] std::int64_t batches_a_step() const;
  /// Each rank's own part of `loader`, as Lightning injects its samplers.
  [[nodiscard]] DataLoader distributed(const DataLoader& loader, Stage stage) const;
  [[nodiscard]] std::vector<torch::Tensor> parameters() const { return module->parameters(); }

  // ---- checkpoints (checkpoint.cpp) -------------------------------------------------------------
  /// @throws std::invalid_argument a parameter or buffer of a type that checkpoints cannot hold, when some
  /// callback will write them.
  void require_storable() const;
  [[nodiscard]] TrainerCheckpoint capture(bool weights_only);
  void write(const std::filesystem::path& path, const TrainerCheckpoint& content, bool weights_only);
  /// Which fit wrote a checkpoint: of a job's run, in which attempt. A fit that goes on from a checkpoint of
  /// an earlier attempt of its own job is the same fit.
  struct Writer {
    std::string run;  ///< the run's folder; empty outside of a job
    std::int64_t attempt = 0;
    std::string fit;  ///< drawn for each fit that begins anew
    /// Whether `before` belongs to the same job and to an attempt of it that is over.
    [[nodiscard]] bool retries(const Writer& before) const {
      return !run.empty() && before.run == run && before.attempt < attempt;
    }
    [[nodiscard]] nlohmann::json json() const;
    [[nodiscard]] static Writer of(const nlohmann::json& loop);
  };
  [[nodiscard]] static Writer new_writer();
  /// A checkpoint that an earlier attempt of this fit wrote behind the place that this one goes on from: the
  /// attempt failed before it could report, nothing refers to it, and it is made again.
  [[nodiscard]] bool left_by_earlier_attempt(const std::filesystem::path& path) const;
  void restore_module_and_callbacks(const TrainerCheckpoint& content);
  void restore_training(const TrainerCheckpoint& content);

  Trainer& self;
  TrainerOptions options;
  Placement placement;
  std::vector<std::shared_ptr<Callback>> callbacks;
  std::shared_ptr<Attachment> attachment = std::make_shared<Attachment>();
  std::shared_ptr<LightningModule> owned;  ///< a module handed over as a shared_ptr
  LightningModule* module = nullptr;       ///< during a run
  std::shared_ptr<Optimizer> optimizer;
  /// generators, put back right before the loop goes on
  std::map<std::string, torch::Tensor> resumed_rank_state;
  std::filesystem::path resumed_from;
  Writer writer;
  std::int64_t resumed_step = 0;  ///< global_step of that checkpoint

  Stage function = Stage::kFit;
  Stage stage = Stage::kFit;
  bool running = false;
  bool should_stop = false;
  Hook current_hook = Hook::kNone;
  std::int64_t batch_idx = 0;  ///< of the batch that a hook gets, for place_of()
  std::string failed_in;       ///< the innermost hook that an exception left since the latest hook began
  std::int64_t max_epochs = -1, min_epochs = 0;
  std::int64_t accumulate = 1;  ///< batches an optimizer step, with this number of ranks

  MetricBoard metrics;
  EvaluationLoop validation;  ///< inside fit
  EvaluationLoop evaluation;  ///< validate, test, predict
  FitLoop fit_loop;
};

/// What an empty loader is made of: "5 samples, batch_size 8, drop_last".
[[nodiscard]] std::string parts_of(const DataLoader& loader);

/// State of LibTorch's default generators of this process.
[[nodiscard]] std::map<std::string, torch::Tensor> generator_states(torch::Device device);
void set_generator_states(const std::map<std::string, torch::Tensor>& states, torch::Device device);
/// @param world_size, rank of the reader: picks the rank's own file. @throws std::runtime_error names path
/// and fault.
[[nodiscard]] TrainerCheckpoint read_checkpoint(const std::filesystem::path& given, int rank);

}  // namespace rtrain
