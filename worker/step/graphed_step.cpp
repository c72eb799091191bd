#include "worker/step/graphed_step.h"

#include <ATen/ops/full.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/grad_mode.h>

#include <stdexcept>
#include <utility>

namespace rtrain {
namespace {

/// What a capture reads from a tensor, or what no step reads.
bool is_watched(const std::string& option) {
  return option != "lr" && option != "initial_lr" && option != "max_lr" && option != "min_lr" &&
         option != "swa_lr";
}

bool fits(const torch::Tensor& buffer, const torch::Tensor& tensor) {
  return buffer.scalar_type() == tensor.scalar_type() && buffer.sizes() == tensor.sizes() &&
         buffer.strides() == tensor.strides();
}

std::string words_of(const Batch& batch) {
  std::string text;
  batch.for_each_tensor([&](const torch::Tensor& tensor) {
    text += (text.empty() ? "" : ", ") + std::string(c10::toString(tensor.scalar_type())) + " " +
            c10::str(tensor.sizes());
  });
  return text;
}

class Taped {
 public:
  Taped(MetricBoard* metrics, LogTape& tape) : metrics_(metrics) {
    if (metrics_ != nullptr) metrics_->use_tape(&tape);
  }
  ~Taped() {
    if (metrics_ != nullptr) metrics_->use_tape(nullptr);
  }
  Taped(const Taped&) = delete;
  Taped& operator=(const Taped&) = delete;

 private:
  MetricBoard* metrics_;
};

class RatesFromDevice {
 public:
  RatesFromDevice(Optimizer& optimizer, const DeviceRates& rates) : optimizer_(optimizer) {
    (void)optimizer_.read_lr_from(rates.tensors());
  }
  ~RatesFromDevice() { (void)optimizer_.read_lr_from({}); }
  RatesFromDevice(const RatesFromDevice&) = delete;
  RatesFromDevice& operator=(const RatesFromDevice&) = delete;

 private:
  Optimizer& optimizer_;
};

torch::Tensor copy_of(const torch::Tensor& tensor) {
  return tensor.defined() ? tensor.detach().clone() : tensor;
}

}  // namespace

/// Fused kernels of a GPU read float32; the CPU's take any type, and there a float64 keeps the bits.
void DeviceRates::make(const Optimizer& optimizer, torch::Device device) {
  tensors_.clear();
  written_.clear();
  const auto type = device.is_cpu() ? torch::kDouble : torch::kFloat;
  for (std::size_t g = 0; g < optimizer.groups().size(); ++g) {
    written_.push_back(optimizer.lr(static_cast<int>(g)));
    tensors_.push_back(at::full({}, written_.back(), torch::TensorOptions(device).dtype(type)));
  }
}

void DeviceRates::write(const Optimizer& optimizer) {
  const torch::NoGradGuard no_grad;
  for (std::size_t g = 0; g < tensors_.size(); ++g) {
    const auto lr = optimizer.lr(static_cast<int>(g));
    if (std::exchange(written_[g], lr) != lr) tensors_[g].fill_(lr);
  }
}

void StepConstants::take(const torch::nn::Module& module, const Optimizer& optimizer) {
  tensors_.clear();
  options_.clear();
  const auto watch = [&](const torch::OrderedDict<std::string, torch::Tensor>& named) {
    for (const auto& item : named) {
      const auto& tensor = item.value();
      if (tensor.defined() && tensor.layout() == torch::kStrided)
        tensors_.push_back({item.key(), tensor, tensor.const_data_ptr(), tensor.requires_grad()});
    }
  };
  watch(module.named_parameters());
  watch(module.named_buffers());
  tensor_changes_ = optimizer.tensor_changes();
  for (const auto& group : optimizer.groups()) options_.push_back(group.options);
}

std::string StepConstants::changed(const Optimizer& optimizer) const {
  for (const auto& [name, tensor, address, requires_grad] : tensors_) {
    if (tensor.requires_grad() != requires_grad)
      return "\"" + name + "\" was " + (requires_grad ? "frozen" : "unfrozen");
    if (tensor.const_data_ptr() != address) return "\"" + name + "\" lies elsewhere in memory";
  }
  if (optimizer.tensor_changes() != tensor_changes_)
    return "the groups or the state of " + optimizer.type_name() + " are others";
  for (std::size_t g = 0; g < options_.size(); ++g) {
    const auto& now = optimizer.groups()[g].options;
    for (const auto& [name, value] : options_[g]) {
      const auto found = now.find(name);
      if (is_watched(name) && (found == now.end() || found->second != value))
        return "the option \"" + name + "\" of " + optimizer.type_name() +
               " has changed (a scheduler with cycle_momentum changes it in each step)";
    }
  }
  return {};
}

struct GraphedStep::Graph {
  explicit Graph(torch::Device device) : tape(LogTape::Mode::kKeeps, device) {}
  Batch buffers;
  std::vector<torch::Tensor> slots;  ///< of the buffers, in the order of for_each_tensor
  StepOutput output;
  LogTape tape;
  std::vector<torch::Tensor> gradients;  ///< by parameter of the optimizer
  std::unique_ptr<Recorder::Recording> recording;
};

GraphedStep::GraphedStep(std::shared_ptr<Recorder> recorder, Of of, const StepCapture::Limits& limits)
    : recorder_(std::move(recorder)), of_(std::move(of)), capture_(limits) {}
GraphedStep::~GraphedStep() = default;

void GraphedStep::fall_back(const std::string& reason) {
  capture_.refuse(reason);
  graphs_.clear();
  tell();
}

void GraphedStep::tell() {
  if (capture_.reason().empty() || std::exchange(told_, true) || !of_.warn) return;
  of_.warn(std::string("cuda_graph: ") +
           (capture_.is_refused() ? "steps run eagerly from here on: " : "some steps run eagerly: ") +
           capture_.reason());
}

GraphedStep::Graph* GraphedStep::graph_for(const Batch& batch) {
  for (const auto& graph : graphs_) {
    std::size_t number = 0;
    bool alike = true;
    batch.for_each_tensor([&](const torch::Tensor& tensor) {
      alike = alike && number < graph->slots.size() && fits(graph->slots[number], tensor);
      ++number;
    });
    if (alike && number == graph->slots.size()) return graph.get();
  }
  return nullptr;
}

StepOutput GraphedStep::run(const Batch& batch, const Eager& eager) {
  if (capture_.is_refused()) return eager(batch);
  batch.for_each_tensor([&](const torch::Tensor& tensor) {
    if (tensor.device().type() != of_.device.type())
      fall_back("the batch has a tensor on " + tensor.device().str() +
                ": transfer_batch_to_device() brings all of them to the device");
  });
  if (!graphs_.empty()) {
    if (const auto what = constants_.changed(of_.optimizer); !what.empty()) {
      graphs_.clear();
      capture_.restart(what);
    }
  }
  auto* graph = graph_for(batch);
  switch (capture_.next(graph != nullptr)) {
    case StepMode::kWarmup: return warm_up(batch, eager);
    case StepMode::kEager: return tell(), eager(batch);
    case StepMode::kReplay: {
      const torch::NoGradGuard no_grad;
      std::size_t number = 0;
      batch.for_each_tensor([&](const torch::Tensor& tensor) { graph->slots[number++].copy_(tensor); });
      break;
    }
    case StepMode::kCapture: {
      auto made = capture(batch, eager);
      if (capture_.is_refused()) return eager(batch);
      graph = graphs_.emplace_back(std::move(made)).get();
      break;
    }
  }
  return replay(*graph);
}

StepOutput GraphedStep::warm_up(const Batch& batch, const Eager& eager) {
  LogTape tape(LogTape::Mode::kListens, of_.device);
  StepOutput output;
  {
    const Taped taped(of_.metrics, tape);
    output = eager(batch);
  }
  if (!tape.fault().empty())
    fall_back(tape.fault());
  else if (!output.loss.defined())
    fall_back("training_step returned no loss, so that the step differs from batch to batch");
  return output;
}

std::unique_ptr<GraphedStep::Graph> GraphedStep::capture(const Batch& batch, const Eager& eager) {
  if (of_.meet) of_.meet("the capture of the step of a batch of " + words_of(batch));
  if (graphs_.empty()) {
    constants_.take(of_.module, of_.optimizer);
    rates_.make(of_.optimizer, of_.device);
  }
  rates_.write(of_.optimizer);
  auto graph = std::make_unique<Graph>(of_.device);
  graph->buffers = batch;
  graph->buffers.for_each_tensor([&](torch::Tensor& tensor) {
    tensor = copy_of(tensor);
    graph->slots.push_back(tensor);
  });
  try {
    graph->recording = recorder_->record([this, to = graph.get(), eager] {
      to->tape.clear();
      const RatesFromDevice rates(of_.optimizer, rates_);
      const Taped taped(of_.metrics, to->tape);
      to->output = eager(to->buffers);
    });
  } catch (const c10::Error& error) {
    throw std::runtime_error(
        std::string("cuda_graph: the training step cannot be captured: ") + error.what_without_backtrace() +
        "; a captured step must not wait for the device (item(), nonzero(), a copy to the CPU, an index by a "
        "mask): compute it on the device, do it in on_train_batch_end, or set cuda_graph = false");
  }
  if (!graph->tape.fault().empty())
    fall_back(graph->tape.fault());
  else if (!graph->output.loss.defined())
    fall_back("training_step returned no loss, so that the step differs from batch to batch");
  for (const auto& parameter : of_.optimizer.parameters()) graph->gradients.push_back(parameter.grad());
  return graph;
}

StepOutput GraphedStep::replay(Graph& graph) {
  rates_.write(of_.optimizer);
  // Another graph, or a hook, may have left others.
  const auto& parameters = of_.optimizer.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i].mutable_grad() = graph.gradients[i];
  graph.recording->replay();
  ++replays_;
  if (of_.metrics != nullptr)
    for (const auto& line : graph.tape.lines())
      of_.metrics->log(line.hook, line.name, MetricValue{line.value}, line.options);
  // The next replay writes over them.
  StepOutput output(copy_of(graph.output.loss));
  for (const auto& [name, tensor] : graph.output.extras) output.extras.emplace(name, copy_of(tensor));
  return output;
}

}  // namespace rtrain
