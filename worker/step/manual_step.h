// Trains one batch whose training_step optimizes by itself: manual optimization.
#pragma once

#include "worker/run/run_context.h"

#include <rtrain/backward_options.h>
#include <rtrain/batch.h>
#include <rtrain/lightning_optimizer.h>
#include <rtrain/step_output.h>

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>

namespace rtrain {

/// before_forward and training_step, which calls manual_backward() and steps and clears its optimizers, each
/// any number of times. Each step counts as one global_step.
class ManualStep final : public detail::OptimizerDriver {
 public:
  explicit ManualStep(RunContext& run) : run_(run) {}

  /// @return what training_step returned, with the loss detached.
  StepOutput run(const Batch& batch, std::int64_t batch_idx);
  /// LightningModule::manual_backward().
  void backward(const torch::Tensor& loss, const BackwardOptions& options);
  torch::Tensor step(Optimizer& optimizer, const Closure& closure) override;
  void zero_grad(Optimizer& optimizer) override;
  [[nodiscard]] NoSync no_sync() const { return NoSync(unsynced_); }

  void start_over() { unused_.clear(); }
  /// Gradients, by parameter name, that no step of their optimizer has used and zero_grad() has not cleared.
  [[nodiscard]] std::map<std::string, torch::Tensor> pending_gradients() const;
  /// Those of a checkpoint become gradients again.
  void expect_gradients(const std::map<std::string, torch::Tensor>& gradients);

 private:
  RunContext& run_;
  std::shared_ptr<int> unsynced_ = std::make_shared<int>(0);  ///< how many NoSync there are
  std::set<const Optimizer*> unused_;                         ///< a backward has run since their step
  bool stepped_ = false;                                      ///< in this batch
};

}  // namespace rtrain
