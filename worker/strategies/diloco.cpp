#include <rtrain/strategies/diloco.h>

#include <rtrain/names.h>

#include "worker/strategies/local_replica.h"
#include "worker/strategies/module_agreement.h"
#include "worker/strategies/rank_means.h"

#include <torch/torch.h>

#include <iostream>
#include <map>
#include <stdexcept>
#include <utility>
#include <vector>

namespace rtrain {
namespace {

/// The outer optimizer over the parameters of one inner optimizer.
struct Period {
  Optimizer* inner = nullptr;
  std::int64_t steps = 0;               ///< of the inner optimizer since the period began
  std::vector<torch::Tensor> anchors;   ///< the parameters at its beginning; empty before the first step
  std::vector<torch::Tensor> momentum;  ///< empty before the first outer step
};

class DiLoCoPlan final : public Plan {
 public:
  DiLoCoPlan(LightningModule& model, Mesh& ranks, torch::Device where, const DiLoCoOptions& options,
             bool fitting)
      : Plan(model, ranks, where), options_(options), fitting_(fitting), replica_(model, ranks.world()) {
    if (mesh().world().is_alone()) return;
    require_equal_modules("DiLoCoStrategy", module(), mesh().world(), device());
    take_over_state(module(), mesh().world());
  }

  void adopt(Optimizer& optimizer) override;
  /// Each rank has its own.
  void reduce_gradients(const std::vector<torch::Tensor>& /*parameters*/) override {}
  void step(Optimizer& optimizer, const StepInputs& inputs) override;
  [[nodiscard]] std::string why_not_captured() const override {
    return "DiLoCoStrategy counts its steps on the host and sends parameters in some of them: set cuda_graph "
           "= false";
  }

  [[nodiscard]] bool ranks_differ() const override;
  void hold_equal_parameters() override {
    if (ranks_differ()) replica_.hold_equal();
  }
  void hold_own_parameters() override { replica_.hold_own(); }
  [[nodiscard]] StateTree module_state() const override {
    return ranks_differ() ? replica_.equal_state() : Plan::module_state();
  }
  [[nodiscard]] PlanState step_state() const override;
  void load_step_state(const PlanState& saved) override;

 private:
  [[nodiscard]] Period& period_of(const Optimizer& optimizer);
  static void begin(Period& period);
  void outer_step(Period& period);

  DiLoCoOptions options_;
  bool fitting_;
  LocalReplica replica_;
  std::vector<Period> periods_;  ///< by the optimizer's number
};

void DiLoCoPlan::adopt(Optimizer& optimizer) {
  if (optimizer.needs_closure())
    throw std::invalid_argument("DiLoCoStrategy: the optimizer " + optimizer.type_name() +
                                " decides by the loss of all ranks in each step, and here each rank steps "
                                "alone: take one that does not need a closure, or DDPStrategy");
  periods_.push_back({.inner = &optimizer});
  replica_.adopt(optimizer);
}

Period& DiLoCoPlan::period_of(const Optimizer& optimizer) {
  for (auto& period : periods_)
    if (period.inner == &optimizer) return period;
  throw std::logic_error("DiLoCoStrategy: step() of an optimizer that is not of this fit");
}

/// Groups that are added later begin with what they have.
void DiLoCoPlan::begin(Period& period) {
  const auto& parameters = period.inner->parameters();
  for (auto i = period.anchors.size(); i < parameters.size(); ++i) {
    period.anchors.push_back(parameters[i].detach().clone());
    if (!period.momentum.empty()) period.momentum.push_back(torch::zeros_like(period.anchors.back()));
  }
}

void DiLoCoPlan::step(Optimizer& optimizer, const StepInputs& inputs) {
  auto& period = period_of(optimizer);
  begin(period);
  optimizer.step(inputs);
  if (++period.steps >= options_.sync_every) outer_step(period);
}

/// torch.optim.SGD on the pseudo-gradient, from the parameters at the period's start.
void DiLoCoPlan::outer_step(Period& period) {
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> own;
  for (const auto& parameter : period.inner->parameters()) own.push_back(parameter.detach());
  auto gradients = means_over(mesh().world(), at::_foreach_sub(period.anchors, own),
                              options_.bf16_pseudo_gradient ? std::optional(torch::kBFloat16) : std::nullopt);
  if (options_.outer_momentum != 0) {
    if (period.momentum.empty()) {
      for (const auto& gradient : gradients) period.momentum.push_back(gradient.clone());
    } else {
      at::_foreach_mul_(period.momentum, options_.outer_momentum);
      at::_foreach_add_(period.momentum, gradients);
    }
    if (options_.nesterov)
      at::_foreach_add_(gradients, period.momentum, options_.outer_momentum);
    else
      gradients = period.momentum;
  }
  at::_foreach_add_(period.anchors, gradients, -options_.outer_lr);
  for (std::size_t i = 0; i < own.size(); ++i) own[i].copy_(period.anchors[i]);
  const auto buffers = module().buffers();
  if (!buffers.empty()) {
    const auto means = means_over(mesh().world(), buffers);
    for (std::size_t i = 0; i < buffers.size(); ++i) buffers[i].detach().copy_(means[i]);
  }
  period.steps = 0;
}

bool DiLoCoPlan::ranks_differ() const {
  if (!fitting_ || mesh().world().is_alone()) return false;
  for (const auto& period : periods_)
    if (period.steps > 0) return true;
  return false;
}

PlanState DiLoCoPlan::step_state() const {
  PlanState state;
  if (periods_.empty()) return state;
  state.shared = {{"steps", nlohmann::json::array()}, {"momentum", nlohmann::json::array()}};
  for (std::size_t number = 0; number < periods_.size(); ++number) {
    const auto& period = periods_[number];
    state.shared["steps"].push_back(period.steps);
    const auto put = [&](const char* what, const std::vector<torch::Tensor>& tensors) {
      for (std::size_t i = 0; i < tensors.size(); ++i)
        state.tensors.emplace(what + std::to_string(number) + "." + period.inner->parameter_name(i),
                              tensors[i]);
    };
    put("anchor.", period.anchors);
    put("momentum.", period.momentum);
  }
  // Also right after an outer step: the inner optimizers' state is never exchanged.
  if (!mesh().world().is_alone()) replica_.save(state);
  return state;
}

void DiLoCoPlan::load_step_state(const PlanState& saved) {
  const auto steps = saved.shared.value("steps", std::vector<std::int64_t>());
  if (steps.size() != periods_.size())
    throw std::runtime_error("it is of " + std::to_string(steps.size()) + " optimizer(s), now there are " +
                             std::to_string(periods_.size()));
  const auto take = [&](const std::string& prefix, const Optimizer& inner) {
    std::vector<torch::Tensor> taken;
    for (std::size_t i = 0; i < inner.parameters().size(); ++i) {
      const auto found = saved.tensors.find(prefix + inner.parameter_name(i));
      if (found == saved.tensors.end()) break;
      const auto& parameter = inner.parameters()[i];
      if (found->second.sizes() != parameter.sizes())
        throw std::runtime_error(found->first + " has the shape " + c10::str(found->second.sizes()) +
                                 ", expected " + c10::str(parameter.sizes()));
      taken.push_back(found->second.to(parameter.device(), parameter.scalar_type(), /*non_blocking=*/false,
                                       /*copy=*/true));
    }
    return taken;
  };
  for (std::size_t number = 0; number < periods_.size(); ++number) {
    auto& period = periods_[number];
    period.steps = steps[number];
    period.anchors = take("anchor." + std::to_string(number) + ".", *period.inner);
    period.momentum = take("momentum." + std::to_string(number) + ".", *period.inner);
  }
  if (mesh().world().is_alone() || replica_.load(saved)) return;
  bool within = false;
  for (const auto& period : periods_) within = within || !period.anchors.empty();
  if (within && mesh().world().rank() == 0)
    std::cerr << "rtrain: warning: DiLoCoStrategy: the checkpoint is of another number of ranks: every rank "
                 "goes on from the mean of their parameters, with the optimizer state of rank 0"
              << std::endl;
}

}  // namespace

DiLoCoStrategy::DiLoCoStrategy(DiLoCoOptions options) : options_(options) {
  std::string problems;
  if (options.sync_every < 1)
    problems += "\n  sync_every is " + std::to_string(options.sync_every) + ", expected 1 or more";
  if (!(options.outer_lr >= 0))
    problems += "\n  outer_lr is " + std::to_string(options.outer_lr) + ", expected 0 or more";
  if (!(options.outer_momentum >= 0))
    problems += "\n  outer_momentum is " + std::to_string(options.outer_momentum) + ", expected 0 or more";
  if (options.nesterov && options.outer_momentum == 0)
    problems += "\n  nesterov is true and outer_momentum is 0: set nesterov = false, or a momentum";
  if (options.timeout && options.timeout->count() <= 0)
    problems += "\n  timeout is " + std::to_string(options.timeout->count()) + " ms, expected more than 0";
  if (!problems.empty())
    throw std::invalid_argument("DiLoCoStrategy: these options cannot be used:" + problems);
}

std::unique_ptr<Plan> DiLoCoStrategy::prepare(LightningModule& module, bool fitting) {
  if (options_.timeout && !mesh().world().is_alone()) mesh().world().set_timeout(*options_.timeout);
  return std::make_unique<DiLoCoPlan>(module, mesh(), device(), options_, fitting);
}

RTRAIN_REGISTER_OPTIONS(Strategy, "diloco", DiLoCoStrategy, DiLoCoOptions, sync_every, outer_lr,
                        outer_momentum, nesterov, bf16_pseudo_gradient);

}  // namespace rtrain
