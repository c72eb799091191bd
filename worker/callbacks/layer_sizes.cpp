#include "worker/callbacks/layer_sizes.h"

#include <ATen/record_function.h>
#include <torch/csrc/autograd/grad_mode.h>
#include <torch/nn/module.h>

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace rtrain {
namespace {

/// Sizes by the name of a layer.
struct Watch {
  std::map<const void*, std::string> owners;  ///< of parameters
  std::map<std::string, std::pair<std::string, std::string>> sizes;
};
thread_local Watch* watch = nullptr;

struct Of final : at::ObserverContext {
  std::string layer;
};

std::string text_of(const torch::Tensor& tensor) {
  std::string text;
  for (const auto size : tensor.sizes()) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

/// The tensors of arguments, those in lists too.
template <class Values>
std::vector<torch::Tensor> tensors_of(const Values& values) {
  std::vector<torch::Tensor> all;
  for (const auto& value : values) {
    if (value.isTensor())
      all.push_back(value.toTensor());
    else if (value.isTensorList())
      for (const auto& one : value.toTensorVector()) all.push_back(one);
  }
  std::erase_if(all, [](const torch::Tensor& tensor) { return !tensor.defined(); });
  return all;
}

std::unique_ptr<at::ObserverContext> before(const at::RecordFunction& function) {
  if (watch == nullptr) return nullptr;
  const torch::Tensor* input = nullptr;
  const std::string* layer = nullptr;
  const auto tensors = tensors_of(function.inputs());
  for (const auto& tensor : tensors) {
    const auto owner = watch->owners.find(tensor.unsafeGetTensorImpl());
    if (owner == watch->owners.end())
      input = input == nullptr ? &tensor : input;
    else if (layer == nullptr)
      layer = &owner->second;
  }
  // The outermost operation comes first: what it is made of finds the layer known.
  if (layer == nullptr || input == nullptr || watch->sizes.contains(*layer)) return nullptr;
  watch->sizes[*layer].first = text_of(*input);
  auto context = std::make_unique<Of>();
  context->layer = *layer;
  return context;
}

void after(const at::RecordFunction& function, at::ObserverContext* context) {
  if (watch == nullptr || context == nullptr) return;
  const auto tensors = tensors_of(function.outputs());
  if (!tensors.empty()) watch->sizes[static_cast<Of*>(context)->layer].second = text_of(tensors.front());
}

/// Back as it was, whatever `forward` throws.
class Watching {
 public:
  Watching(Watch& with, torch::nn::Module& module) {
    for (const auto& one : module.modules(/*include_self=*/false))
      modes_.emplace_back(one.get(), one->is_training());
    modes_.emplace(modes_.begin(), &module, module.is_training());  // parents first
    module.eval();
    watch = &with;
    handle_ = at::addThreadLocalCallback(at::RecordFunctionCallback(&before, &after)
                                             .needsInputs(true)
                                             .needsOutputs(true)
                                             .scopes({at::RecordScope::FUNCTION}));
  }
  ~Watching() {
    at::removeCallback(handle_);
    watch = nullptr;
    for (const auto& [one, training] : modes_)
      if (one->is_training() != training) one->train(training);
  }
  Watching(const Watching&) = delete;
  Watching& operator=(const Watching&) = delete;

 private:
  std::vector<std::pair<torch::nn::Module*, bool>> modes_;
  at::CallbackHandle handle_{};
};

}  // namespace

void add_sizes(ModelCounts& counts, torch::nn::Module& module, const std::function<void()>& forward) {
  Watch with;
  for (const auto& item : module.named_modules(/*name_prefix=*/"", /*include_self=*/false))
    for (const auto& parameter : item.value()->parameters(/*recurse=*/false))
      if (parameter.defined()) with.owners.emplace(parameter.unsafeGetTensorImpl(), item.key());
  {
    const torch::NoGradGuard no_grad;
    const Watching watching(with, module);
    forward();
  }
  for (auto& layer : counts.layers) {
    const auto found = with.sizes.find(layer.name);
    if (found != with.sizes.end()) std::tie(layer.in_size, layer.out_size) = found->second;
  }
}

}  // namespace rtrain
