// What a PipelineModule keeps: its layers, and what runs them.
#pragma once

#include <rtrain/parallel/pipeline.h>

#include <functional>

namespace rtrain::parallel::detail {

struct PipelineState {
  [[nodiscard]] static PipelineState& of(const PipelineModule& module) { return *module.state_; }

  PipelineLayers layers{};  ///< empty: not asked for yet
  /// The output of the last layer, where the module is cut; null: pipeline() runs all layers.
  std::function<torch::Tensor()> last_output{};
};

/// The layers of the module, each with a forward. @throws std::invalid_argument it has none, or one without.
[[nodiscard]] PipelineLayers layers_of(PipelineModule& module);

}  // namespace rtrain::parallel::detail
