// BatchNorm layers among the modules that callbacks visit.
#pragma once

#include <torch/nn/modules/batchnorm.h>

namespace rtrain {

/// Calls `body` with the layer itself, if it is a BatchNorm1d, 2d or 3d. @return whether it is one.
template <class Body>
bool on_batch_norm(torch::nn::Module& layer, const Body& body) {
  const auto visit = [&](auto* norm) {
    if (norm != nullptr) body(*norm);
    return norm != nullptr;
  };
  return visit(dynamic_cast<torch::nn::BatchNorm1dImpl*>(&layer)) ||
         visit(dynamic_cast<torch::nn::BatchNorm2dImpl*>(&layer)) ||
         visit(dynamic_cast<torch::nn::BatchNorm3dImpl*>(&layer));
}

}  // namespace rtrain
