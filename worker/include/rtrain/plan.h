// What a strategy does in each step of one run.
#pragma once

#include <rtrain/export.h>
#include <rtrain/mesh.h>
#include <rtrain/optim.h>
#include <rtrain/state_tree.h>

#include <torch/types.h>

#include <functional>
#include <string>
#include <vector>

namespace rtrain {

class LightningModule;

/// TrainerOptions::gradient_clip_val and gradient_clip_algorithm.
struct RTRAIN_API GradientClip {
  enum class Algorithm { kNorm, kValue };
  double limit = 0;  ///< more than 0
  Algorithm algorithm = Algorithm::kNorm;
};

/// One run of a module under a strategy. It is made when the run begins, with the module on its device, and
/// destroyed when it ends, however it ends. A step is: before_forward, the module's training_step, zero_grad
/// with the first batch of an accumulation, backward; and with the last batch, where `sync` is true, clip and
/// step.
///
/// The base class is a module that every rank holds whole and trains alone.
/// @thread the training thread; every rank makes the same calls in the same order.
class RTRAIN_API Plan {
 public:
  /// @lifetime module and mesh outlive the plan.
  Plan(LightningModule& module, Mesh& mesh, torch::Device device)
      : module_(module), mesh_(mesh), device_(device) {}
  virtual ~Plan() = default;
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  /// An optimizer of the run, once, before its first step. One that shards puts its shards in the place of
  /// the parameters. @throws std::invalid_argument an optimizer that it cannot serve.
  virtual void adopt(Optimizer& /*optimizer*/) {}

  virtual void before_forward(bool /*sync*/) {}
  /// Gradients of `loss`, which is divided by the batches of the accumulation already; averaged over the
  /// ranks that read different data when `sync`.
  virtual void backward(const torch::Tensor& loss, bool sync);
  /// Averages the gradients that `parameters` have outside of backward(), for an accumulation whose last
  /// batch had no loss. A rank without a gradient counts as zero; a parameter without a gradient on every
  /// rank stays without one.
  virtual void reduce_gradients(const std::vector<torch::Tensor>& parameters);
  /// Of the optimizer's parameters.
  /// @return the norm of all gradients before, as a tensor on the device that nothing waits for; undefined
  ///         with kValue or without gradients.
  virtual torch::Tensor clip(Optimizer& optimizer, const GradientClip& clip);
  virtual void step(Optimizer& optimizer);
  /// Clears the gradients of `parameters`: they are absent afterwards, so that an optimizer passes by a
  /// parameter that a step leaves out.
  virtual void zero_grad(const std::vector<torch::Tensor>& parameters);

  /// Parameters and buffers by PyTorch's names. The tensors are the module's own: copy what must not change
  /// with the next step.
  [[nodiscard]] virtual StateTree module_state() const;
  /// @throws std::runtime_error all that does not fit, by name; nothing is changed then.
  virtual void load_module_state(const StateTree& saved);
  /// Runs `body` while every parameter of the module is whole on every rank. What it writes is kept.
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
