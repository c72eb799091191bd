#include <rtrain/activation_checkpoint.h>
#include <rtrain/amp.h>

#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/torch.h>

#include <memory>
#include <mutex>
#include <stdexcept>
#include <utility>

namespace rtrain {
namespace {

/// What is random or set for a thread, and is the same in the second run.
struct Surroundings {
  Surroundings(torch::Device of, bool generators) : device(of) {
    if (generators) {
      on_host = at::detail::getDefaultCPUGenerator().get_state();
      if (device.is_cuda()) on_device = at::globalContext().defaultGenerator(device).get_state();
    }
    for (const auto type : {torch::kCPU, torch::kCUDA})
      if (at::autocast::is_autocast_enabled(type))
        autocast.emplace_back(type, at::autocast::get_autocast_dtype(type));
    cache = at::autocast::is_autocast_cache_enabled();
  }
  void set_generators() const {
    if (!on_host.defined()) return;
    auto host = at::detail::getDefaultCPUGenerator();
    host.set_state(on_host);
    if (!on_device.defined()) return;
    auto generator = at::globalContext().defaultGenerator(device);
    generator.set_state(on_device);
  }
  torch::Device device;
  torch::Tensor on_host, on_device;  ///< states of generators
  std::vector<std::pair<torch::DeviceType, torch::ScalarType>> autocast;
  bool cache = true;
};

/// As long as it lives, the surroundings are those of the first run.
class Again {
 public:
  explicit Again(const Surroundings& first) : now_(first.device, first.on_host.defined()) {
    first.set_generators();
    for (const auto& [type, dtype] : first.autocast)
      scopes_.push_back(std::make_unique<AutocastScope>(type, dtype, first.cache));
  }
  ~Again() {
    while (!scopes_.empty()) scopes_.pop_back();
    now_.set_generators();
  }
  Again(const Again&) = delete;
  Again& operator=(const Again&) = delete;

 private:
  Surroundings now_;
  std::vector<std::unique_ptr<AutocastScope>> scopes_;
};

using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

/// The part of the graph that the first run left out. It is in the graph even if no input needs a gradient:
/// parameters may.
class Recomputation final : public torch::autograd::Node {
 public:
  Recomputation(CheckpointedFunction function, const variable_list& inputs, const Surroundings& first)
      : Node(torch::autograd::collect_next_edges(inputs)),
        function_(std::move(function)),
        surroundings_(first) {
    for (const auto& input : inputs) inputs_.emplace_back(input, /*is_output=*/false);
  }

  variable_list apply(variable_list&& gradients) override {
    const std::lock_guard lock(mutex_);
    if (!function_)
      throw std::runtime_error(
          "checkpoint: backward ran a second time through a part that was given up after the first: pass "
          "retain_graph");
    variable_list inputs;
    for (const auto& saved : inputs_) {
      const auto input = saved.unpack();
      inputs.push_back(input.defined() ? input.detach().requires_grad_(input.requires_grad()) : input);
    }
    variable_list outputs;
    {
      const Again again(surroundings_);
      const torch::AutoGradMode with_gradients(true);
      outputs = function_(inputs);
    }
    variable_list roots, of_roots;
    for (std::size_t i = 0; i < outputs.size() && i < gradients.size(); ++i) {
      if (!outputs[i].requires_grad() || !gradients[i].defined()) continue;
      roots.push_back(outputs[i]);
      of_roots.push_back(gradients[i]);
    }
    if (!roots.empty()) torch::autograd::backward(roots, of_roots);
    variable_list result;
    for (const auto& input : inputs) result.push_back(input.defined() ? input.grad() : torch::Tensor());
    return result;
  }

  void release_variables() override {
    const std::lock_guard lock(mutex_);
    function_ = nullptr;
    inputs_.clear();
  }

 private:
  CheckpointedFunction function_;
  Surroundings surroundings_;
  std::vector<SavedVariable> inputs_;
};

}  // namespace

std::vector<torch::Tensor> checkpoint(const CheckpointedFunction& function,
                                      const std::vector<torch::Tensor>& inputs,
                                      const ActivationCheckpointOptions& options) {
  if (!function) throw std::invalid_argument("checkpoint: the function is empty");
  if (!torch::GradMode::is_enabled()) return function(inputs);
  const auto device = inputs.empty() ? torch::Device(torch::kCPU) : inputs.front().device();
  const std::shared_ptr<Recomputation> node(
      new Recomputation(function, inputs, Surroundings(device, options.preserve_rng_state)),
      torch::autograd::deleteNode);
  variable_list outputs;
  {
    const torch::NoGradGuard no_grad;
    outputs = function(inputs);
    for (auto& output : outputs) {
      // An input that is handed on keeps its own place in the graph.
      for (const auto& input : inputs)
        if (output.is_same(input)) output = output.view_as(output);
    }
  }
  for (auto& output : outputs) {
    if (output.defined() && output.requires_grad())
      output = output.detach();  // a parameter that is handed on
    if (output.defined() && torch::autograd::isDifferentiableType(output.scalar_type()))
      torch::autograd::set_history(output, node);
    else
      (void)node->add_input_metadata(torch::autograd::Node::undefined_input());
  }
  return outputs;
}

torch::Tensor checkpoint(std::function<torch::Tensor(const torch::Tensor&)> function,
                         const torch::Tensor& input, const ActivationCheckpointOptions& options) {
  if (!function) throw std::invalid_argument("checkpoint: the function is empty");
  return checkpoint(
             [function = std::move(function)](const std::vector<torch::Tensor>& inputs) {
               return std::vector<torch::Tensor>{function(inputs.front())};
             },
             std::vector<torch::Tensor>{input}, options)
      .front();
}

}  // namespace rtrain
