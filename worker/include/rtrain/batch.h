// A batch of data of any type that exposes its tensors.
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

/// A type that exposes its tensors:
///   struct Detection {
///     torch::Tensor image, boxes, labels;
///     void for_each_tensor(auto&& visit) { visit(image), visit(boxes), visit(labels); }
///   };
/// for_each_tensor itself changes nothing and always visits the tensors in the same order.
template <class T>
concept BatchLike = std::copyable<T> && requires(T& value) { value.for_each_tensor([](torch::Tensor&) {}); };

class Batch;

/// A copy of a batch to a device that has begun (Batch::start_copy()). Destroying it unfinished is no error.
/// @thread one at a time.
class RTRAIN_API BatchCopy {
 public:
  virtual ~BatchCopy() = default;
  /// The batch on the device. What the calling thread's current stream is given from here on comes after the
  /// copy; the host does not wait. Called once.
  [[nodiscard]] virtual Batch finish() = 0;
};

/// What Lightning users unpack as (x, y): two tensors, and beside or instead of them a value of any BatchLike
/// type. The Trainer accesses a batch only through for_each_tensor(). Copies share the value until one of
/// them is changed.
class RTRAIN_API Batch {
 public:
  Batch() = default;
  Batch(torch::Tensor x, torch::Tensor y = {})  // NOLINT: implicit on purpose
      : input(std::move(x)), target(std::move(y)) {}
  /// Asks for the type first: whether a Batch can be copied must not hang on this constructor.
  template <class T>
    requires(!std::same_as<T, Batch>) && BatchLike<T>
  Batch(T value) : held_(std::make_shared<Holding<T>>(std::move(value))) {}  // NOLINT: implicit on purpose

  torch::Tensor input{};   ///< [N, ...]; undefined if the batch holds only a value
  torch::Tensor target{};  ///< [N] or [N, ...]; undefined for data without targets

  /// True if it holds a value of any type beside or instead of input and target.
  [[nodiscard]] bool has_value() const { return held_ != nullptr; }
  template <class T>
  [[nodiscard]] bool holds() const {
    return held_ && held_->type() == typeid(T);
  }
  /// The value. @throws std::logic_error if the batch holds none or one of another type (names both types).
  template <class T>
  [[nodiscard]] const T& as() const {
    if (!holds<T>()) refuse(held_ ? &held_->type() : nullptr, typeid(T));
    return static_cast<const Holding<T>&>(*held_).value;
  }

  /// Visits each defined tensor: input, target, then those of the value.
  void for_each_tensor(const std::function<void(torch::Tensor&)>& visit);
  void for_each_tensor(const std::function<void(const torch::Tensor&)>& visit) const;
  /// The number of samples: the first dimension of the first tensor, 1 if that is a scalar, 0 if there is no
  /// tensor.
  [[nodiscard]] std::int64_t size() const;
  [[nodiscard]] bool empty() const;  ///< true if it has no tensor

  /// Returns the batch on `device`; tensors already there are shared. A copy to the CPU is complete on
  /// return, whatever `non_blocking` says. A copy to a GPU is ordered before later work on the calling
  /// thread's current stream. A copy from the CPU to a GPU runs on a separate stream, concurrently with work
  /// already queued on the GPU; from page-locked memory the host does not wait for it. It does wait once it
  /// is 8 such copies ahead of the GPU: each holds its memory until the GPU is done with it.
  [[nodiscard]] Batch to(torch::Device device, bool non_blocking = true) const;
  /// Begins what to() does, in parts: work that the current stream is given before finish() does not wait for
  /// the copy. Null: there is nothing to copy beside that work, because `device` is no GPU, or no tensor is
  /// in page-locked memory of the host.
  [[nodiscard]] std::unique_ptr<BatchCopy> start_copy(torch::Device device) const;
  /// Returns the batch with its CPU tensors in page-locked memory. @throws c10::Error if there is no
  /// accelerator.
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

/// An ordered list of named batches: a dictionary, or one batch from each of several loaders.
struct RTRAIN_API Nested {
  std::vector<std::pair<std::string, Batch>> items{};
  /// @throws std::out_of_range if the name does not exist (lists those that do).
  [[nodiscard]] const Batch& operator[](std::string_view name) const;
  void for_each_tensor(const std::function<void(torch::Tensor&)>& visit) {
    for (auto& [name, batch] : items) batch.for_each_tensor(visit);
  }
};

}  // namespace rtrain
