// Training over slow links: ranks that step alone and meet every few hundred steps.
#pragma once

#include <rtrain/export.h>
#include <rtrain/strategies/strategy.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace rtrain {

/// Defaults are the paper's.
struct RTRAIN_API DiLoCoOptions {
  std::int64_t sync_every = 500;  ///< optimizer steps of a rank between two outer steps; 1 or more
  double outer_lr = 0.7;          ///< 0 or more
  double outer_momentum = 0.9;    ///< 0 or more
  bool nesterov = true;           ///< Nesterov's momentum; needs outer_momentum > 0
  /// Sends what the ranks have learned as bfloat16: half of float32's bytes, rounded to 8 bits.
  bool bf16_pseudo_gradient = false;
  /// of collectives; default: torch_config.timeout_s. The slowest rank's whole period counts.
  std::optional<std::chrono::milliseconds> timeout{};
};

/// DiLoCo (Douillard et al. 2023, https://arxiv.org/abs/2311.08105). Each rank trains a replica with the
/// optimizer of configure_optimizers(), the inner one, without any collective. After `sync_every` of its
/// steps the pseudo-gradient, which is the parameters at the start of the period minus the mean of the ranks'
/// parameters, takes one step of torch.optim.SGD (the outer one: lr, momentum, nesterov), and every rank goes
/// on from the result. State of the inner optimizers is not exchanged. Buffers of floating-point numbers
/// become their mean, others those of rank 0.
///
/// Between two outer steps the ranks' parameters differ. Validation, what a checkpoint holds as the model,
/// and the module after fit() are the mean of the ranks' parameters and buffers, which costs an all-reduce of
/// the model each; training goes on from each rank's own. fit() that ends within a period makes no outer
/// step. A checkpoint holds each rank's parameters, buffers and optimizer state, the parameters of the
/// period's start, and the outer momentum: a run of the same number of ranks resumes to the same bits.
/// Another number of ranks goes on from the mean within the same period, with the optimizer state of rank 0,
/// and warns.
///
/// Optimizers that need a closure (LBFGS) are refused. Under manual optimization each optimizer has periods
/// of its own. With one rank it is the outer optimizer on this rank's own progress (Lookahead).
class RTRAIN_API DiLoCoStrategy : public Strategy {
 public:
  DiLoCoStrategy() = default;
  /// @throws std::invalid_argument lists what is out of range.
  explicit DiLoCoStrategy(DiLoCoOptions options);
  [[nodiscard]] const DiLoCoOptions& options() const { return options_; }

  [[nodiscard]] std::string name() const override { return "DiLoCoStrategy"; }
  /// @throws std::runtime_error if the ranks' parameters differ: names the first one that does, its shapes
  ///        and ranks.
  [[nodiscard]] std::unique_ptr<Plan> prepare(LightningModule& module, bool fitting) override;

 private:
  DiLoCoOptions options_;
};

}  // namespace rtrain
