#include "worker/parallel/pipeline_plan.h"

#include "worker/checkpoint/module_state.h"
#include "worker/strategies/elementwise.h"
#include "worker/strategies/global_norm.h"
#include "worker/strategies/module_agreement.h"

#include <rtrain/lightning_module.h>

#include <torch/torch.h>

#include <stdexcept>
#include <utility>

namespace rtrain::parallel {

PipelinePlan::PipelinePlan(LightningModule& of, Mesh& ranks, torch::Device at,
                           std::shared_ptr<StageCut> of_stages, ScheduleKind kind,
                           const std::vector<SplitParameter>& split, bool broadcast_buffers)
    : Plan(of, ranks, at),
      PipelineRun(std::move(of_stages), ranks.group(Axis::kPipeline), kind, at),
      broadcast_buffers_(broadcast_buffers) {
  for (const auto& [tensor, partition] : split) split_.emplace(tensor.unsafeGetTensorImpl(), partition);
  take_over_first_values();
}

/// Replicas hold the same, and so do the stages that read a tied parameter.
void PipelinePlan::take_over_first_values() {
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> own;
  for (const auto& member : cut().members())
    if (member.is_here && cut().find(member.tensor) == &member) own.push_back(member.tensor.detach());
  mesh().loss_group().broadcast_all(own);
  for (const auto& member : cut().members()) {
    if (!member.is_here || member.ranks.size() < 2 || cut().find(member.tensor) != &member) continue;
    const int first = member.ranks.front();
    auto values = member.tensor.detach().contiguous();
    if (cut().rank() != first) {
      links().others().start_recv(values, first, 0, "receive of a tied parameter").wait();
      torch::Tensor(member.tensor.detach()).copy_(values);
      continue;
    }
    for (std::size_t i = 1; i < member.ranks.size(); ++i)
      links().others().start_send(values, member.ranks[i], 0, "send of a tied parameter").wait();
  }
}

// ---- optimizers ----------------------------------------------------------------------------------

/// Also later: a callback may add parameters to an optimizer.
void PipelinePlan::take_pieces(Optimizer& optimizer) {
  const auto found = adopted_.find(&optimizer);
  if (found != adopted_.end() && found->second == optimizer.tensor_changes()) return;
  require_elementwise(optimizer, "ModelParallelStrategy", "cannot step the stages of a pipeline");
  const auto parameters = optimizer.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto* member = cut().find(parameters[i]);
    // One that is here stays the tensor that it is, and is found again.
    if (member == nullptr || !taken_.emplace(&optimizer, parameters[i].unsafeGetTensorImpl()).second)
      continue;
    optimizer.replace_parameter(optimizer.parameter_name(i), member->piece);
  }
  adopted_[&optimizer] = optimizer.tensor_changes();
}

void PipelinePlan::step(Optimizer& optimizer, const StepInputs& inputs) {
  take_pieces(optimizer);
  // Each rank has looked at its own stages and parts for infinities.
  if (inputs.found_inf.defined())
    mesh().group(kOfOneReplica).all_reduce(inputs.found_inf, Communicator::Op::kMax);
  Plan::step(optimizer, inputs);
}

torch::Tensor PipelinePlan::clip(Optimizer& optimizer, const GradientClip& clip) {
  take_pieces(optimizer);
  if (clip.algorithm == GradientClip::Algorithm::kValue) return Plan::clip(optimizer, clip);
  const torch::NoGradGuard no_grad;
  // Parts of a tensor group add up, what its ranks all have counts once, and a tied parameter counts in its
  // first stage.
  std::vector<torch::Tensor> all, parts, whole;
  for (const auto& parameter : optimizer.parameters()) {
    auto& gradient = parameter.mutable_grad();
    if (!gradient.defined() || gradient.numel() == 0) continue;
    if (gradient.is_sparse()) gradient = gradient.coalesce();
    const auto values = gradient.is_sparse() ? gradient._values() : gradient;
    all.push_back(values);
    const auto* member = cut().find(parameter);
    if (member != nullptr && member->ranks.front() != cut().rank()) continue;
    (split_.contains(parameter.unsafeGetTensorImpl()) ? parts : whole).push_back(values);
  }
  auto square = sum_of_squares(parts, device());
  mesh().group(Axis::kTensor).all_reduce(square);
  square += sum_of_squares(whole, device());
  pipeline().all_reduce(square);
  return scale_to_norm(all, square.sqrt(), clip.limit);
}

void PipelinePlan::zero_grad(const std::vector<torch::Tensor>& parameters) {
  Plan::zero_grad(parameters);
  for (const auto& parameter : parameters)
    if (const auto* member = cut().find(parameter)) member->piece.tensor.mutable_grad().reset();
}

// ---- a step --------------------------------------------------------------------------------------

void PipelinePlan::before_forward(bool sync) {
  if (sync_buffers_next_ && broadcast_buffers_) {
    std::vector<torch::Tensor> buffers;
    for (const auto& member : cut().members())
      if (!member.is_parameter && member.is_here) buffers.push_back(member.tensor);
    take_over_buffers(buffers, mesh().loss_group());
  }
  sync_buffers_next_ = torch::GradMode::is_enabled() && sync;
}

void PipelinePlan::backward(const torch::Tensor& loss, bool, const BackwardOptions& options) {
  if (is_in_step_backward()) return options.run(loss);
  throw std::logic_error(
      "ModelParallelStrategy: a pipeline computes the gradients of its micro-batches itself: leave "
      "backward() "
      "and manual_backward() out, or set pipeline_parallel_size = 1");
}

void PipelinePlan::reduce_gradients(const std::vector<torch::Tensor>& parameters) {
  const auto anywhere = gradients_anywhere();
  sum_tied_gradients(anywhere);
  std::vector<torch::Tensor> own;
  for (const auto& parameter : parameters) {
    const auto* member = cut().find(parameter);
    if (member == nullptr || member->is_here) own.push_back(parameter);
  }
  Plan::reduce_gradients(own);
  // The pieces without elements of parameters elsewhere get a gradient where those have one, so that the
  // optimizers of all ranks have states of the same names.
  for (std::size_t i = 0; i < anywhere.size(); ++i) {
    const auto& member = cut().members()[i];
    if (member.is_parameter && !member.is_here && anywhere[i])
      member.piece.tensor.mutable_grad() = torch::zeros_like(member.piece.tensor);
  }
}

/// A stage sees only what its own layers make of a tied parameter. All get the sum, added up in one order.
void PipelinePlan::sum_tied_gradients(const std::vector<bool>& anywhere) {
  const torch::NoGradGuard no_grad;
  for (std::size_t number = 0; number < anywhere.size(); ++number) {
    const auto& member = cut().members()[number];
    if (!anywhere[number] || !member.is_here || member.ranks.size() < 2 ||
        cut().find(member.tensor) != &member)
      continue;
    auto& gradient = member.tensor.mutable_grad();
    auto sum = gradient.defined() ? gradient.to_dense().contiguous() : torch::zeros_like(member.tensor);
    const int first = member.ranks.front();
    if (cut().rank() != first) {
      links().others().start_send(sum, first, 0, "send of a tied parameter's gradient").wait();
      auto all = torch::empty_like(sum);
      links().others().start_recv(all, first, 0, "receive of a tied parameter's gradient").wait();
      sum = all;
    } else {
      for (std::size_t i = 1; i < member.ranks.size(); ++i) {
        auto other = torch::empty_like(sum);
        links()
            .others()
            .start_recv(other, member.ranks[i], 0, "receive of a tied parameter's gradient")
            .wait();
        sum = sum + other;
      }
      for (std::size_t i = 1; i < member.ranks.size(); ++i)
        links().others().start_send(sum, member.ranks[i], 0, "send of a tied parameter's gradient").wait();
    }
    gradient = sum;
  }
}

/// By member: whether a rank of another stage or replica, or this one, has a gradient of it.
std::vector<bool> PipelinePlan::gradients_anywhere() const {
  const auto& members = cut().members();
  auto present = torch::zeros({static_cast<std::int64_t>(members.size())}, torch::kInt64);
  auto* flags = present.mutable_data_ptr<std::int64_t>();
  for (std::size_t i = 0; i < members.size(); ++i)
    flags[i] = members[i].is_here && members[i].tensor.grad().defined() ? 1 : 0;
  auto all = present.to(device());
  mesh().group(kOfOnePart).all_reduce(all, Communicator::Op::kMax);
  all = all.to(torch::kCPU);
  const auto* of_any = all.const_data_ptr<std::int64_t>();
  std::vector<bool> anywhere;
  for (std::size_t i = 0; i < members.size(); ++i) anywhere.push_back(of_any[i] != 0);
  return anywhere;
}

std::map<std::string, torch::Tensor> PipelinePlan::pending_gradients() const {
  std::map<std::string, torch::Tensor> gradients;
  for (const auto& member : cut().members())
    if (member.is_here && member.tensor.grad().defined())
      gradients.emplace(member.name, member.tensor.grad());
  return gradients;
}

void PipelinePlan::load_pending_gradients(const std::map<std::string, torch::Tensor>& gradients) {
  for (const auto& member : cut().members()) {
    const auto found = gradients.find(member.name);
    if (found == gradients.end()) continue;
    if (!member.is_here)
      throw std::runtime_error(
          "fit: the checkpoint was saved within an accumulation by stages that are cut in another way (" +
          member.name +
          " is not on this rank any more): go on with the schedule and virtual_stages of that run");
    member.tensor.mutable_grad() =
        found->second.to(member.tensor.device(), /*non_blocking=*/false, /*copy=*/true);
  }
}

std::string PipelinePlan::why_not_captured() const {
  return "ModelParallelStrategy has messages between ranks within the step, which are not captured: leave "
         "cuda_graph out";
}

LoadedWeights PipelinePlan::load_module_state(const StateTree& saved, bool strict) {
  return load_state(module_state(), saved, strict);
}

}  // namespace rtrain::parallel
