// Data sets of torch::data for the loader.
#pragma once

#include <rtrain/data/collate.h>
#include <rtrain/data/dataset.h>

#include <torch/data/datasets/base.h>
#include <torch/data/example.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace rtrain::data {
namespace detail {

template <class T>
inline constexpr bool kIsExample = false;
template <class Data, class Target>
inline constexpr bool kIsExample<torch::data::Example<Data, Target>> = true;
template <class T>
inline constexpr bool kIsVector = false;
template <class T>
inline constexpr bool kIsVector<std::vector<T>> = true;

template <class Data, class Target>
[[nodiscard]] auto sample_of(torch::data::Example<Data, Target>&& example) {
  if constexpr (std::is_void_v<Target>)
    return std::move(example.data);
  else
    return std::pair<Data, Target>(std::move(example.data), std::move(example.target));
}

/// @param batch what get_batch() of a torch::data data set gave: one batch, or a vector of examples.
template <class T>
[[nodiscard]] Batch from_torch_batch(T batch) {
  if constexpr (kIsVector<T>) {
    using Element = typename T::value_type;
    if constexpr (kIsExample<Element>) {
      std::vector<decltype(sample_of(std::declval<Element>()))> samples;
      samples.reserve(batch.size());
      for (auto& example : batch) samples.push_back(sample_of(std::move(example)));
      return collate(std::span<const typename decltype(samples)::value_type>(samples));
    } else {
      return collate(std::span<const Element>(batch));
    }
  } else if constexpr (std::same_as<T, torch::data::Example<>>) {
    return {std::move(batch.data), std::move(batch.target)};
  } else if constexpr (std::same_as<T, torch::data::TensorExample>) {
    return Batch(std::move(batch.data));
  } else {
    static_assert(std::convertible_to<T, Batch>,
                  "from_torch: get_batch() must give a tensor, an Example of tensors (.map(Stack<>())), a "
                  "vector of examples, or a type with for_each_tensor()");
    return batch;
  }
}

/// Each call reads a copy that no other call reads at that moment: torch::data gives each worker one, and
/// get_batch() is not const there. Copies are kept for later calls.
template <class D>
class TorchDataset final : public Dataset {
 public:
  TorchDataset(D dataset, std::int64_t size) : original_(std::move(dataset)), size_(size) {}
  [[nodiscard]] std::int64_t size() const override { return size_; }
  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices) const override {
    std::vector<std::size_t> numbers(indices.begin(), indices.end());
    auto copy = borrow();
    auto batch = copy->get_batch(numbers);
    {
      const std::lock_guard lock(mutex_);
      idle_.push_back(std::move(copy));
    }
    return from_torch_batch(std::move(batch));
  }

 private:
  [[nodiscard]] std::unique_ptr<D> borrow() const {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return std::make_unique<D>(original_);
    auto copy = std::move(idle_.back());
    idle_.pop_back();
    return copy;
  }

  const D original_;
  const std::int64_t size_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<D>> idle_;
};

}  // namespace detail

/// A map-style data set of torch::data, with or without .map(...), for a DataLoader. Examples are collated
/// with collate() unless the data set stacks them itself (.map(torch::data::transforms::Stack<>())). Random
/// transforms of torch::data draw from generators of their own: their numbers depend on the threads.
/// @param dataset copied once for each thread that reads it at the same time; tensors are shared.
/// @throws std::invalid_argument if the data set does not know its size.
template <class D>
[[nodiscard]] std::shared_ptr<Dataset> from_torch(D dataset) {
  static_assert(
      !D::is_stateful && std::same_as<typename D::BatchRequestType, c10::ArrayRef<std::size_t>>,
      "from_torch takes map-style data sets: those of chunks and streams have no sample of a number");
  static_assert(std::copy_constructible<D>, "from_torch: each thread reads a copy of the data set");
  const auto size = dataset.size();
  if (!size)
    throw std::invalid_argument("from_torch: the data set does not know its size; a DataLoader needs it");
  return std::make_shared<detail::TorchDataset<D>>(std::move(dataset), static_cast<std::int64_t>(*size));
}

}  // namespace rtrain::data
