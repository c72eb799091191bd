// What training_step() returns.
#pragma once

#include <rtrain/export.h>

#include <torch/types.h>

#include <map>
#include <optional>
#include <string>
#include <utility>

namespace rtrain {

/// The loss, and what on_train_batch_end wants to see of the step. Each form converts by itself:
///    return loss;                                // a tensor of one element
///    return {loss, {{"predictions", logits}}};   // Lightning's dictionary
///    return std::nullopt;                        // no loss: this batch contributes no gradients
/// With several ranks either all of them return a loss for a batch or none does. Under manual optimization
/// the loss only reaches on_train_batch_end, and may be left out on any rank.
struct RTRAIN_API StepOutput {
  /// What on_train_batch_end gets is detached and, as in Lightning, already divided by the number of batches
  /// of an accumulation; undefined: there is none.
  torch::Tensor loss{};
  std::map<std::string, torch::Tensor> extras{};  ///< passed on as they are; a graph in them stays alive

  StepOutput() = default;
  StepOutput(std::nullopt_t) {}                                    // NOLINT: implicit on purpose
  StepOutput(torch::Tensor of_step) : loss(std::move(of_step)) {}  // NOLINT: implicit on purpose
  StepOutput(torch::Tensor of_step, std::map<std::string, torch::Tensor> with)
      : loss(std::move(of_step)), extras(std::move(with)) {}
};

}  // namespace rtrain
