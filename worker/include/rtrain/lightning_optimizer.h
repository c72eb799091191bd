// An optimizer of a fit, as the module steps it.
#pragma once

#include <rtrain/export.h>
#include <rtrain/optimizer.h>

#include <torch/types.h>

#include <memory>
#include <utility>
#include <vector>

namespace rtrain {
namespace detail {

/// What a fit does where an optimizer is told to step or to clear: hooks, strategy, counting.
class OptimizerDriver {
 public:
  virtual ~OptimizerDriver() = default;
  /// @param closure may be empty. @return what it returned first.
  virtual torch::Tensor step(Optimizer& optimizer, const Closure& closure) = 0;
  virtual void zero_grad(Optimizer& optimizer) = 0;
};

}  // namespace detail

/// Lightning's LightningOptimizer: step() and zero_grad() go through the hooks and the strategy of the fit.
/// A handle that is cheap to copy. @thread the training thread.
/// @lifetime step() and zero_grad() throw std::logic_error once the fit is over.
class RTRAIN_API LightningOptimizer {
 public:
  LightningOptimizer(std::shared_ptr<Optimizer> optimizer, std::weak_ptr<detail::OptimizerDriver> driver)
      : optimizer_(std::move(optimizer)), driver_(std::move(driver)) {}

  /// on_before_optimizer_step and the step. Under manual optimization this counts as one global_step; under
  /// automatic optimization (in optimizer_step()) the clipping comes in between, and the hook counts.
  void step() { (void)driver().step(*optimizer_, {}); }
  /// Calls `closure`, with gradients enabled, before the rest. @return the (first) loss.
  torch::Tensor step(const Closure& closure) { return driver().step(*optimizer_, closure); }
  /// Gradients become undefined, or zero where the strategy keeps their memory.
  void zero_grad() { driver().zero_grad(*optimizer_); }

  [[nodiscard]] Optimizer& optimizer() const { return *optimizer_; }
  operator Optimizer&() const { return *optimizer_; }  // NOLINT: implicit on purpose
  [[nodiscard]] double lr(int group = 0) const { return optimizer_->lr(group); }

 private:
  [[nodiscard]] detail::OptimizerDriver& driver() const;
  std::shared_ptr<Optimizer> optimizer_;
  std::weak_ptr<detail::OptimizerDriver> driver_;
};

/// While it lives, only the parameters of one of the fit's optimizers require a gradient, those of them that
/// did before. At its end each parameter has what it had.
class RTRAIN_API ToggledOptimizer {
 public:
  /// @param all the optimizers of the fit.
  ToggledOptimizer(const std::vector<std::shared_ptr<Optimizer>>& all, const Optimizer& one);
  ~ToggledOptimizer() { untoggle(); }
  ToggledOptimizer(ToggledOptimizer&& other) noexcept : before_(std::exchange(other.before_, {})) {}
  ToggledOptimizer(const ToggledOptimizer&) = delete;
  ToggledOptimizer& operator=(const ToggledOptimizer&) = delete;
  void untoggle() noexcept;  ///< ends it now

 private:
  std::vector<std::pair<torch::Tensor, bool>> before_;
};

/// While it lives, manual_backward() leaves each rank its own gradients. The first one after it sums all.
class RTRAIN_API NoSync {
 public:
  explicit NoSync(std::shared_ptr<int> depth) : depth_(std::move(depth)) { ++*depth_; }
  ~NoSync() {
    if (depth_) --*depth_;
  }
  NoSync(NoSync&&) noexcept = default;
  NoSync(const NoSync&) = delete;
  NoSync& operator=(const NoSync&) = delete;

 private:
  std::shared_ptr<int> depth_;
};

}  // namespace rtrain
