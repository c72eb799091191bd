// A run of a module whose layers are cut into the stages of a pipeline.
#pragma once

#include "worker/parallel/pipeline_run.h"
#include "worker/parallel/stage_cut.h"

#include <rtrain/parallel/partition.h>
#include <rtrain/plan.h>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace rtrain::parallel {

/// The ranks of one stage that hold the same parameters are the mesh's loss_group(); those of a tensor group
/// have parts of the stage's split parameters; those of the pipeline have different parameters, but for tied
/// ones.
class PipelinePlan final : public Plan, public PipelineRun {
 public:
  /// That it talks over, beside those of every ModelParallelStrategy.
  static constexpr AxisSet kOfOneReplica{Axis::kPipeline, Axis::kTensor};
  static constexpr AxisSet kOfOnePart{Axis::kPipeline, Axis::kReplicate, Axis::kShard, Axis::kContext};
  static constexpr std::array kGroups{AxisSet(Axis::kPipeline), kOfOneReplica, kOfOnePart};

  PipelinePlan(LightningModule& module, Mesh& mesh, torch::Device device, std::shared_ptr<StageCut> cut,
               ScheduleKind kind, const std::vector<SplitParameter>& split, bool broadcast_buffers);

  void adopt(Optimizer& optimizer) override { take_pieces(optimizer); }
  void before_forward(bool sync) override;
  /// Its messages are: a rank that has no batch leaves the others waiting.
  [[nodiscard]] bool is_forward_collective() const override { return true; }
  void backward(const torch::Tensor& loss, bool sync, const BackwardOptions& options) override;
  void reduce_gradients(const std::vector<torch::Tensor>& parameters) override;
  torch::Tensor clip(Optimizer& optimizer, const GradientClip& clip) override;
  void step(Optimizer& optimizer, const StepInputs& inputs) override;
  void zero_grad(const std::vector<torch::Tensor>& parameters) override;
  [[nodiscard]] std::map<std::string, torch::Tensor> pending_gradients() const override;
  void load_pending_gradients(const std::map<std::string, torch::Tensor>& gradients) override;
  [[nodiscard]] std::string why_not_captured() const override;
  [[nodiscard]] StateTree module_state() const override { return cut().state(); }
  LoadedWeights load_module_state(const StateTree& saved, bool strict) override;
  void with_full_parameters(const std::function<void()>& body) override {
    cut().with_whole(pipeline(), body);
  }

 private:
  void take_over_first_values();
  void take_pieces(Optimizer& optimizer);
  [[nodiscard]] std::vector<bool> gradients_anywhere() const;
  void sum_tied_gradients(const std::vector<bool>& anywhere);
  [[nodiscard]] Communicator& pipeline() const { return mesh().group(Axis::kPipeline); }

  std::map<const void*, Partition> split_;  ///< by TensorImpl
  bool broadcast_buffers_, sync_buffers_next_ = true;
  /// Parameters in whose place an optimizer has their pieces.
  std::set<std::pair<const Optimizer*, const void*>> taken_;
  std::map<const Optimizer*, std::uint64_t> adopted_;  ///< Optimizer::tensor_changes() when it was looked at
};

}  // namespace rtrain::parallel
