#include "worker/parallel/pipeline_run.h"

#include "worker/parallel/pipeline_state.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/torch.h>

#include <stdexcept>

namespace rtrain::parallel {
namespace {

using Kind = PipelineAction::Kind;

/// What the shapes of activations depend on.
std::string words_of_batch(const Batch& batch, const char* what) {
  std::string text = what;
  batch.for_each_tensor([&](const torch::Tensor& tensor) {
    text += " " + std::string(c10::toString(tensor.scalar_type())) + c10::str(tensor.sizes());
  });
  return text;
}

}  // namespace

std::vector<Batch> cut_batch(const Batch& batch, std::int64_t parts) {
  const auto samples = batch.size();
  if (samples == 0 || samples % parts != 0)
    throw std::invalid_argument(
        "a batch of " + std::to_string(samples) + " samples cannot be cut into " + std::to_string(parts) +
        " micro-batches of equal size (num_microbatches): choose a batch_size that is a "
        "multiple of it, and drop_last = true for the loader");
  const auto size = samples / parts;
  std::vector<Batch> all;
  for (std::int64_t i = 0; i < parts; ++i) {
    auto part = batch;
    part.for_each_tensor([&](torch::Tensor& tensor) {
      if (tensor.dim() == 0) return;
      if (tensor.size(0) != samples)
        throw std::invalid_argument("a batch of " + std::to_string(samples) +
                                    " samples has a tensor of shape " + c10::str(tensor.sizes()) +
                                    ", which cannot be cut into micro-batches: expected " +
                                    std::to_string(samples) + " in its first dimension");
      tensor = tensor.narrow(0, i * size, size);
    });
    all.push_back(std::move(part));
  }
  return all;
}

PipelineRun::PipelineRun(std::shared_ptr<StageCut> cut, Communicator& ranks, ScheduleKind kind,
                         torch::Device device)
    : cut_(std::move(cut)),
      ranks_(ranks),
      links_(ranks, cut_->shape(), device),
      training_(pipeline_schedule(kind, cut_->shape(), cut_->rank())),
      evaluation_(pipeline_forward(cut_->shape(), cut_->rank())) {
  detail::PipelineState::of(cut_->module()).last_output = [this] { return last_output(); };
}

PipelineRun::~PipelineRun() { detail::PipelineState::of(cut_->module()).last_output = nullptr; }

torch::Tensor PipelineRun::last_output() {
  if (!has_last())
    throw std::logic_error(
        "pipeline(): this rank does not have the last stage, whose output it is; only "
        "training_step, validation_step, test_step and predict_step may ask for it");
  if (!arrived_)
    throw std::logic_error("pipeline(): a step asks for it once, and outside of a step there is no output");
  auto x = std::move(*arrived_);
  arrived_.reset();
  return cut_->run(cut_->shape().stages() - 1, std::move(x));
}

void PipelineRun::forward(const PipelineAction& action, const Batch& micro_batch, const Step& step,
                          Held& held) {
  auto input = action.stage == 0 ? cut_->module().pipeline_input(micro_batch) : held.input;
  if (action.stage + 1 < cut_->shape().stages()) {
    step.forward([&] { held.output = cut_->run(action.stage, std::move(input)); });
    return;
  }
  arrived_ = std::move(input);
  held.output = step.last(micro_batch);
  if (std::exchange(arrived_, std::nullopt))
    throw std::logic_error(
        "the step returned without pipeline(...), so the other stages have worked in vain: "
        "take the output of the layers from there");
}

void PipelineRun::run_backward(const PipelineAction& action, const Step& step, const torch::Tensor& output,
                               const torch::Tensor& gradient) {
  if (!output.requires_grad()) return;
  if (!step.backward || action.stage + 1 < cut_->shape().stages())
    return torch::autograd::backward({output}, {gradient});
  struct Within {
    bool& flag;
    ~Within() { flag = false; }
  };
  const Within within{in_step_backward_};
  in_step_backward_ = true;
  step.backward(output);
}

void PipelineRun::train(const Batch& batch, const Step& step) {
  const auto parts = cut_batch(batch, micro_batches());
  links_.begin(words_of_batch(parts.front(), "training"));
  std::map<std::pair<int, std::int64_t>, Held> alive;
  torch::Tensor gradient;  // of the output of the backward that follows
  for (const auto& action : training_) {
    auto& held = alive[{action.stage, action.micro_batch}];
    switch (action.kind) {
      case Kind::kReceiveActivation:
        held.input = links_.receive_activation(action.stage).requires_grad_(true);
        break;
      case Kind::kForward:
        forward(action, parts[static_cast<std::size_t>(action.micro_batch)], step, held);
        break;
      case Kind::kSendActivation: links_.send_activation(action.stage, held.output); break;
      case Kind::kReceiveGradient: gradient = links_.receive_gradient(action.stage); break;
      case Kind::kBackward:
        run_backward(action, step, held.output, gradient);
        held.output.reset();
        gradient.reset();
        if (action.stage == 0) alive.erase({action.stage, action.micro_batch});
        break;
      case Kind::kSendGradient: {
        const auto& of_input = held.input.grad();
        links_.send_gradient(action.stage, of_input.defined() ? of_input : torch::zeros_like(held.input));
        alive.erase({action.stage, action.micro_batch});
        break;
      }
    }
  }
  links_.finish();
}

torch::Tensor PipelineRun::evaluate(const Batch& batch, const Step& step) {
  links_.begin(words_of_batch(batch, "evaluation"));
  Held held;
  for (const auto& action : evaluation_) {
    if (action.kind == Kind::kReceiveActivation)
      held.input = links_.receive_activation(action.stage);
    else if (action.kind == Kind::kForward)
      forward(action, batch, step, held);
    else
      links_.send_activation(action.stage, held.output);
  }
  links_.finish();
  return has_last() ? held.output : torch::Tensor();
}

}  // namespace rtrain::parallel
