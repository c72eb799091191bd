#include "worker/step/backward_pass.h"

#include <stdexcept>

namespace rtrain {

void run_backward(RunContext& run, const torch::Tensor& loss, bool sync, const BackwardOptions& options,
                  const std::string& given) {
  if (loss.numel() != 1 && !options.gradient.defined())
    throw std::logic_error(given + " a tensor of " + std::to_string(loss.numel()) +
                           " elements, expected the loss: one element");
  if (!loss.requires_grad())
    throw std::logic_error(given + " a loss that does not depend on any parameter that requires a gradient");
  const auto scaled = run.precision().scale(loss);
  run.call(Hook::kBeforeBackward, &Callback::on_before_backward, &LightningModule::on_before_backward,
           scaled);
  run.backward = {.sync = sync, .done = false};
  run.call_module(Hook::kBackward, &LightningModule::backward, scaled, options);
  if (!run.backward.done && run.strategy().is_distributed())
    throw std::logic_error(
        "backward() is overridden and does not call LightningModule::backward(loss, options), so the ranks "
        "would go on with different gradients; the override can pass it other options");
  run.call(Hook::kAfterBackward, &Callback::on_after_backward, &LightningModule::on_after_backward);
}

}  // namespace rtrain
