// Gradients that are averaged over the ranks within a plain backward(): for loops without the Trainer.
#include <rtrain/context.h>
#include <rtrain/process_group.h>

#include "worker/optim/unique.h"
#include "worker/sdk/job.h"
#include "worker/strategies/module_agreement.h"

#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/torch.h>

#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>

namespace rtrain {
namespace {

constexpr std::int64_t kBucketBytes = 25 * 1024 * 1024;

/// Gradients that travel together: of one type, on one device. The flat tensor begins with a number for each:
/// 1 where this rank has a gradient, so that the sum tells whether any has. All ranks make the same buckets
/// and send them in the same order, whatever their backward passes reached.
struct Bucket {
  std::vector<std::size_t> members;
  std::int64_t elements = 0;
  std::size_t waiting = 0;  ///< members whose gradient is not there yet
  torch::Tensor flat;
  Work work;
};

}  // namespace

struct SharedGradients::Impl : std::enable_shared_from_this<SharedGradients::Impl> {
  struct Parameter {
    torch::Tensor tensor;
    std::string name;
    std::size_t bucket = 0;
    bool ready = false;
  };

  /// Belongs to the tensor, not to the node that accumulates into it: torch::load() and to() may give it
  /// another node.
  struct Hook : torch::autograd::PostAccumulateGradHook {
    Hook(std::weak_ptr<Impl> of, std::size_t parameter) : owner(std::move(of)), index(parameter) {}
    void operator()(const torch::autograd::Variable&) override {
      if (const auto alive = owner.lock()) alive->gradient_is_there(index);
    }
    std::weak_ptr<Impl> owner;
    std::size_t index;
  };

  Impl(const torch::nn::Module& module, std::shared_ptr<Communicator> group) : ranks(std::move(group)) {
    FirstTime first;
    for (const auto& item : module.named_parameters()) {
      if (item.value().requires_grad() && first(item.value()))
        parameters.push_back({item.value(), item.key()});
    }
    buffers = module.buffers();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    if (buckets.empty()) return;
    for (const auto& parameter : parameters)
      torch::autograd::impl::set_post_acc_grad_hooks(parameter.tensor, nullptr);
  }

  /// Backward makes the last parameters' gradients first.
  void make_buckets() {
    for (std::size_t i = parameters.size(); i-- > 0;) {
      const auto& tensor = parameters[i].tensor;
      const bool fits = !buckets.empty() && [&] {
        const auto& first = parameters[buckets.back().members.front()].tensor;
        return first.scalar_type() == tensor.scalar_type() && first.device() == tensor.device() &&
               (buckets.back().elements + tensor.numel()) * tensor.element_size() <= kBucketBytes;
      }();
      if (!fits) buckets.emplace_back();
      buckets.back().members.push_back(i);
      buckets.back().elements += tensor.numel();
      parameters[i].bucket = buckets.size() - 1;
    }
    start_over();
  }

  void add_hooks() {
    for (std::size_t i = 0; i < parameters.size(); ++i)
      torch::autograd::impl::set_post_acc_grad_hooks(parameters[i].tensor,
                                                     std::make_unique<Hook>(weak_from_this(), i));
  }

  void start_over() {
    in_backward = false;
    launched = 0;
    for (auto& parameter : parameters) parameter.ready = false;
    for (auto& bucket : buckets) {
      bucket.waiting = bucket.members.size();
      bucket.flat.reset();
      bucket.work = {};
    }
  }

  /// On a thread of autograd.
  void gradient_is_there(std::size_t i) {
    const std::lock_guard lock(mutex);
    if (local > 0) return;
    // A pass that an exception ended was never finished; the ranks may have sent different buckets.
    if (parameters[i].ready)
      throw std::logic_error(
          "prepare_model: the previous backward() threw an exception, so the ranks are no longer "
          "in step");
    if (!in_backward) {
      in_backward = true;
      torch::autograd::Engine::get_default_engine().queue_callback([self = weak_from_this()] {
        if (const auto alive = self.lock()) alive->finish();
      });
    }
    parameters[i].ready = true;
    --buckets[parameters[i].bucket].waiting;
    while (launched < buckets.size() && buckets[launched].waiting == 0) launch();
  }

  void launch() {
    auto& bucket = buckets[launched++];
    const torch::NoGradGuard no_grad;
    const auto count = static_cast<std::int64_t>(bucket.members.size());
    const auto& first = parameters[bucket.members.front()].tensor;
    bucket.flat = torch::zeros({count + bucket.elements}, first.options().requires_grad(false));
    std::int64_t at = count;
    for (std::int64_t k = 0; k < count; ++k) {
      const auto& parameter = parameters[bucket.members[static_cast<std::size_t>(k)]];
      const auto& tensor = parameter.tensor;
      const auto& gradient = tensor.grad();
      if (gradient.defined()) {
        if (gradient.is_sparse())
          throw std::runtime_error(
              "prepare_model: the gradient of " + parameter.name +
              " is sparse, and sparse gradients are not averaged: make the embedding with sparse(false)");
        bucket.flat[k].fill_(1);
        bucket.flat.narrow(0, at, tensor.numel()).view_as(tensor).copy_(gradient);
      }
      at += tensor.numel();
    }
    bucket.flat.narrow(0, count, bucket.elements).div_(ranks->world_size());
    bucket.work = ranks->start_all_reduce(bucket.flat, Communicator::Op::kSum, "all_reduce of gradients");
  }

  /// All buckets have gone or go now; then the averages come back.
  void finish() {
    const std::lock_guard lock(mutex);
    const torch::NoGradGuard no_grad;
    while (launched < buckets.size()) launch();
    for (auto& bucket : buckets) bucket.work.wait();
    for (auto& bucket : buckets) {
      // It may have been made on another stream than the one that reads it here.
      if (bucket.flat.is_cuda())
        bucket.flat.record_stream(
            c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA).getStream(bucket.flat.device()));
      auto at = static_cast<std::int64_t>(bucket.members.size());
      torch::Tensor heads;  // copied once, and where a gradient is missing only: a copy waits for the device
      for (std::size_t k = 0; k < bucket.members.size(); ++k) {
        const auto& tensor = parameters[bucket.members[k]].tensor;
        const auto average = bucket.flat.narrow(0, at, tensor.numel()).view_as(tensor);
        if (tensor.grad().defined()) {
          tensor.grad().copy_(average);
        } else {
          if (!heads.defined())
            heads = bucket.flat.narrow(0, 0, static_cast<std::int64_t>(bucket.members.size()))
                        .to(torch::kCPU, torch::kFloat64);
          if (heads.data_ptr<double>()[k] > 0) tensor.mutable_grad() = average.clone();
        }
        at += tensor.numel();
      }
    }
    start_over();
  }

  std::shared_ptr<Communicator> ranks;
  std::vector<Parameter> parameters;
  std::vector<torch::Tensor> buffers;
  std::vector<Bucket> buckets;  ///< none in a world of 1
  std::mutex mutex;
  std::size_t launched = 0;  ///< buckets of this pass that are on their way
  bool in_backward = false;
  int local = 0;  ///< NoSync objects that live
};

SharedGradients::SharedGradients(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
SharedGradients::SharedGradients(SharedGradients&&) noexcept = default;
SharedGradients& SharedGradients::operator=(SharedGradients&&) noexcept = default;
SharedGradients::~SharedGradients() = default;

SharedGradients::NoSync::NoSync(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {
  const std::lock_guard lock(impl_->mutex);
  ++impl_->local;
}
SharedGradients::NoSync::~NoSync() {
  const std::lock_guard lock(impl_->mutex);
  --impl_->local;
}
SharedGradients::NoSync SharedGradients::no_sync() { return NoSync(impl_); }

void SharedGradients::sync() {
  if (!impl_->buckets.empty()) impl_->finish();
}

void SharedGradients::sync_buffers() {
  if (!impl_->buckets.empty()) take_over_buffers(impl_->buffers, *impl_->ranks);
}

SharedGradients prepare_model(torch::nn::Module& module) {
  const auto device = get_device();
  module.to(device);
  const auto* group = sdk::Job::current().group();
  if (const auto ranks = get_context().get_world_size(); group == nullptr && ranks > 1)
    throw std::logic_error("prepare_model: this is one of " + std::to_string(ranks) +
                           " ranks, but it has not joined them: call rtrain::init_process_group() first");
  const auto ranks = group != nullptr ? group->communicator() : Communicator::alone();
  auto impl = std::make_shared<SharedGradients::Impl>(module, ranks);
  if (impl->parameters.empty()) throw std::runtime_error("prepare_model: " + no_parameter_words());
  if (ranks->is_alone()) return SharedGradients(std::move(impl));
  require_equal_modules("prepare_model", module, *ranks, device);
  take_over_state(module, *ranks);
  impl->make_buckets();
  impl->add_hooks();
  return SharedGradients(std::move(impl));
}

}  // namespace rtrain
