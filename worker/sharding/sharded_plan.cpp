#include "worker/sharding/sharded_plan.h"

#include "worker/checkpoint/module_state.h"
#include "worker/strategies/elementwise.h"
#include "worker/strategies/global_norm.h"
#include "worker/strategies/module_agreement.h"

#include <rtrain/lightning_module.h>

#include <torch/torch.h>

#include <stdexcept>
#include <utility>

namespace rtrain::sharding {
namespace {

/// Behind the name of a parameter whose whole gradient no rank has seen but this one.
constexpr const char* kNotReduced = " (not reduced)";

}  // namespace

ShardedPlan::ShardedPlan(std::string who, LightningModule& of, Mesh& ranks, torch::Device at,
                         std::shared_ptr<ShardedModule> sharded, std::vector<torch::Tensor> whole,
                         const PlanOptions& options)
    : Plan(of, ranks, at),
      who_(std::move(who)),
      sharded_(std::move(sharded)),
      whole_(std::move(whole)),
      buffers_(of.buffers()),
      options_(options) {}

ShardedPlan::~ShardedPlan() { sharded_->end_batch(); }

// ---- optimizers ----------------------------------------------------------------------------------

void ShardedPlan::adopt(Optimizer& optimizer) { take_pieces(optimizer); }

/// Also later: a callback may add parameters to an optimizer.
void ShardedPlan::take_pieces(Optimizer& optimizer) {
  const auto found = adopted_.find(&optimizer);
  if (found != adopted_.end() && found->second == optimizer.tensor_changes()) return;
  require_elementwise(optimizer, who_, "cannot step a part of a parameter", ", or DDPStrategy");
  const auto parameters = optimizer.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto held = sharded_->find(parameters[i]);
    if (!held) continue;
    const auto& member = **held;
    optimizer.replace_parameter(optimizer.parameter_name(i),
                                StatePiece(member.piece, parameters[i].sizes().vec(), member.in_parameter));
  }
  adopted_[&optimizer] = optimizer.tensor_changes();
}

/// A gradient that is still in a parameter would be left out of the step without a word.
void ShardedPlan::require_reduced(const Optimizer& optimizer) const {
  for (std::size_t i = 0; i < optimizer.parameters().size(); ++i) {
    const auto held = sharded_->find_piece(optimizer.parameters()[i]);
    if (!held || !(**held).parameter.grad().defined()) continue;
    throw std::logic_error(who_ + ": parameter " + (**held).name +
                           " has a gradient that the ranks have not reduced: compute it with "
                           "manual_backward(loss), and the last one before a step outside of no_sync()");
  }
}

void ShardedPlan::step(Optimizer& optimizer, const StepInputs& inputs) {
  take_pieces(optimizer);
  require_reduced(optimizer);
  // Each rank has looked at its own part for infinities.
  if (inputs.found_inf.defined()) mesh().world().all_reduce(inputs.found_inf, Communicator::Op::kMax);
  sharded_->before_step();
  optimizer.step(inputs);
  sharded_->after_step();
}

torch::Tensor ShardedPlan::step_with_closure(Optimizer& optimizer, const Closure&) {
  throw std::invalid_argument(who_ + ": " + optimizer.type_name() +
                              " computes the loss several times a step, which needs whole parameters: use "
                              "DDPStrategy");
}

torch::Tensor ShardedPlan::clip(Optimizer& optimizer, const GradientClip& clip) {
  take_pieces(optimizer);
  require_reduced(optimizer);
  if (clip.algorithm == GradientClip::Algorithm::kValue) return Plan::clip(optimizer, clip);
  std::vector<torch::Tensor> pieces, whole;
  for (const auto& parameter : optimizer.parameters()) {
    if (!parameter.grad().defined()) continue;
    (sharded_->find_piece(parameter) ? pieces : whole).push_back(parameter.grad());
  }
  return clip_global_norm(pieces, whole, sharded_->shards(), clip.limit, device());
}

void ShardedPlan::zero_grad(const std::vector<torch::Tensor>& parameters) {
  Plan::zero_grad(parameters);
  for (const auto& parameter : parameters) {
    if (const auto of_piece = sharded_->find_piece(parameter)) {
      (**of_piece).parameter.mutable_grad().reset();
      (**of_piece).has_gradient = false;
    } else if (const auto held = sharded_->find(parameter)) {
      (**held).piece.mutable_grad().reset();
      (**held).has_gradient = false;
    }
  }
}

// ---- a step --------------------------------------------------------------------------------------

void ShardedPlan::before_forward(bool sync) {
  sharded_->require_intact();
  const bool training = torch::GradMode::is_enabled();
  // The first forward after one that changed the buffers of every rank in its own way.
  if (sync_buffers_next_ && options_.broadcast_buffers) take_over_buffers(buffers_, mesh().world());
  sync_buffers_next_ = training && sync;
  sharded_->begin_forward(training);
}

void ShardedPlan::after_batch() { sharded_->end_batch(); }

void ShardedPlan::backward(const torch::Tensor& loss, bool sync, const BackwardOptions& how) {
  sharded_->begin_backward(sync);
  how.run(loss);
  sharded_->end_backward();
  if (sync && !whole_.empty()) Plan::reduce_gradients(whole_);
}

void ShardedPlan::reduce_gradients(const std::vector<torch::Tensor>&) {
  sharded_->reduce_left_gradients();
  if (!whole_.empty()) Plan::reduce_gradients(whole_);
}

std::map<std::string, torch::Tensor> ShardedPlan::pending_gradients() const {
  std::map<std::string, torch::Tensor> gradients;
  for (const auto& item : module().named_parameters()) {
    const auto held = sharded_->find(item.value());
    const auto& whole = item.value().grad();
    if (!held) {
      if (whole.defined()) gradients.emplace(item.key(), whole);
      continue;
    }
    if (whole.defined()) gradients.emplace(item.key() + kNotReduced, whole);
    if (const auto& reduced = (**held).piece.grad(); reduced.defined())
      gradients.emplace(item.key(), reduced);
  }
  return gradients;
}

void ShardedPlan::load_pending_gradients(const std::map<std::string, torch::Tensor>& gradients) {
  const auto load = [&](const std::string& name, const torch::Tensor& into) {
    const auto found = gradients.find(name);
    if (found == gradients.end()) return false;
    into.mutable_grad() = found->second.to(into.device(), /*non_blocking=*/false, /*copy=*/true);
    return true;
  };
  for (const auto& item : module().named_parameters()) {
    const auto held = sharded_->find(item.value());
    (void)load(item.key(), held ? (**held).piece : item.value());
    if (held && load(item.key() + kNotReduced, item.value())) (**held).has_gradient = true;
  }
}

std::string ShardedPlan::why_not_captured() const {
  return who_ + " decides on the host which parameters to gather: leave cuda_graph out, or use DDPStrategy";
}

// ---- state ---------------------------------------------------------------------------------------

StateTree ShardedPlan::module_state() const { return sharded_->state_of(module()); }

LoadedWeights ShardedPlan::load_module_state(const StateTree& saved, bool strict) {
  LoadedWeights loaded;
  sharded_->with_pieces([&] { loaded = load_state(module_state(), saved, strict); });
  return loaded;
}

}  // namespace rtrain::sharding
