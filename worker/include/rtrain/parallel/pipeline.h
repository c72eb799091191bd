// A model as a list of layers that ranks hold one after the other: pipeline parallelism.
// See docs/guides/parallel.md.
#pragma once

#include <rtrain/batch.h>
#include <rtrain/export.h>

#include <torch/nn/module.h>
#include <torch/types.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace rtrain::parallel {

/// What a pipeline can be cut in front of and behind.
struct RTRAIN_API PipelineLayer {
  /// Takes what the layer before gave, the first one PipelineModule::pipeline_input(). One dense tensor of
  /// floating-point numbers, whose first dimension is that of the samples, and whose shape depends on nothing
  /// but the shapes of the batch.
  std::function<torch::Tensor(const torch::Tensor&)> forward{};
  /// Whose parameters and buffers it reads. A module may be in several layers: a tied embedding.
  std::vector<std::shared_ptr<torch::nn::Module>> modules{};
  /// Parameters and buffers that it reads and that belong to none of them.
  std::vector<torch::Tensor> tensors{};
  /// The time that it takes, in any unit, 0 or more: stages get about as much each.
  double cost = 1;
};
using PipelineLayers = std::vector<PipelineLayer>;

/// A layer that is a module: pipeline_layer(nn::Linear(4, 4)).
template <class Contained>
[[nodiscard]] PipelineLayer pipeline_layer(const torch::nn::ModuleHolder<Contained>& module,
                                           double cost = 1) {
  return {.forward = [held = module.ptr()](const torch::Tensor& x) { return held->forward(x); },
          .modules = {module.ptr()},
          .cost = cost};
}

namespace detail {
struct PipelineState;  // internal to the SDK
}

/// The base, beside LightningModule, of a module whose layers ModelParallelStrategy can cut into stages.
///
///   struct Net : rtrain::LightningModule, rtrain::parallel::PipelineModule {
///     PipelineLayers pipeline_layers() override { return net->pipeline_layers(); }
///     StepOutput training_step(const Batch& batch, std::int64_t) override {
///       return cross_entropy(pipeline(batch.input), batch.target);
///     }
///   };
///
/// The steps are written for the whole model. With one rank, and under strategies that have no stages,
/// pipeline() runs all layers. In a pipeline the steps run on the rank that has the last stage only, with a
/// micro-batch in training and a whole batch in evaluation, and pipeline() is its output. What a step reads
/// beside pipeline() is in the `modules` or `tensors` of the last layer.
class RTRAIN_API PipelineModule {
 public:
  PipelineModule();
  virtual ~PipelineModule();
  // A copy has layers of its own.
  PipelineModule(const PipelineModule& other);
  PipelineModule(PipelineModule&& other) noexcept;
  PipelineModule& operator=(const PipelineModule&) = delete;

  /// The layers in their order. Called once configure_model() has been, once a run, and by the first
  /// pipeline() of a module that no Trainer runs. Every parameter of the module is in at least one layer.
  [[nodiscard]] virtual PipelineLayers pipeline_layers() = 0;
  /// What the first layer gets of a (micro-)batch; what the steps give to pipeline(). Default: batch.input.
  [[nodiscard]] virtual torch::Tensor pipeline_input(const Batch& batch) { return batch.input; }

  /// The output of the last layer. Once in a step.
  /// @throws std::logic_error this rank does not have the last stage, or the step calls it a second time.
  [[nodiscard]] torch::Tensor pipeline(const torch::Tensor& input);

 private:
  friend struct detail::PipelineState;
  std::unique_ptr<detail::PipelineState> state_;
};

}  // namespace rtrain::parallel
