// Optimizers on ATen's fused kernels (at::_fused_adam_, _fused_adamw_, _fused_sgd_), CPU and CUDA.
#pragma once

#include <rtrain/export.h>

#include <torch/types.h>

#include <concepts>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace torch::optim {
class Optimizer;
}  // namespace torch::optim

namespace rtrain {

/// One optimizer over a list of parameters. Steps parameters that have a gradient; skips the others, as
/// PyTorch does.
class RTRAIN_API Optimizer {
 public:
  /// A tensor that is listed several times (a layer that is used in two places of the model) counts once, at
  /// its first place.
  explicit Optimizer(std::vector<torch::Tensor> parameters);
  virtual ~Optimizer() = default;
  virtual void step() = 0;
  [[nodiscard]] const std::vector<torch::Tensor>& parameters() const { return parameters_; }
  [[nodiscard]] virtual double lr() const = 0;
  virtual void set_lr(double lr) = 0;
  /// Tensors by "<parameter number>.<name>" ("0.exp_avg") and "lr"; PyTorch's state names. They are the
  /// optimizer's own: copy what must not change with the next step. A parameter that was never stepped has no
  /// state yet.
  [[nodiscard]] virtual std::map<std::string, torch::Tensor> state_dict() const = 0;
  /// Copies `state` in. @throws std::invalid_argument a tensor is missing, unknown or has another shape;
  /// nothing is changed then.
  virtual void load_state_dict(const std::map<std::string, torch::Tensor>& state) = 0;

 protected:
  std::vector<torch::Tensor> parameters_;
};

namespace detail {

template <class T>
inline constexpr bool kIsTorchOptimizer = std::is_base_of_v<torch::optim::Optimizer, T>;
template <class T>
inline constexpr bool kIsTorchOptimizer<std::shared_ptr<T>> = kIsTorchOptimizer<T>;
template <class T, class D>
inline constexpr bool kIsTorchOptimizer<std::unique_ptr<T, D>> = kIsTorchOptimizer<T>;

}  // namespace detail

/// What configure_optimizers() returns: one or more (automatic optimization takes exactly one). One converts
/// by itself: as a shared_ptr of a class derived from Optimizer, or by value.
struct RTRAIN_API Optimizers {
  std::vector<std::shared_ptr<Optimizer>> all{};
  Optimizers() = default;
  Optimizers(std::shared_ptr<Optimizer> one) : all{std::move(one)} {}  // NOLINT: implicit on purpose
  template <std::derived_from<Optimizer> O>
  Optimizers(std::shared_ptr<O> one) : all{std::move(one)} {}  // NOLINT: implicit on purpose
  template <std::derived_from<Optimizer> O>
  Optimizers(O one) : all{std::make_shared<O>(std::move(one))} {}  // NOLINT: implicit on purpose
  template <class T>
    requires detail::kIsTorchOptimizer<std::remove_cvref_t<T>>
  Optimizers(T&&) {  // NOLINT: implicit on purpose
    static_assert(!detail::kIsTorchOptimizer<std::remove_cvref_t<T>>,
                  "configure_optimizers() returns one of rtrain::optim (SGD, Adam, AdamW) or a class derived "
                  "from rtrain::Optimizer, "
                  "not a torch::optim optimizer: its state would be missing in checkpoints");
  }
};

namespace optim {

/// torch.optim.Adam's arguments and defaults. All three: @throws std::invalid_argument no parameters, or an
/// option out of range.
struct RTRAIN_API AdamOptions {
  double lr = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  bool amsgrad = false;
  bool maximize = false;
};
[[nodiscard]] RTRAIN_API std::shared_ptr<Optimizer> Adam(std::vector<torch::Tensor> parameters,
                                                         AdamOptions options = {});
struct RTRAIN_API AdamWOptions {
  double lr = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 1e-2;
  bool amsgrad = false;
  bool maximize = false;
};
[[nodiscard]] RTRAIN_API std::shared_ptr<Optimizer> AdamW(std::vector<torch::Tensor> parameters,
                                                          AdamWOptions options = {});
struct RTRAIN_API SGDOptions {
  double lr = 1e-3;
  double momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false;
  bool maximize = false;
};
[[nodiscard]] RTRAIN_API std::shared_ptr<Optimizer> SGD(std::vector<torch::Tensor> parameters,
                                                        SGDOptions options = {});

}  // namespace optim
}  // namespace rtrain
