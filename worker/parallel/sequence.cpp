#include <rtrain/parallel/sequence.h>

#include <ATen/ops/layer_norm.h>

namespace rtrain::parallel {

torch::Tensor SequenceParallelLayerNormImpl::forward(const torch::Tensor& x) {
  const auto summed = [&](const torch::Tensor& parameter) {
    return parameter.defined() ? copy_to_group(parameter, group_) : parameter;
  };
  return at::layer_norm(x, options.normalized_shape(), summed(weight), summed(bias), options.eps());
}

}  // namespace rtrain::parallel
