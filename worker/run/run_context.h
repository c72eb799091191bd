// The state of a Trainer's run that its loops and steps share.
#pragma once

#include "worker/run/hook.h"
#include "worker/run/live_profiling.h"
#include "worker/run/loop_progress.h"
#include "worker/run/metrics.h"
#include "worker/run/placement.h"
#include "worker/run/warn.h"
#include "worker/runtime/pulse.h"
#include "worker/runtime/yield_point.h"

#include <rtrain/batch.h>
#include <rtrain/callback.h>
#include <rtrain/lightning_module.h>
#include <rtrain/plan.h>
#include <rtrain/trainer.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rtrain {

/// One per Trainer. begin() sets, and end() clears, what belongs to one run.
/// @thread the training thread.
class RunContext {
 public:
  RunContext(Trainer& of, TrainerOptions given, Placement at,
             std::vector<std::shared_ptr<Callback>> arranged);

  // ---- hooks -------------------------------------------------------------------------------------
  template <class... P, class... A>
  void call_callbacks(Hook where, void (Callback::*hook)(Trainer&, LightningModule&, P...),
                      A&&... arguments) {
    const HookScope scope(*this, where);
    for (const auto& callback : callbacks) {
      const Timed timed(*this, [&] { return action_of(*callback, where); });
      ((*callback).*hook)(trainer, *module, arguments...);
    }
  }
  template <class R, class... P, class... A>
  R call_module(Hook where, R (LightningModule::*hook)(P...), A&&... arguments) {
    const HookScope scope(*this, where);
    const Timed timed(*this, [&] { return action_of_module(where); });
    return ((*module).*hook)(std::forward<A>(arguments)...);
  }
  /// Callbacks first, then the module.
  template <class... P, class... Q, class... A>
  void call(Hook where, void (Callback::*of_callback)(Trainer&, LightningModule&, P...),
            void (LightningModule::*of_module)(Q...), A&&... arguments) {
    call_callbacks(where, of_callback, arguments...);
    call_module(where, of_module, arguments...);
  }
  class HookScope {
   public:
    HookScope(RunContext& run, Hook now)
        : run_(run), before_(std::exchange(run.current_hook, now)), exceptions_(std::uncaught_exceptions()) {
      run_.failed_in.clear();
      if (run_.profiler != nullptr) [[unlikely]]
        start_place(now);
    }
    ~HookScope() {
      if (timed_) [[unlikely]]
        run_.stop_action();
      if (std::uncaught_exceptions() > exceptions_ && run_.failed_in.empty())
        run_.failed_in = run_.place_of(run_.current_hook);
      run_.current_hook = before_;
    }
    HookScope(const HookScope&) = delete;
    HookScope& operator=(const HookScope&) = delete;

   private:
    /// A place that is no hook is one action; of a hook each callback and the module are.
    void start_place(Hook now) {
      auto action = run_.action_of_place(now);
      timed_ = !action.empty();
      if (timed_) run_.start_action(std::move(action));
    }
    RunContext& run_;
    Hook before_;
    int exceptions_;
    bool timed_ = false;
  };
  // ---- what the profiler measures (profiled.cpp) -------------------------------------------------
  /// An action of the profiler, as long as it lives. Costs a branch if there is no profiler.
  class Timed {
   public:
    /// @param name makes the action's name, if it is needed.
    template <class Name>
    Timed(RunContext& run, Name&& name) : run_(run), on_(run.profiler != nullptr) {
      if (on_) [[unlikely]]
        run_.start_action(name());
    }
    ~Timed() {
      if (on_) [[unlikely]]
        run_.stop_action();
    }
    Timed(const Timed&) = delete;
    Timed& operator=(const Timed&) = delete;

   private:
    RunContext& run_;
    bool on_;
  };
  /// "[Callback]EarlyStopping{...}.on_train_end"
  [[nodiscard]] std::string action_of(const Callback& callback, Hook hook);
  /// "[LightningModule]Net.on_train_end"; of a step "[Strategy]DDPStrategy.training_step"
  [[nodiscard]] std::string action_of_module(Hook hook) const;
  /// "[LightningDataModule]FashionData.setup"
  [[nodiscard]] std::string action_of_data(Hook hook) const;
  /// "[Strategy]DDPStrategy.backward"
  [[nodiscard]] std::string action_of_strategy(const char* part) const;
  /// "run_training_batch"; empty: a hook.
  [[nodiscard]] std::string action_of_place(Hook place) const;
  [[nodiscard]] Batch profiled_to_device(Batch batch);
  void start_action(std::string action);
  void stop_action() noexcept;

  /// "training_step, epoch 3, batch 17, rank 1"
  [[nodiscard]] std::string place_of(Hook hook) const;

  // ---- what a loop needs of the run --------------------------------------------------------------
  [[nodiscard]] Strategy& strategy() const { return *placement.strategy; }
  [[nodiscard]] Precision& precision() const { return *placement.precision; }
  /// Calls one of the module's four steps, in the number types of the precision.
  template <class R>
  R call_step(Hook where, R (LightningModule::*step)(const Batch&, std::int64_t), const Batch& batch,
              std::int64_t index) {
    const auto types = precision().forward_scope(placement.device);
    if (const auto type = plan->input_type()) return call_module(where, step, batch_as(batch, *type), index);
    return call_module(where, step, batch, index);
  }
  /// An optimizer of the fit, as the module steps it.
  [[nodiscard]] LightningOptimizer handle(std::size_t number) const { return {optimizers[number], driver}; }
  /// Moves the batch with the transfer hooks of the data module or the module.
  [[nodiscard]] Batch to_device(Batch batch);
  /// True if to_device() is converted(), a copy to the device and nothing else, so that it may begin early:
  /// no class of the user's has transfer hooks, and nobody measures.
  [[nodiscard]] bool transfer_is_plain() const;
  /// In the number types of the precision, as to_device() begins.
  [[nodiscard]] Batch converted(Batch batch) const;
  /// What to_device() gives, of a batch whose copy began early.
  [[nodiscard]] Batch arrived(BatchCopy& copy);
  /// Yields if the ranks have agreed to stop here: the callbacks report what a restart needs, then the run
  /// ends.
  /// @throws Yielded
  void yield_if(bool stops_here);
  [[nodiscard]] bool is_same_on_every_rank(std::int64_t value) const;  ///< a collective
  /// Before anything but the forward and backward of a training batch may change a parameter: waits for the
  /// copies that a checkpoint's snapshot makes beside the training.
  void settle_parameters() {
    if (before_change) [[unlikely]]
      std::exchange(before_change, nullptr)();
  }
  /// While one lives, the module of every rank has the same parameters. An exception leaves them, because the
  /// run is over, and the device may be, too.
  class EqualParameters {
   public:
    explicit EqualParameters(RunContext& run)
        : plan_(run.plan.get()), exceptions_(std::uncaught_exceptions()) {
      run.settle_parameters();
      plan_->hold_equal_parameters();
    }
    ~EqualParameters() noexcept(false) {
      if (std::uncaught_exceptions() == exceptions_) plan_->hold_own_parameters();
    }
    EqualParameters(const EqualParameters&) = delete;
    EqualParameters& operator=(const EqualParameters&) = delete;

   private:
    Plan* plan_;
    int exceptions_;
  };
  /// Tells the callbacks which module they run with; null: none any more.
  void attach_callbacks(LightningModule* to) const;

  Trainer& trainer;
  const TrainerOptions options;
  const Placement placement;
  std::vector<std::shared_ptr<Callback>> callbacks;    ///< in calling order
  const std::vector<std::shared_ptr<Logger>> loggers;  ///< on rank 0; empty on the others
  MetricBoard metrics;
  runtime::Pulse& pulse;
  runtime::YieldPoint& yield_point;
  runtime::ProfilePoint& profile_point;
  std::unique_ptr<LiveProfiling> live_profiling;  ///< null: nobody can ask for a profile

  // ---- of the current run ------------------------------------------------------------------------
  LightningModule* module = nullptr;
  LightningDataModule* data = nullptr;  ///< null: there is none
  Profiler* profiler = nullptr;         ///< null: nothing is measured
  std::unique_ptr<Plan> plan;
  std::function<void()> before_change;  ///< null: nothing waits for settle_parameters()
  bool automatic = true;                ///< LightningModule::automatic_optimization() of the fit
  std::vector<std::shared_ptr<Optimizer>> optimizers;
  std::shared_ptr<detail::OptimizerDriver> driver;  ///< of their handles; null outside of a fit
  std::vector<LRSchedulerConfig> schedulers;
  struct {
    bool sync = true;   ///< the gradients are averaged over the ranks
    bool done = false;  ///< LightningModule::backward() ran, and not only an override
  } backward;           ///< the current, or latest, one
  Stage function = Stage::kFit, stage = Stage::kFit;
  bool running = false;
  bool should_stop = false;
  bool out_of_time = false;  ///< what stopped it is a Timer, which a run that resumes asks anew
  Hook current_hook = Hook::kNone;
  std::string failed_in;       ///< the innermost hook that threw since the latest hook began
  std::int64_t batch_idx = 0;  ///< index of the current batch, for place_of()
  /// of the loader, where an evaluation reads several in sequence
  std::optional<std::int64_t> dataloader_idx;
  std::int64_t max_epochs = -1, min_epochs = 0;
  std::int64_t accumulate = 1;            ///< batches per optimizer step, for this number of ranks
  LoopProgress epochs;                    ///< of the fit
  std::int64_t optimizer_steps = 0;       ///< of the fit: global_step
  std::int64_t batches_that_stepped = 0;  ///< of the fit; the loggers' x-axis
  /// Of each registered metric, its updates before the validation that goes on within a fit.
  std::map<const Metric*, std::int64_t> updates_before_validation;
  /// Generator states of a checkpoint, restored just before the loop resumes.
  std::map<std::string, torch::Tensor> resumed_generators;

 private:
  /// With its floating-point tensors in this type.
  [[nodiscard]] static Batch batch_as(Batch batch, torch::ScalarType type);
  // The data module's, or else the module's.
  [[nodiscard]] Batch before_transfer(Batch batch);
  [[nodiscard]] Batch transfer(Batch batch);
  [[nodiscard]] Batch after_transfer(Batch batch);
  [[nodiscard]] Batch in_memory_format(Batch batch) const;
  std::vector<std::string> actions_;                         ///< that run, the innermost last
  std::map<const Callback*, std::string> callback_actions_;  ///< "[Callback]<key>."
};

}  // namespace rtrain
