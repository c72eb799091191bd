#include "worker/step/optimizer_update.h"

#include <torch/csrc/autograd/grad_mode.h>

#include <stdexcept>

namespace rtrain {

torch::Tensor update(RunContext& run, Optimizer& optimizer, const Closure& closure,
                     const bool& has_gradients) {
  const auto learn = [&] {
    torch::Tensor loss;
    if (closure) {
      const torch::AutoGradMode with_gradients(true);
      loss = closure();
    }
    run.settle_parameters();
    if (has_gradients) run.precision().unscale(optimizer);
    run.call(Hook::kBeforeOptimizerStep, &Callback::on_before_optimizer_step,
             &LightningModule::on_before_optimizer_step, optimizer);
    if (run.automatic)
      run.call_module(Hook::kConfigureGradientClipping, &LightningModule::configure_gradient_clipping,
                      optimizer, run.options.gradient_clip_val, run.options.gradient_clip_algorithm);
    return loss;
  };
  if (optimizer.needs_closure()) {
    if (!closure)
      throw std::logic_error(optimizer.type_name() +
                             " computes the loss several times a step: call step(closure)");
    return run.plan->step_with_closure(optimizer, [&] {
      auto loss = learn();
      if (!loss.defined())
        throw std::logic_error(optimizer.type_name() + " needs the loss of every batch, and there was none");
      // It decides by the loss how to go on: on all ranks by the same one.
      auto mean = loss.detach().clone();
      run.strategy().reduce(mean, Strategy::Reduce::kMean);
      return mean;
    });
  }
  auto loss = learn();
  if (has_gradients) run.precision().step(*run.plan, optimizer);
  return loss;
}

}  // namespace rtrain
