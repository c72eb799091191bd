// DDP's local phase: ranks that step by their own gradients and average their parameters now and then.
#pragma once

#include "worker/strategies/comm_hooks.h"
#include "worker/strategies/local_replica.h"

#include <rtrain/strategies/model_averaging.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace rtrain {

/// @thread the training thread. @lifetime module, ranks, hook and optimizers outlive it.
class LocalSGD {
 public:
  struct Averages {
    std::optional<std::int64_t> period{};  ///< or else levels
    std::vector<AveragingLevel> levels{};
    std::int64_t warmup_steps = 0;
  };
  LocalSGD(torch::nn::Module& module, Communicator& ranks, const HookRun& hook, Averages averages);

  /// @throws std::invalid_argument an optimizer that needs a closure.
  void adopt(Optimizer& optimizer);
  /// Averages the parameters of the optimizer if it is time to. A collective then.
  void after_step(const Optimizer& optimizer);
  [[nodiscard]] bool ranks_differ() const;
  [[nodiscard]] LocalReplica& replica() { return replica_; }
  [[nodiscard]] const LocalReplica& replica() const { return replica_; }

  [[nodiscard]] nlohmann::json save(PlanState& state) const;
  /// @param saved what save() returned; null: begin anew.
  void load(const nlohmann::json& saved, const PlanState& state);

 private:
  struct Averaged {
    const Optimizer* optimizer;
    std::unique_ptr<ModelAverager> averager;
    bool differ = false;        ///< the ranks' parameters
    bool has_differed = false;  ///< so the ranks' optimizer state does
  };
  [[nodiscard]] std::unique_ptr<ModelAverager> make_averager() const;

  Communicator& ranks_;
  const HookRun& hook_;
  Averages averages_;
  LocalReplica replica_;
  std::vector<Averaged> averaged_;  ///< by the optimizer's number
};

}  // namespace rtrain
