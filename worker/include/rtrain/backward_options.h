// What torch::Tensor::backward() can be told.
#pragma once

#include <rtrain/export.h>

#include <torch/types.h>

namespace rtrain {

/// PyTorch's arguments of backward().
struct RTRAIN_API BackwardOptions {
  torch::Tensor gradient{};   ///< of a loss that is no scalar, in its shape; undefined: 1
  bool retain_graph = false;  ///< the graph is needed by another backward
  bool create_graph = false;  ///< gradients have a graph, for those of higher order
  /// loss.backward() with them.
  void run(const torch::Tensor& loss) const {
    loss.backward(gradient, retain_graph || create_graph, create_graph);
  }
};

}  // namespace rtrain
