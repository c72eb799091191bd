// What a strategy does in each step of a run.
#pragma once

#include <rtrain/backward_options.h>
#include <rtrain/export.h>
#include <rtrain/mesh.h>
#include <rtrain/optim.h>
#include <rtrain/state_tree.h>
#include <rtrain/weights.h>

#include <torch/types.h>

#include <functional>
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

/// One run of a module under a strategy. It is created at the start of the run, with the module on its
/// device, and destroyed at its end, including after a failure. The order of a step is: before_forward, the
/// module's training_step, zero_grad (first batch of an accumulation only), backward, and for the last batch
/// (`sync` is true) clip and step. Under manual optimization training_step itself has backward, zero_grad and
/// step, any number of times and of any optimizer.
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

  /// Why a step of this plan cannot be captured into a CUDA graph, with the way out; empty: it can. Of a
  /// class of one's own that does not override this: that it does not say.
  [[nodiscard]] virtual std::string why_not_captured() const;

  /// Parameters and buffers by PyTorch's names. The tensors are the module's own: copy them if they must
  /// survive the next step.
  [[nodiscard]] virtual StateTree module_state() const;
  /// @param strict false: names that only one side has are no error.
  /// @throws std::runtime_error lists every name that does not fit; nothing has changed then.
  virtual LoadedWeights load_module_state(const StateTree& saved, bool strict = true);
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
