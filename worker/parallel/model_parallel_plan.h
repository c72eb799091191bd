// A run of a module some of whose parameters are split over a tensor-parallel group.
#pragma once

#include <rtrain/parallel/partition.h>
#include <rtrain/plan.h>

#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

namespace rtrain::parallel {

/// What the ranks of a tensor-parallel group do together, around what the replicas of a rank do.
class ModelParallelPlan final : public Plan {
 public:
  /// @param replicas averages gradients over the ranks that hold the same parameters.
  ModelParallelPlan(LightningModule& module, Mesh& mesh, torch::Device device, std::unique_ptr<Plan> replicas,
                    const std::vector<SplitParameter>& split);

  void adopt(Optimizer& optimizer) override;
  void before_forward(bool sync) override { replicas_->before_forward(sync); }
  /// The layers that groups share sum up and gather in it.
  [[nodiscard]] bool is_forward_collective() const override {
    return replicas_->is_forward_collective() || !tensor_group().is_alone() ||
           !mesh().group(Axis::kContext).is_alone();
  }
  void backward(const torch::Tensor& loss, bool sync, const BackwardOptions& options) override {
    replicas_->backward(loss, sync, options);
  }
  void reduce_gradients(const std::vector<torch::Tensor>& parameters) override {
    replicas_->reduce_gradients(parameters);
  }
  torch::Tensor clip(Optimizer& optimizer, const GradientClip& clip) override;
  void step(Optimizer& optimizer, const StepInputs& inputs) override;
  void zero_grad(const std::vector<torch::Tensor>& parameters) override { replicas_->zero_grad(parameters); }
  [[nodiscard]] std::string why_not_captured() const override;

 private:
  void take_parts(Optimizer& optimizer);
  [[nodiscard]] Communicator& tensor_group() const { return mesh().group(Axis::kTensor); }

  std::unique_ptr<Plan> replicas_;
  std::map<const void*, Partition> split_;  ///< by TensorImpl
  /// Parameters of which an optimizer knows that they are parts.
  std::set<std::pair<const Optimizer*, const void*>> taken_;
};

}  // namespace rtrain::parallel
