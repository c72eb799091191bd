#include "worker/step/graph_conditions.h"

#include "worker/run/overridden.h"
#include "worker/run/type_name.h"

#include <rtrain/callbacks/lambda_callback.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace rtrain {
namespace {

const char* const kWayOutOfHooks =
    " runs within the step, and a replay calls no hooks: do it in on_train_batch_start or on_train_batch_end";

/// "Net::on_after_backward()" of each hook within a step that the program overrides.
std::vector<std::string> overridden_hooks(const RunContext& run) {
  std::vector<std::string> names;
  const LightningModule plain_module;
  const Callback plain_callback;
  const auto of_module = [&](const char* name, auto hook) {
    if (is_overridden<LightningModule>(*run.module, plain_module, hook))
      names.push_back(type_name(*run.module) + "::" + name + "()");
  };
#define RTRAIN_OF_MODULE(name) of_module(#name, &LightningModule::name)
  RTRAIN_OF_MODULE(optimizer_step);
  RTRAIN_OF_MODULE(on_before_zero_grad);
  RTRAIN_OF_MODULE(optimizer_zero_grad);
  RTRAIN_OF_MODULE(on_before_backward);
  RTRAIN_OF_MODULE(backward);
  RTRAIN_OF_MODULE(on_after_backward);
  RTRAIN_OF_MODULE(on_before_optimizer_step);
  RTRAIN_OF_MODULE(configure_gradient_clipping);
#undef RTRAIN_OF_MODULE
  for (const auto& callback : run.callbacks) {
    const auto* lambda = dynamic_cast<const LambdaCallback*>(callback.get());
    const auto of_callback = [&](const char* name, auto hook, bool has_function) {
      if (lambda != nullptr ? has_function : is_overridden<Callback>(*callback, plain_callback, hook))
        names.push_back(callback->state_key() + "::" + name + "()");
    };
#define RTRAIN_OF_CALLBACK(name) \
  of_callback(#name, &Callback::name, lambda != nullptr && lambda->functions().name != nullptr)
    RTRAIN_OF_CALLBACK(on_before_zero_grad);
    RTRAIN_OF_CALLBACK(on_before_backward);
    RTRAIN_OF_CALLBACK(on_after_backward);
    RTRAIN_OF_CALLBACK(on_before_optimizer_step);
#undef RTRAIN_OF_CALLBACK
  }
  return names;
}

}  // namespace

void require_capturable(RunContext& run) {
  std::string problems;
  const auto refuse = [&](const std::string& what) { problems += "\n  " + what; };
  if (!run.automatic)
    refuse("the module optimizes by itself (automatic_optimization = false): let the Trainer do it");
  if (run.accumulate != 1)
    refuse("a step takes " + std::to_string(run.accumulate) +
           " batches (accumulate_grad_batches, or elastic_batch \"keep\"): make the batches larger instead");
  if (run.options.detect_anomaly)
    refuse("detect_anomaly reads each gradient on the host: leave it out once the NaN is found");
  if (run.automatic && run.optimizers.empty()) refuse("there is no optimizer, so no step to capture");
  for (const auto& optimizer : run.optimizers) {
    std::vector<torch::Tensor> rates(optimizer->groups().size());
    if (optimizer->needs_closure() || !optimizer->read_lr_from(rates))
      refuse(optimizer->type_name() + " decides on the host how it steps: take SGD, Adam, AdamW or Adagrad");
    (void)optimizer->read_lr_from({});
  }
  if (run.automatic)
    for (const auto& hook : overridden_hooks(run)) refuse(hook + kWayOutOfHooks);
  if (const auto reason = run.plan->why_not_captured(); !reason.empty()) refuse(reason);
  if (!problems.empty())
    throw std::invalid_argument(
        "fit: the step cannot be captured into a CUDA graph; set cuda_graph = false, or:" + problems);
}

std::string why_steps_stay_eager(RunContext& run, bool can_record) {
  if (!can_record)
    return run.placement.device.is_cuda() ? "this rtrain was built with a LibTorch without CUDA's headers"
                                          : "the device is the CPU, and graphs are CUDA's";
  if (!run.strategy().mesh().world().is_capturable())
    return "the ranks talk through Gloo, which a graph cannot hold: give each rank a GPU of its own "
           "(torch_config.backend \"nccl\")";
  return {};
}

}  // namespace rtrain
