// What a LightningModule offers to optimization, and the defaults of its hooks there.
#include <rtrain/lightning_module.h>

#include "worker/runtime/json.h"
#include "worker/trainer/trainer_impl.h"

#include <cmath>
#include <stdexcept>

namespace rtrain {
namespace {

/// @param number that a user gave.
void require_number(std::size_t size, std::size_t number, const char* what) {
  if (number < size) return;
  throw std::out_of_range(std::string(what) + "(" + std::to_string(number) +
                          "): configure_optimizers() returned " + std::to_string(size));
}

}  // namespace

RunContext& LightningModule::fit_of(const char* what) const {
  auto& run = trainer().impl_->run;
  if (run.driver == nullptr)
    throw std::logic_error(std::string(what) + ": there are optimizers only within fit()");
  return run;
}

LightningOptimizer LightningModule::optimizer(std::size_t number) const {
  const auto& run = fit_of("optimizer()");
  require_number(run.optimizers.size(), number, "optimizer");
  return run.handle(number);
}
std::vector<LightningOptimizer> LightningModule::optimizers() const {
  const auto& run = fit_of("optimizers()");
  std::vector<LightningOptimizer> all;
  for (std::size_t i = 0; i < run.optimizers.size(); ++i) all.push_back(run.handle(i));
  return all;
}
LRScheduler& LightningModule::lr_scheduler(std::size_t number) const {
  const auto& schedulers = fit_of("lr_scheduler()").schedulers;
  require_number(schedulers.size(), number, "lr_scheduler");
  return *schedulers[number].scheduler;
}
std::vector<std::shared_ptr<LRScheduler>> LightningModule::lr_schedulers() const {
  std::vector<std::shared_ptr<LRScheduler>> all;
  for (const auto& config : fit_of("lr_schedulers()").schedulers) all.push_back(config.scheduler);
  return all;
}

void LightningModule::set_automatic_optimization(bool automatic) {
  if (const auto* trainer = Attachment::trainer_of(attachment_); trainer != nullptr && trainer->fitting())
    throw std::logic_error(
        "set_automatic_optimization: a fit is going on; call it before, as in the constructor");
  automatic_optimization_ = automatic;
}

void LightningModule::manual_backward(const torch::Tensor& loss, const BackwardOptions& options) {
  auto& run = fit_of("manual_backward()");
  if (run.automatic)
    throw std::logic_error(
        "manual_backward: the Trainer optimizes this module; call set_automatic_optimization(false) in its "
        "constructor, or return the loss");
  if (!loss.defined()) throw std::logic_error("manual_backward: the loss is undefined");
  trainer().impl_->fit_loop.manual_step().backward(loss, options);
}

ToggledOptimizer LightningModule::toggle_optimizer(const Optimizer& optimizer) const {
  return {fit_of("toggle_optimizer()").optimizers, optimizer};
}

NoSync LightningModule::no_sync() const {
  if (fit_of("no_sync()").automatic)
    throw std::logic_error(
        "no_sync: the Trainer optimizes this module, and averages gradients once a step; set "
        "accumulate_grad_batches, or call set_automatic_optimization(false) in its constructor");
  return trainer().impl_->fit_loop.manual_step().no_sync();
}

void LightningModule::clip_gradients(Optimizer& optimizer, std::optional<double> gradient_clip_val,
                                     const std::optional<std::string>& gradient_clip_algorithm) {
  auto& run = fit_of("clip_gradients()");
  const auto& of_trainer = run.options;
  const bool trainer_clips = of_trainer.gradient_clip_val.has_value();
  const auto limit = gradient_clip_val.value_or(of_trainer.gradient_clip_val.value_or(0));
  const auto& algorithm =
      gradient_clip_algorithm ? *gradient_clip_algorithm : of_trainer.gradient_clip_algorithm;
  if (trainer_clips &&
      (limit != *of_trainer.gradient_clip_val || algorithm != of_trainer.gradient_clip_algorithm))
    throw std::invalid_argument("clip_gradients: " + runtime::dump_json(limit) + " (" + algorithm +
                                "), but the Trainer has gradient_clip_val " +
                                runtime::dump_json(*of_trainer.gradient_clip_val) + " (" +
                                of_trainer.gradient_clip_algorithm + "): give only one of them");
  if (!std::isfinite(limit) || limit < 0)
    throw std::invalid_argument("clip_gradients: gradient_clip_val is " + runtime::dump_json(limit) +
                                ", expected a finite number, 0 or more");
  if (algorithm != "norm" && algorithm != "value")
    throw std::invalid_argument("clip_gradients: gradient_clip_algorithm is \"" + algorithm +
                                "\", expected \"norm\" or \"value\"");
  if (limit == 0) return;
  if (!run.automatic) run.precision().unscale(optimizer);  // else the step has
  (void)run.plan->clip(optimizer, {limit, algorithm == "value" ? GradientClip::Algorithm::kValue
                                                               : GradientClip::Algorithm::kNorm});
}

// ---- defaults of hooks --------------------------------------------------------------------------

void LightningModule::optimizer_step(std::int64_t, std::int64_t, LightningOptimizer& handle,
                                     const Closure& closure) {
  (void)handle.step(closure);
}
void LightningModule::optimizer_zero_grad(std::int64_t, std::int64_t, Optimizer& optimizer) {
  fit_of("optimizer_zero_grad()").driver->zero_grad(optimizer);
}
void LightningModule::backward(const torch::Tensor& loss, const BackwardOptions& options) {
  auto& run = fit_of("backward()");
  run.backward.done = true;
  run.plan->backward(loss, run.backward.sync, options);
}
void LightningModule::configure_gradient_clipping(Optimizer& optimizer,
                                                  std::optional<double> gradient_clip_val,
                                                  const std::string& gradient_clip_algorithm) {
  clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm);
}
void LightningModule::lr_scheduler_step(LRScheduler& scheduler, std::optional<double> metric) {
  metric ? scheduler.step(*metric) : scheduler.step();
}

// Not inline: whether a class overrides one is read off its virtual table (run/overridden.h).
void LightningModule::on_before_zero_grad(Optimizer&) {}
void LightningModule::on_before_backward(const torch::Tensor&) {}
void LightningModule::on_after_backward() {}
void LightningModule::on_before_optimizer_step(Optimizer&) {}

}  // namespace rtrain
