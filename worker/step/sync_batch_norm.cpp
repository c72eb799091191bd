#include "worker/step/sync_batch_norm.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <ATen/ops/batch_norm_native.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <vector>

namespace rtrain {
namespace {

using torch::Tensor;
using MaybeTensor = std::optional<Tensor>;
using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

thread_local Strategy* synchronized_by = nullptr;

/// A value a channel, to be combined with [N, C, ...].
Tensor spread(const Tensor& of_channels, const Tensor& like) {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(like.dim()), 1);
  shape[1] = -1;
  return of_channels.view(shape);
}

Tensor sum_by_channel(const Tensor& values) {
  std::vector<std::int64_t> others;
  for (std::int64_t i = 0; i < values.dim(); ++i)
    if (i != 1) others.push_back(i);
  return values.sum(others);
}

/// Statistics of half precision are computed in float32, as cuDNN's are.
torch::ScalarType type_of_statistics(const Tensor& input) {
  return input.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat;
}

struct Statistics {
  Tensor mean, invstd;  ///< [C]
  Tensor var;           ///< biased
  Tensor count;         ///< values of a channel on all ranks; a scalar in float64
};

/// One reduction: of the count, the sums, and the sums of squares of each rank, in float64. The squares are
/// taken around the rank's own mean first.
Statistics statistics_of(const Tensor& x, double eps, Strategy& strategy) {
  const auto channels = x.size(1);
  const double own = channels == 0 ? 0 : static_cast<double>(x.numel() / channels);
  const auto wide = x.options().dtype(torch::kDouble);
  const auto sum = sum_by_channel(x);
  const auto mean = own == 0 ? sum : sum / own;
  const auto deviations = sum_by_channel((x - spread(mean, x)).square()).to(torch::kDouble);
  auto packed = at::cat({at::full({1}, own, wide), mean.to(torch::kDouble) * own,
                         deviations + mean.to(torch::kDouble).square() * own});
  strategy.reduce(packed, Strategy::Reduce::kSum);
  const auto count = packed[0].clamp_min(1);
  const auto all_mean = packed.slice(0, 1, 1 + channels) / count;
  const auto all_var = (packed.slice(0, 1 + channels) / count - all_mean.square()).clamp_min(0);
  const auto type = x.scalar_type();
  return {all_mean.to(type), (all_var + eps).rsqrt().to(type), all_var.to(type), count};
}

struct SyncBatchNorm : torch::autograd::Function<SyncBatchNorm> {
  static Tensor forward(AutogradContext* ctx, const Tensor& input, const MaybeTensor& maybe_weight,
                        const MaybeTensor& maybe_bias, const MaybeTensor& maybe_mean,
                        const MaybeTensor& maybe_var, double momentum, double eps, std::int64_t strategy) {
    const auto weight = maybe_weight.value_or(Tensor()), bias = maybe_bias.value_or(Tensor());
    auto running_mean = maybe_mean.value_or(Tensor()), running_var = maybe_var.value_or(Tensor());
    const auto x = input.to(type_of_statistics(input));
    const auto found = statistics_of(x, eps, *reinterpret_cast<Strategy*>(strategy));
    if (running_mean.defined()) running_mean.mul_(1 - momentum).add_(found.mean, momentum);
    if (running_var.defined()) {
      const auto unbiased =
          found.var * (found.count / (found.count - 1).clamp_min(1)).to(found.var.scalar_type());
      running_var.mul_(1 - momentum).add_(unbiased, momentum);
    }
    auto out = (x - spread(found.mean, x)) * spread(found.invstd, x);
    if (weight.defined()) out = out * spread(weight, x);
    if (bias.defined()) out = out + spread(bias, x);
    ctx->save_for_backward({input, weight, found.mean, found.invstd, found.count});
    ctx->saved_data["strategy"] = strategy;
    return out.to(input.scalar_type());
  }

  // The gradients of weight and bias are this rank's: the strategy averages them as any others.
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    if (torch::GradMode::is_enabled())
      throw std::logic_error(
          "sync_batchnorm: a gradient of a gradient does not reach the other ranks' batches");
    const auto saved = ctx->get_saved_variables();
    const auto &input = saved[0], &weight = saved[1], &mean = saved[2], &invstd = saved[3], &count = saved[4];
    const auto x = input.to(type_of_statistics(input));
    const auto dy = gradients[0].to(x.scalar_type());
    const auto normalized = (x - spread(mean, x)) * spread(invstd, x);
    const auto sum_dy = sum_by_channel(dy), sum_dy_normalized = sum_by_channel(dy * normalized);
    Tensor dx;
    if (ctx->needs_input_grad(0)) {
      auto packed = at::cat({sum_dy, sum_dy_normalized}).to(torch::kDouble);
      reinterpret_cast<Strategy*>(ctx->saved_data["strategy"].toInt())
          ->reduce(packed, Strategy::Reduce::kSum);
      const auto means = (packed / count).to(x.scalar_type()).chunk(2);
      dx = (dy - spread(means[0], x) - normalized * spread(means[1], x)) * spread(invstd, x);
      if (weight.defined()) dx = dx * spread(weight, x);
      dx = dx.to(input.scalar_type());
    }
    return {dx,
            weight.defined() ? sum_dy_normalized.to(weight.scalar_type()) : Variable(),
            weight.defined() ? sum_dy.to(weight.scalar_type()) : Variable(),
            {},
            {},
            {},
            {},
            {}};
  }
};

Tensor batch_norm(const Tensor& input, const MaybeTensor& weight, const MaybeTensor& bias,
                  const MaybeTensor& running_mean, const MaybeTensor& running_var, bool training,
                  double momentum, double eps, bool cudnn_enabled) {
  if (synchronized_by == nullptr || !training || input.dim() < 2)
    return at::native::batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps,
                                  cudnn_enabled);
  return SyncBatchNorm::apply(input, weight, bias, running_mean, running_var, momentum, eps,
                              reinterpret_cast<std::int64_t>(synchronized_by));
}

/// A process that never asks for it keeps LibTorch's own batch norm.
void take_over_batch_norm() {
  static const auto* const libraries = [] {
    auto* made = new std::vector<torch::Library>;
    made->reserve(2);
    for (const auto key : {c10::DispatchKey::AutogradCPU, c10::DispatchKey::AutogradCUDA}) {
      auto& library = made->emplace_back(torch::Library::IMPL, "aten", key, __FILE__, __LINE__);
      library.impl("batch_norm", &batch_norm);
    }
    return made;
  }();
  (void)libraries;
}

}  // namespace

SyncBatchNormScope::SyncBatchNormScope(bool wanted, Strategy& strategy) : before_(synchronized_by) {
  if (!wanted || !strategy.is_distributed()) return;
  take_over_batch_norm();
  synchronized_by = &strategy;
}
SyncBatchNormScope::~SyncBatchNormScope() { synchronized_by = before_; }

}  // namespace rtrain
