// The holder of a layer that a group shares.
#pragma once

#include <rtrain/parallel/group.h>

#include <torch/nn/pimpl.h>

#include <memory>

namespace rtrain::parallel {

/// What TORCH_MODULE makes of a layer, with a constructor that takes its options in braces: Layer({...},
/// group).
template <class Layer, class Options>
class LayerHolder : public torch::nn::ModuleHolder<Layer> {
 public:
  using Impl = Layer;
  using torch::nn::ModuleHolder<Layer>::ModuleHolder;
  LayerHolder(const Options& options, const Group& group)
      : torch::nn::ModuleHolder<Layer>(std::make_shared<Layer>(options, group)) {}
};

}  // namespace rtrain::parallel
