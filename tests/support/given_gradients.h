// A model whose gradients are given, so that what the ranks make of them can be held against a golden file.
#pragma once

#include "tests/support/golden.h"

#include <rtrain/rtrain.h>

#include <torch/torch.h>

namespace rtrain::test {

/// The model of tests/golden/strategies/g_comm_hooks.py. A batch holds the number of its step.
struct GivenGradients : LightningModule {
  torch::Tensor a, b, bias;
  double lr;
  explicit GivenGradients(double rate, torch::ScalarType type = torch::kFloat64) : lr(rate) {
    a = register_parameter("a", det({8, 6}, 50).to(type));
    b = register_parameter("b", det({6, 3, 2}, 51).to(type));
    bias = register_parameter("bias", det({7}, 52).to(type));
  }
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    const auto step = batch.input.item<std::int64_t>();
    const int rank = trainer().global_rank();
    // One after the other, as Python does: the buckets are cut in the order in which gradients come.
    auto loss = (a * gradient(a, 0, step, rank)).sum();
    loss = loss + (b * gradient(b, 1, step, rank)).sum();
    return loss + (bias * gradient(bias, 2, step, rank)).sum();
  }
  /// @param number of the parameter.
  static torch::Tensor gradient(const torch::Tensor& parameter, int number, std::int64_t step, int rank) {
    const auto shape = parameter.sizes().vec();
    const auto own = det(shape, 1000 * step + 100 * rank + number);
    return (det(shape, 7 * number + 1) + 0.25 * own).to(parameter.scalar_type());
  }
  Optimizers configure_optimizers() override { return optim::SGD(parameters(), {.lr = lr}); }
};

/// Batches 0, 1, 2, ...: the same on each rank.
inline DataLoader step_numbers(std::int64_t steps) {
  return {data::TensorDataset(torch::arange(steps, torch::kInt64)), {.batch_size = 1}};
}

}  // namespace rtrain::test
