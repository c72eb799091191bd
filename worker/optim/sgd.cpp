// SGD on the fused kernel: p -= lr buf, buf = momentum buf + (1 - dampening) g, and buf = g at the first
// step.
#include "worker/optim/grouped.h"

#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/zeros_like.h>

namespace rtrain::optim {
namespace {

const Kind kSGD{
    "SGD",
    {{"lr"}, {"momentum"}, {"dampening", Range::kAny}, {"weight_decay"}, {"nesterov"}, {"maximize"}},
    [](const Options& o) -> std::string {
      const bool works = !flag(o, "nesterov") || (option(o, "momentum") > 0 && option(o, "dampening") == 0);
      return works ? "" : "nesterov needs a momentum and no dampening";
    }};

class FusedSGD final : public Grouped {
 public:
  using Grouped::Grouped;

 protected:
  [[nodiscard]] bool is_fused() const override { return true; }

  [[nodiscard]] std::optional<ParameterState> new_state(const torch::Tensor& p,
                                                        const Options& options) const override {
    ParameterState state;
    if (option(options, "momentum") != 0) state.emplace("momentum_buffer", at::zeros_like(p));
    return state;
  }

  void update(const Options& o, Stepped& batch, const StepInputs& inputs) override {
    if (option(o, "momentum") == 0) return run(o, batch, {}, false, inputs);
    // The kernel fills the buffers of a first step and updates the others': a parameter whose first gradient
    // comes late goes apart.
    Stepped fresh, seasoned;
    for (std::size_t i = 0; i < batch.numbers.size(); ++i) {
      auto& part = state_[batch.numbers[i]].empty() ? fresh : seasoned;
      part.numbers.push_back(batch.numbers[i]);
      part.parameters.push_back(batch.parameters[i]);
      part.gradients.push_back(batch.gradients[i]);
    }
    fresh.lr = seasoned.lr = batch.lr;
    if (!seasoned.numbers.empty()) run(o, seasoned, state_list(seasoned, "momentum_buffer"), false, inputs);
    if (fresh.numbers.empty()) return;
    // A first step that is left out must leave no buffers behind, or the next would not be the first. Without
    // dampening a buffer of 0 makes the same first step, so the host need not know.
    const bool may_be_left_out = inputs.found_inf.defined();
    const bool has_dampening = option(o, "dampening") != 0;
    if (may_be_left_out && has_dampening && inputs.found_inf.item<float>() != 0) return;
    Tensors buffers;
    for (const auto number : fresh.numbers) buffers.push_back(state_of(number, o).at("momentum_buffer"));
    run(o, fresh, std::move(buffers), !may_be_left_out || has_dampening, inputs);
  }

 private:
  static void run(const Options& o, Stepped& batch, Tensors buffers, bool is_first_step,
                  const StepInputs& inputs) {
    const auto given = [](const torch::Tensor& tensor) {
      return tensor.defined() ? std::optional<at::Tensor>(tensor) : std::nullopt;
    };
    with_lr(o, batch, [&](const auto& lr) {
      at::_fused_sgd_(batch.parameters, batch.gradients, buffers, option(o, "weight_decay"),
                      option(o, "momentum"), lr, option(o, "dampening"), flag(o, "nesterov"),
                      flag(o, "maximize"), is_first_step, given(inputs.grad_scale), given(inputs.found_inf));
    });
  }
};

}  // namespace

std::shared_ptr<Optimizer> SGD(Parameters<SGDGroup> parameters, SGDOptions o) {
  return std::make_shared<FusedSGD>(kSGD, std::move(parameters.groups),
                                    Options{{"lr", o.lr},
                                            {"momentum", o.momentum},
                                            {"dampening", o.dampening},
                                            {"weight_decay", o.weight_decay},
                                            {"nesterov", o.nesterov},
                                            {"maximize", o.maximize}});
}

}  // namespace rtrain::optim
