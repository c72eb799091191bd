// Inputs of metrics of numbers, as float64.
#pragma once

#include "worker/metrics/shown.h"
#include "worker/runtime/problems.h"

#include <rtrain/metrics/regression.h>

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <utility>

namespace rtrain::metrics {

/// @throws std::invalid_argument below 1.
[[nodiscard]] inline std::int64_t checked_outputs(const std::string& name, std::int64_t num_outputs) {
  if (num_outputs < 1)
    throw std::invalid_argument(name + ": num_outputs is " + std::to_string(num_outputs) +
                                ", expected 1 or more");
  return num_outputs;
}

/// [] of one output, else [K].
[[nodiscard]] inline torch::Tensor sums(std::int64_t num_outputs) {
  return num_outputs == 1 ? torch::zeros({}, torch::kFloat64) : torch::zeros({num_outputs}, torch::kFloat64);
}

/// Both as [M]. @throws std::invalid_argument their shapes differ.
[[nodiscard]] inline std::pair<torch::Tensor, torch::Tensor> elements(const std::string& name,
                                                                      const torch::Tensor& preds,
                                                                      const torch::Tensor& target) {
  if (preds.sizes() != target.sizes())
    throw std::invalid_argument(name + ".update(): preds have shape " + shape_of(preds) + ", target " +
                                shape_of(target) + "; expected the same shape");
  return {preds.to(torch::kFloat64).reshape({-1}), target.to(torch::kFloat64).reshape({-1})};
}

/// Both as [N] of one output, else [N, K]. @throws std::invalid_argument another shape.
[[nodiscard]] inline std::pair<torch::Tensor, torch::Tensor> columns(const std::string& name,
                                                                     std::int64_t num_outputs,
                                                                     const torch::Tensor& preds,
                                                                     const torch::Tensor& target) {
  const bool one = preds.dim() == 1 || (preds.dim() == 2 && preds.size(1) == 1);
  const bool fits = num_outputs == 1 ? one : preds.dim() == 2 && preds.size(1) == num_outputs;
  Problems problems;
  problems.expect(preds.sizes() == target.sizes(), "preds have shape " + shape_of(preds) + ", target " +
                                                       shape_of(target) + "; expected the same shape");
  problems.expect(fits,
                  "preds have shape " + shape_of(preds) + ", expected " +
                      (num_outputs == 1 ? std::string("[N] or [N, 1]; of more outputs num_outputs tells")
                                        : "[N, " + std::to_string(num_outputs) + "], of num_outputs"));
  problems.throw_if_any(name + ".update()");
  const auto x = preds.to(torch::kFloat64), y = target.to(torch::kFloat64);
  if (num_outputs == 1) return {x.reshape({-1}), y.reshape({-1})};
  return {x, y};
}

}  // namespace rtrain::metrics
