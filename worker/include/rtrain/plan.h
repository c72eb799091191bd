// What a strategy does in each step of a run.
#pragma once

#include <rtrain/backward_options.h>
#include <rtrain/export.h>
#include <rtrain/mesh.h>
#include <rtrain/optim.h>
#include <rtrain/state_tree.h>
#include <rtrain/weights.h>

#include <torch/types.h>
#include <nlohmann/json.hpp>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace rtrain {

class LightningModule;

/// TrainerOptions::gradient_clip_val and gradient_clip_algorithm.
struct RTRAIN_API GradientClip {
  enum class Algorithm { kNorm, kValue };
  double limit = 0;  ///< greater than 0
  Algorithm algorithm = Algorithm::kNorm;
};

/// What a plan remembers between steps beside the module and the optimizers.
struct RTRAIN_API PlanState {
  nlohmann::json shared = nullptr;                 ///< the same on every rank
  std::map<std::string, torch::Tensor> tensors{};  ///< the same on every rank
  std::map<std::string, torch::Tensor> own{};      ///< of this rank
};

/// torch's join(): a rank whose stream has ended takes part in the steps of the others.
struct RTRAIN_API JoinOptions {
  /// Gradients are divided by the number of ranks of the job; false: by that of the ranks that have a batch.
  bool divide_by_initial_world_size = true;
  bool throw_on_early_termination = false;  ///< the first stream that ends before another fails the fit
};

/// The ranks that have a batch in a joined step.
struct RTRAIN_API Contributors {
  int count = 1;
  int first = 0;  ///< the lowest of them, whose buffers count
};

/// One run of a module under a strategy. It is created at the start of the run, with the module on its
/// device, and destroyed at its end, including after a failure. The order of a step is: before_forward, the
/// module's training_step, zero_grad (first batch of an accumulation only), backward, for the last batch
/// (`sync` is true) clip and step, and after_batch. Under manual optimization training_step itself has
/// backward, zero_grad and step, any number of times and of any optimizer.
///
/// The base class trains a module that every rank holds whole, without the other ranks.
/// @thread the training thread; every rank makes the same calls in the same order.
class RTRAIN_API Plan {
 public:
  /// @lifetime module and mesh must outlive the plan.
  Plan(LightningModule& module, Mesh& mesh, torch::Device device)
      : module_(module), mesh_(mesh), device_(device) {}
  virtual ~Plan() = default;
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  /// Called once for each optimizer of the run, before the first step. A plan that shards replaces the
  /// parameters with its shards. @throws std::invalid_argument if it does not support the optimizer.
  virtual void adopt(Optimizer& /*optimizer*/) {}

  virtual void before_forward(bool /*sync*/) {}
  /// The step of a batch is over, in training or evaluation; hooks follow that see no step any more.
  virtual void after_batch() {}
  /// True if a forward is a collective: in an evaluation, too, every rank must make as many.
  [[nodiscard]] virtual bool is_forward_collective() const { return false; }
  /// The type that floating-point inputs of a step are converted to; nullopt: they stay as they are.
  [[nodiscard]] virtual std::optional<torch::ScalarType> input_type() const { return std::nullopt; }
  /// Computes the gradients of `loss`, which is already divided by the number of batches of the accumulation;
  /// if `sync`, averages them over the ranks that read different data.
  virtual void backward(const torch::Tensor& loss, bool sync, const BackwardOptions& options = {});
  /// Averages the current gradients of `parameters` outside of backward(), for an accumulation whose last
  /// batch had no loss. A rank without a gradient counts as zero; a parameter without a gradient on every
  /// rank keeps none.
  virtual void reduce_gradients(const std::vector<torch::Tensor>& parameters);
  /// Clips the gradients of the optimizer's parameters.
  /// @return the norm of all gradients before clipping, as a tensor on the device (the host does not wait for
  ///        it); undefined with kValue or without gradients.
  virtual torch::Tensor clip(Optimizer& optimizer, const GradientClip& clip);
  /// @param inputs what mixed precision found; a plan that steps in its own way passes it on.
  virtual void step(Optimizer& optimizer, const StepInputs& inputs = {});
  /// The step of an optimizer that needs_closure(). @param closure clears and computes the gradients, clips
  /// them, and returns the mean loss of all ranks. @return the first loss.
  virtual torch::Tensor step_with_closure(Optimizer& optimizer, const Closure& closure);
  /// Clears the gradients of `parameters`. They become undefined rather than zero, so that an optimizer skips
  /// parameters that a step does not use.
  virtual void zero_grad(const std::vector<torch::Tensor>& parameters);

  /// The gradients that this rank has by name, in the middle of an accumulation. The names are the plan's; no
  /// other rank reads them.
  [[nodiscard]] virtual std::map<std::string, torch::Tensor> pending_gradients() const;
  /// Puts back what pending_gradients() of the same rank, of as many, gave. Copies.
  virtual void load_pending_gradients(const std::map<std::string, torch::Tensor>& gradients);

  /// Why a step of this plan cannot be captured into a CUDA graph, with the way out; empty: it can. Of a
  /// class of one's own that does not override this: that it does not say.
  [[nodiscard]] virtual std::string why_not_captured() const;

  /// Parameters and buffers by PyTorch's names. The tensors are the module's own: copy them if they must
  /// survive the next step.
  [[nodiscard]] virtual StateTree module_state() const;
  /// @param strict false: names that only one side has are no error.
  /// @throws std::runtime_error lists every name that does not fit; nothing has changed then.
  virtual LoadedWeights load_module_state(const StateTree& saved, bool strict = true);

  // ---- ranks whose parameters differ (local SGD) -------------------------------------------------
  /// True if the parameters of this rank's module are not those of the other ranks, or may not be.
  [[nodiscard]] virtual bool ranks_differ() const { return false; }
  /// Puts parameters that are the same on every rank into the module: for what evaluates it, and at the end
  /// of a fit. step_state() keeps this rank's own. A second call does nothing.
  virtual void hold_equal_parameters() {}
  /// Ends hold_equal_parameters(): this rank's own parameters come back, and changes made meanwhile are lost.
  virtual void hold_own_parameters() {}

  // ---- streams of different lengths --------------------------------------------------------------
  /// Null: an epoch ends for all ranks with the first stream that ends.
  [[nodiscard]] virtual const JoinOptions* join() const { return nullptr; }
  /// With join(), before each batch: the ranks that have one.
  virtual void join_ranks(const Contributors& /*ranks*/) {}
  /// With join(), in the place of backward() with `sync` on a rank without a batch: adds gradients of zero.
  virtual void backward_without_batch() {}

  // ---- checkpoints -------------------------------------------------------------------------------
  /// The tensors are the plan's own: copy them if they must survive the next step.
  [[nodiscard]] virtual PlanState step_state() const { return {}; }
  /// Of a plan of the same class, once the optimizers have their state. `saved.own` is empty if the ranks are
  /// not as many as those that saved it.
  /// @throws std::runtime_error it does not fit.
  virtual void load_step_state(const PlanState& /*saved*/) {}
  /// Runs `body` with every parameter of the module whole on every rank. Changes that it makes are kept.
  virtual void with_full_parameters(const std::function<void()>& body) { body(); }

 protected:
  [[nodiscard]] LightningModule& module() const { return module_; }
  [[nodiscard]] Mesh& mesh() const { return mesh_; }
  [[nodiscard]] torch::Device device() const { return device_; }

 private:
  LightningModule& module_;
  Mesh& mesh_;
  torch::Device device_;
};

}  // namespace rtrain
