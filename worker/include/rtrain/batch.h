// One batch of data, of any shape.
#pragma once

#include <rtrain/export.h>

#include <torch/types.h>

#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>
#include <vector>

namespace rtrain {

/// A type that shows its tensors:
///   struct Detection {
///     torch::Tensor image, boxes, labels;
///     void for_each_tensor(auto&& visit) { visit(image), visit(boxes), visit(labels); }
///   };
/// for_each_tensor changes nothing itself, and visits the tensors in the same order always.
template <class T>
concept BatchLike = std::copyable<T> && requires(T& value) { value.for_each_tensor([](torch::Tensor&) {}); };

/// What Lightning users unpack as (x, y): two tensors; and beside or in place of them a value of any type
/// that shows its tensors. The Trainer touches a batch through for_each_tensor() only. Copies share the value
/// until one of them is changed.
class RTRAIN_API Batch {
 public:
  Batch() = default;
  Batch(torch::Tensor x, torch::Tensor y = {})  // NOLINT: implicit on purpose
      : input(std::move(x)), target(std::move(y)) {}
  template <BatchLike T>
    requires(!std::same_as<T, Batch>)
  Batch(T value) : held_(std::make_shared<Holding<T>>(std::move(value))) {}  // NOLINT: implicit on purpose

  torch::Tensor input{};   ///< [N, ...]; undefined for a batch that is only a value
  torch::Tensor target{};  ///< [N] or [N, ...]; undefined for data without targets

  template <class T>
  [[nodiscard]] bool holds() const {
    return held_ && held_->type() == typeid(T);
  }
  /// The value. @throws std::logic_error it holds none, or one of another type: names both.
  template <class T>
  [[nodiscard]] const T& as() const {
    if (!holds<T>()) refuse(held_ ? &held_->type() : nullptr, typeid(T));
    return static_cast<const Holding<T>&>(*held_).value;
  }

  /// Each tensor that is defined: input, target, then those of the value.
  void for_each_tensor(const std::function<void(torch::Tensor&)>& visit);
  void for_each_tensor(const std::function<void(const torch::Tensor&)>& visit) const;
  /// Samples: the first dimension of the first tensor, 1 for a tensor without dimensions; 0: there is none.
  [[nodiscard]] std::int64_t size() const;
  [[nodiscard]] bool empty() const;  ///< it shows no tensor

  /// On `device`; the same tensors when they are there already. A copy to the CPU is there when this returns,
  /// whatever `non_blocking` says; one to a GPU is in line with what the calling thread's current stream does
  /// next. From the CPU it runs beside what the GPU still does, on a stream of its own; from page-locked
  /// memory the host does not wait for it.
  [[nodiscard]] Batch to(torch::Device device, bool non_blocking = true) const;
  /// In page-locked memory, as far as it is on the CPU. @throws c10::Error there is no accelerator
  [[nodiscard]] Batch pin_memory() const;

 private:
  struct Held {
    virtual ~Held() = default;
    [[nodiscard]] virtual std::shared_ptr<Held> copy() const = 0;
    virtual void visit(const std::function<void(torch::Tensor&)>& visit) = 0;
    [[nodiscard]] virtual const std::type_info& type() const = 0;
  };
  template <class T>
  struct Holding final : Held {
    explicit Holding(T given) : value(std::move(given)) {}
    [[nodiscard]] std::shared_ptr<Held> copy() const override { return std::make_shared<Holding>(value); }
    void visit(const std::function<void(torch::Tensor&)>& visit) override {
      value.for_each_tensor([&](torch::Tensor& tensor) {
        if (tensor.defined()) visit(tensor);
      });
    }
    [[nodiscard]] const std::type_info& type() const override { return typeid(T); }
    T value;
  };
  [[noreturn]] static void refuse(const std::type_info* held, const std::type_info& asked);
  std::shared_ptr<Held> held_;
};

/// Batches by name, in an order: a dictionary, or what several loaders give at once.
struct RTRAIN_API Nested {
  std::vector<std::pair<std::string, Batch>> items{};
  /// @throws std::out_of_range there is no such name: lists those that there are.
  [[nodiscard]] const Batch& operator[](std::string_view name) const;
  void for_each_tensor(const std::function<void(torch::Tensor&)>& visit) {
    for (auto& [name, batch] : items) batch.for_each_tensor(visit);
  }
};

}  // namespace rtrain
