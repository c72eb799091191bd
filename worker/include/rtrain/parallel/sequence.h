// Layers of a sequence-parallel region: each rank of a tensor-parallel group has a part of the sequence
// between the layers whose matrices are split.
#pragma once

#include <rtrain/export.h>
#include <rtrain/parallel/group.h>

#include <torch/nn/modules/normalization.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

namespace rtrain::parallel {

/// torch::nn::LayerNorm, torch's SequenceParallel: weight and bias are whole on every rank, which sees a part
/// of the sequence only, so that their gradients are summed over the group. A parameter of another kind in
/// such a region gets the same from copy_to_group().
class RTRAIN_API SequenceParallelLayerNormImpl : public torch::nn::LayerNormImpl {
 public:
  SequenceParallelLayerNormImpl(const torch::nn::LayerNormOptions& of, Group group)
      : torch::nn::LayerNormImpl(of), group_(std::move(group)) {}
  [[nodiscard]] torch::Tensor forward(const torch::Tensor& x);

 private:
  Group group_;
};
TORCH_MODULE(SequenceParallelLayerNorm);

}  // namespace rtrain::parallel
