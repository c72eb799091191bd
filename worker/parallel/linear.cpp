#include <rtrain/parallel/linear.h>

#include "worker/parallel/require.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <torch/csrc/autograd/grad_mode.h>
#include <torch/nn/init.h>

#include <cmath>

namespace rtrain::parallel {
namespace {

namespace init = torch::nn::init;

/// torch::nn::Linear's.
void draw_weight(const std::function<void(torch::Tensor)>& given, const torch::Tensor& whole) {
  if (given)
    given(whole);
  else
    init::kaiming_uniform_(whole, std::sqrt(5.0));
}

void draw_bias(std::int64_t in_features, const torch::Tensor& whole) {
  const double bound = 1 / std::sqrt(static_cast<double>(in_features));
  init::uniform_(whole, -bound, bound);
}

}  // namespace

ColumnParallelLinearImpl::ColumnParallelLinearImpl(const ColumnParallelLinearOptions& o, const Group& group)
    : options_(o), group_(group) {
  require_positive("ColumnParallelLinear: in_features", o.in_features);
  const Partition rows("ColumnParallelLinear: out_features", {o.out_features, o.in_features}, 0, group,
                       o.blocks);
  weight = register_parameter(
      "weight", split(rows, [&](const torch::Tensor& whole) { draw_weight(o.init_method, whole); }));
  if (!o.bias) {
    bias = register_parameter("bias", {}, /*requires_grad=*/false);
    return;
  }
  const Partition of_bias("ColumnParallelLinear: out_features", {o.out_features}, 0, group, o.blocks);
  bias = register_parameter(
      "bias", split(of_bias, [&](const torch::Tensor& whole) { draw_bias(o.in_features, whole); }));
}

torch::Tensor ColumnParallelLinearImpl::forward(const torch::Tensor& x) {
  const auto input = options_.sequence_parallel ? gather_from_sequence(x, group_, options_.sequence_dim)
                                                : copy_to_group(x, group_);
  auto y = at::linear(input, weight, bias);
  if (!options_.gather_output || group_->is_alone()) return y;
  return gather_from_group(y.unflatten(-1, {options_.blocks, -1}), group_, -1).flatten(-2);
}

RowParallelLinearImpl::RowParallelLinearImpl(const RowParallelLinearOptions& o, const Group& group)
    : options_(o), group_(group) {
  require_positive("RowParallelLinear: out_features", o.out_features);
  const Partition columns("RowParallelLinear: in_features", {o.out_features, o.in_features}, 1, group);
  weight = register_parameter(
      "weight", split(columns, [&](const torch::Tensor& whole) { draw_weight(o.init_method, whole); }));
  if (!o.bias) {
    bias = register_parameter("bias", {}, /*requires_grad=*/false);
    return;
  }
  bias = register_parameter("bias", at::empty({o.out_features}, weight.options()));
  draw_bias(o.in_features, bias);
}

torch::Tensor RowParallelLinearImpl::forward(const torch::Tensor& x) {
  const auto input = options_.input_is_parallel ? x : scatter_to_group(x, group_, -1);
  const bool in_sequence = options_.sequence_parallel;
  auto y = at::linear(input, weight);
  y = in_sequence ? reduce_scatter_to_sequence(y, group_, options_.sequence_dim)
                  : reduce_from_group(y, group_);
  if (!bias.defined()) return y;
  // In a sequence-parallel region each rank adds it to other positions.
  return y + (in_sequence ? copy_to_group(bias, group_) : bias);
}

}  // namespace rtrain::parallel
