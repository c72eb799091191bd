// Parameters as Python's Module.parameters() lists them. LibTorch's parameters() gives a tensor once for each
// place that holds it.
#pragma once

#include <torch/types.h>

#include <unordered_set>
#include <vector>

namespace rtrain {

/// Says of each tensor whether it comes for the first time. Tensors are the same when they share one
/// variable.
class FirstTime {
 public:
  [[nodiscard]] bool operator()(const torch::Tensor& tensor) {
    return seen_.insert(tensor.unsafeGetTensorImpl()).second;
  }

 private:
  std::unordered_set<const void*> seen_;
};

/// The first of each, in their order.
[[nodiscard]] inline std::vector<torch::Tensor> unique(const std::vector<torch::Tensor>& tensors) {
  FirstTime first;
  std::vector<torch::Tensor> result;
  result.reserve(tensors.size());
  for (const auto& tensor : tensors) {
    if (!tensor.defined() || first(tensor)) result.push_back(tensor);
  }
  return result;
}

}  // namespace rtrain
