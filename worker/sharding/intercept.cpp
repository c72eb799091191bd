#include "worker/sharding/intercept.h"

#include "worker/sharding/born.h"

#include <ATen/core/boxing/KernelFunction.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>
#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>
#include <unordered_map>
#include <vector>

namespace rtrain::sharding {
namespace {

/// A protected member through a pointer to member.
struct Keys : c10::TensorImpl {
  static c10::DispatchKeySet& of(const torch::Tensor& tensor) {
    return tensor.unsafeGetTensorImpl()->*(&Keys::key_set_);
  }
};

struct Watched {
  Watcher* watcher = nullptr;
  int group = 0;
};

/// All sharded storages of this process.
class Table {
 public:
  void add(const c10::StorageImpl* storage, Watched watched) {
    const std::unique_lock lock(mutex_);
    by_storage_[storage] = watched;
  }
  void remove(const c10::StorageImpl* storage) {
    const std::unique_lock lock(mutex_);
    by_storage_.erase(storage);
  }
  [[nodiscard]] Watched find(const c10::StorageImpl* storage) const {
    const std::shared_lock lock(mutex_);
    const auto found = by_storage_.find(storage);
    return found == by_storage_.end() ? Watched{} : found->second;
  }

 private:
  mutable std::shared_mutex mutex_;
  std::unordered_map<const c10::StorageImpl*, Watched> by_storage_;
};

Table& table() {
  static auto* const made = new Table;  // storages may outlive static objects
  return *made;
}

/// Whether an operator uses the content of its arguments. What only makes a view of them does not, nor what
/// takes over their shape.
class Kinds {
 public:
  [[nodiscard]] bool uses_content(const c10::OperatorHandle& op) {
    const auto* schema = &op.schema();
    {
      const std::shared_lock lock(mutex_);
      if (const auto found = known_.find(schema); found != known_.end()) return found->second;
    }
    const bool uses = decide(*schema);
    const std::unique_lock lock(mutex_);
    known_.emplace(schema, uses);
    return uses;
  }

 private:
  static bool decide(const c10::FunctionSchema& schema) {
    const auto& returns = schema.returns();
    const bool is_view =
        !returns.empty() && std::all_of(returns.begin(), returns.end(), [](const c10::Argument& result) {
          return result.alias_info() != nullptr && !result.alias_info()->isWrite();
        });
    if (is_view) return false;
    static constexpr std::array kOfShapes{"empty_like", "zeros_like", "ones_like",    "full_like",
                                          "rand_like",  "randn_like", "randint_like", "new_empty",
                                          "new_zeros",  "new_ones",   "new_full",     "new_empty_strided"};
    const std::string_view name = schema.name();
    constexpr std::string_view kAten = "aten::";
    return !name.starts_with(kAten) ||
           std::find(kOfShapes.begin(), kOfShapes.end(), name.substr(kAten.size())) == kOfShapes.end();
  }
  std::shared_mutex mutex_;
  std::unordered_map<const c10::FunctionSchema*, bool> known_;
};

Kinds& kinds() {
  static auto* const made = new Kinds;
  return *made;
}

/// The sharded storages among the arguments of one call, each once.
class Uses {
 public:
  void add(const torch::Tensor& tensor, bool writes, std::string_view op) {
    if (!is_marked(tensor) || !tensor.has_storage()) return;
    const auto* storage = tensor.storage().unsafeGetStorageImpl();
    const auto watched = table().find(storage);
    if (watched.watcher == nullptr) {
      if (storage->data() == nullptr && storage->nbytes() > 0)
        throw std::runtime_error(
            std::string(op) +
            " reads a parameter whose memory is sharded by a Trainer that is gone: load the "
            "checkpoint into a new module, or read it while the Trainer lives");
      return;
    }
    auto& uses = of(watched.watcher);
    for (auto& use : uses) {
      if (use.group != watched.group) continue;
      use.writes |= writes;
      return;
    }
    uses.push_back({watched.group, writes});
  }
  void add(const c10::IValue& value, bool writes, std::string_view op) {
    if (value.isTensor()) {
      add(value.toTensor(), writes, op);
    } else if (value.isTensorList()) {
      for (const torch::Tensor& tensor : value.toTensorVector()) add(tensor, writes, op);
    } else if (value.isList()) {  // of optional tensors
      for (const c10::IValue& element : value.toListRef())
        if (element.isTensor()) add(element.toTensor(), writes, op);
    }
  }
  void tell(std::string_view op) const {
    for (const auto& [watcher, uses] : by_watcher_) watcher->before_use(uses, op);
  }

 private:
  std::vector<Use>& of(Watcher* watcher) {
    for (auto& entry : by_watcher_)
      if (entry.first == watcher) return entry.second;
    return by_watcher_.emplace_back(watcher, std::vector<Use>()).second;
  }
  std::vector<std::pair<Watcher*, std::vector<Use>>>
      by_watcher_;  ///< one, but for several models in an operator
};

void intercept(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
  const auto below = keys & c10::DispatchKeySet(c10::DispatchKeySet::FULL_AFTER, kKey);
  // What makes a view, or decides within what to do (as to() does), is seen again inside.
  if (!kinds().uses_content(op)) return op.redispatchBoxed(below, stack);
  if (defer(op, stack)) return;
  const auto& arguments = op.schema().arguments();
  const auto first = stack->size() - arguments.size();
  const std::string_view name = op.schema().name();
  Uses uses;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const auto* alias = arguments[i].alias_info();
    uses.add((*stack)[first + i], alias != nullptr && alias->isWrite(), name);
  }
  uses.tell(name);
  const auto guard = unseen();
  op.redispatchBoxed(below, stack);
}

/// Two elements without memory, which come with the first use.
class Probe final : public Watcher {
 public:
  void before_use(std::span<const Use>, std::string_view) override {
    ++uses;
    const auto guard = unseen();
    storage.unsafeGetStorageImpl()->set_data_ptr_noswap(
        c10::GetAllocator(c10::kCPU)->allocate(storage.nbytes()));
    static_cast<float*>(storage.mutable_data())[0] = 3;
    static_cast<float*>(storage.mutable_data())[1] = 4;
  }
  c10::Storage storage;
  int uses = 0;
};

bool works() {
  const torch::NoGradGuard no_grad;
  Probe probe;
  auto tensor = torch::zeros({2, 1});
  probe.storage = tensor.storage();
  watch(probe.storage, probe, 0);
  probe.storage.unsafeGetStorageImpl()->set_data_ptr_noswap(c10::DataPtr(nullptr, c10::kCPU));
  mark(tensor);
  const auto product = tensor.t().mm(torch::ones({2, 1}));
  unwatch(probe.storage);
  return probe.uses == 1 && product.item<float>() == 7;
}

}  // namespace

void watch(const c10::Storage& storage, Watcher& watcher, int group) {
  table().add(storage.unsafeGetStorageImpl(), {&watcher, group});
}

void unwatch(const c10::Storage& storage) { table().remove(storage.unsafeGetStorageImpl()); }

void mark(const torch::Tensor& tensor) { Keys::of(tensor) = Keys::of(tensor).add(kKey); }

bool is_marked(const torch::Tensor& tensor) { return tensor.defined() && tensor.key_set().has(kKey); }

void unmark(const torch::Tensor& tensor) { Keys::of(tensor) = Keys::of(tensor).remove(kKey); }

void require_interception() {
  static const bool intercepts = [] {
    // Not before somebody shards: nobody else pays for it. Never unregistered: tensors may outlive
    // everything.
    static auto* const library = new torch::Library(torch::Library::IMPL, "_", kKey, __FILE__, __LINE__);
    library->fallback(torch::CppFunction::makeFromBoxedFunction<&intercept>());
    return works();
  }();
  if (!intercepts)
    throw std::runtime_error(std::string("this LibTorch (") + TORCH_VERSION +
                             ") does not let rtrain see the operators that read a parameter, so parameters "
                             "cannot be sharded: use DDPStrategy, or LibTorch 2.11");
}

}  // namespace rtrain::sharding
