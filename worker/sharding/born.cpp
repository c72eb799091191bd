#include "worker/sharding/born.h"

#include "worker/sharding/intercept.h"

#include <rtrain/born_sharded.h>

#include <ATen/CPUGeneratorImpl.h>
#include <torch/library.h>
#include <torch/torch.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

namespace rtrain::sharding {
namespace {

/// While a model is built, torch::empty() and its kin are seen by a fallback on this key, which is included
/// for the thread.
constexpr auto kBuilding = c10::DispatchKey::DeferredInit;
constexpr c10::DispatchKeySet kOwnKeys({kKey, kBuilding});

struct Record {
  c10::OperatorHandle op;
  std::vector<c10::IValue> arguments;
  torch::Tensor generator;  ///< its state before an operator that draws; undefined: it draws nothing
};

struct Unborn {
  c10::Storage storage;
  std::vector<Record> records;
};

void run(const c10::OperatorHandle& op, const std::vector<c10::IValue>& arguments) {
  torch::jit::Stack stack(arguments.begin(), arguments.end());
  const torch::NoGradGuard no_grad;
  const c10::impl::ExcludeDispatchKeyGuard guard(kOwnKeys);
  op.callBoxed(&stack);
}

void allocate(c10::StorageImpl& storage) {
  storage.set_data_ptr_noswap(c10::GetAllocator(c10::kCPU)->allocate(storage.nbytes()));
}

/// All storages without memory of this process. Views of one share its storage.
class Nursery {
 public:
  [[nodiscard]] bool holds(const torch::Tensor& tensor) const {
    if (count_ == 0 || !tensor.defined() || !tensor.has_storage()) return false;
    const std::lock_guard lock(mutex_);
    return unborn_.contains(tensor.storage().unsafeGetStorageImpl());
  }
  [[nodiscard]] bool is_empty() const { return count_ == 0; }

  void add(const c10::Storage& storage) {
    const std::lock_guard lock(mutex_);
    unborn_.emplace(storage.unsafeGetStorageImpl(), Unborn{storage, {}});
    count_ = unborn_.size();
  }

  /// Writes down what an operator does to `tensor`.
  void record(const torch::Tensor& tensor, const c10::OperatorHandle& op,
              const std::vector<c10::IValue>& arguments) {
    auto& storage = *tensor.storage().unsafeGetStorageImpl();
    torch::Tensor generator;
    if (op.hasTag(at::Tag::nondeterministic_seeded)) {
      // It runs in vain, on memory of one parameter, so that the generator moves as it would have.
      generator = at::detail::getDefaultCPUGenerator().get_state();
      allocate(storage);
      run(op, arguments);
      storage.set_data_ptr_noswap(c10::DataPtr(nullptr, c10::kCPU));
    }
    const std::lock_guard lock(mutex_);
    unborn_.at(&storage).records.push_back({op, arguments, std::move(generator)});
  }

  void give_birth(const torch::Tensor& tensor) {
    auto& storage = *tensor.storage().unsafeGetStorageImpl();
    Unborn unborn;
    {
      const std::lock_guard lock(mutex_);
      const auto found = unborn_.find(&storage);
      if (found == unborn_.end()) return;
      unborn = std::move(found->second);
      unborn_.erase(found);
      count_ = unborn_.size();
    }
    allocate(storage);
    auto generator = at::detail::getDefaultCPUGenerator();
    const auto before = generator.get_state();
    for (const auto& record : unborn.records) {
      if (record.generator.defined()) generator.set_state(record.generator);
      run(record.op, record.arguments);
    }
    generator.set_state(before);
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_map<const c10::StorageImpl*, Unborn> unborn_;
  std::atomic<std::size_t> count_{0};
};

Nursery& nursery() {
  static auto* const made = new Nursery;
  return *made;
}

template <class Visit>
void for_each_tensor(const c10::IValue& value, Visit visit) {
  if (value.isTensor()) {
    visit(value.toTensor());
  } else if (value.isTensorList()) {
    for (const torch::Tensor& tensor : value.toTensorVector()) visit(tensor);
  } else if (value.isList()) {
    for (const c10::IValue& element : value.toListRef())
      if (element.isTensor()) visit(element.toTensor());
  }
}

/// A floating-point tensor on the CPU without memory.
torch::Tensor without_memory(c10::IntArrayRef sizes, torch::ScalarType type) {
  const auto bytes = static_cast<std::size_t>(c10::multiply_integers(sizes)) * c10::elementSize(type);
  c10::Storage storage(c10::make_intrusive<c10::StorageImpl>(
      c10::StorageImpl::use_byte_size_t(), bytes, c10::DataPtr(nullptr, c10::kCPU),
      c10::GetAllocator(c10::kCPU), /*resizable=*/true));
  nursery().add(storage);
  auto tensor = at::detail::make_tensor<c10::TensorImpl>(
      std::move(storage), c10::DispatchKeySet(c10::DispatchKey::CPU), c10::scalarTypeToTypeMeta(type));
  tensor.unsafeGetTensorImpl()->set_sizes_contiguous(sizes);
  mark(tensor);
  return tensor;
}

/// aten::empty.memory_format gives tensors without memory; all else goes on.
void build(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
  static const auto empty =
      c10::Dispatcher::singleton().findSchemaOrThrow("aten::empty", "memory_format").operator_name();
  const auto below = keys & c10::DispatchKeySet(c10::DispatchKeySet::FULL_AFTER, kBuilding);
  const c10::impl::ExcludeDispatchKeyGuard guard(kBuilding);
  if (op.operator_name() == empty) {
    const auto count = op.schema().arguments().size();
    const auto* arguments = &(*stack)[stack->size() - count];
    const auto type = arguments[1].isNone() ? c10::typeMetaToScalarType(at::get_default_dtype())
                                            : arguments[1].toScalarType();
    const bool on_cpu = arguments[3].isNone() || arguments[3].toDevice().is_cpu();
    const auto sizes = arguments[0].toIntVector();
    if (at::isFloatingType(type) && on_cpu && c10::multiply_integers(sizes) > 0) {
      torch::jit::drop(*stack, count);
      stack->emplace_back(without_memory(sizes, type));
      return;
    }
  }
  op.redispatchBoxed(below, stack);
}

}  // namespace

bool is_unborn(const torch::Tensor& tensor) { return nursery().holds(tensor); }

void give_birth(const torch::Tensor& tensor) {
  if (is_unborn(tensor)) nursery().give_birth(tensor);
}

bool defer(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  if (nursery().is_empty()) return false;
  const auto& described = op.schema().arguments();
  const auto first = stack->size() - described.size();
  std::vector<torch::Tensor> written, read;
  bool depends = false;  // on what may be another thing when it is done
  for (std::size_t i = 0; i < described.size(); ++i) {
    const auto* alias = described[i].alias_info();
    const bool writes = alias != nullptr && alias->isWrite();
    const auto& value = (*stack)[first + i];
    depends |= value.isGenerator();
    for_each_tensor(value, [&](const torch::Tensor& tensor) {
      if (is_unborn(tensor))
        (writes ? written : read).push_back(tensor);
      else
        depends |= tensor.defined();
    });
  }
  if (written.empty() && read.empty()) return false;
  // normal_(), mul_(2): one tensor, in place, from numbers alone.
  const auto& returns = op.schema().returns();
  const bool in_place =
      returns.size() == 1 && returns[0].alias_info() != nullptr && returns[0].alias_info()->isWrite();
  if (written.size() == 1 && read.empty() && !depends && in_place && (*stack)[first].isTensor() &&
      (*stack)[first].toTensor().is_same(written.front())) {
    const std::vector<c10::IValue> arguments(stack->begin() + static_cast<std::ptrdiff_t>(first),
                                             stack->end());
    nursery().record(written.front(), op, arguments);
    torch::jit::drop(*stack, described.size());
    stack->push_back(arguments.front());
    return true;
  }
  for (const auto& tensor : written) give_birth(tensor);
  for (const auto& tensor : read) give_birth(tensor);
  return false;
}

}  // namespace rtrain::sharding

namespace rtrain::detail {

void build_without_memory(const std::function<void()>& build_model) {
  sharding::require_interception();
  static auto* const library =
      new torch::Library(torch::Library::IMPL, "_", sharding::kBuilding, __FILE__, __LINE__);
  static const bool registered = [] {
    library->fallback(torch::CppFunction::makeFromBoxedFunction<&sharding::build>());
    return true;
  }();
  (void)registered;
  const c10::impl::IncludeDispatchKeyGuard building(sharding::kBuilding);
  build_model();
}

}  // namespace rtrain::detail
