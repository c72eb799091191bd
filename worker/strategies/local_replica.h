// A module whose values differ between the ranks: what all of them see of it, and what each has.
#pragma once

#include <rtrain/communicator.h>
#include <rtrain/optimizer.h>
#include <rtrain/plan.h>
#include <rtrain/state_tree.h>

#include <torch/nn/module.h>
#include <torch/types.h>

#include <string>
#include <vector>

namespace rtrain {

/// @thread the training thread. @lifetime module, ranks and optimizers outlive it.
class LocalReplica {
 public:
  LocalReplica(torch::nn::Module& module, Communicator& ranks);
  void adopt(Optimizer& optimizer) { optimizers_.push_back(&optimizer); }

  /// Puts the mean of the ranks' parameters and buffers into the module. A collective; nothing if it holds
  /// them.
  void hold_equal();
  /// This rank's own come back; nothing if it does not hold the mean.
  void hold_own();
  [[nodiscard]] bool holds_equal() const { return !own_.empty(); }
  /// The module's state with the means, in memory of its own. A collective unless it holds them.
  [[nodiscard]] StateTree equal_state() const;

  /// Adds this rank's parameters, buffers and, but for rank 0's, which every checkpoint has, the state of its
  /// optimizers.
  void save(PlanState& state) const;
  /// Takes them over. @return false: `saved` has none. @throws std::runtime_error they do not fit.
  bool load(const PlanState& saved);

 private:
  torch::nn::Module& module_;
  Communicator& ranks_;
  std::vector<Optimizer*> optimizers_;
  std::vector<std::string> names_;
  std::vector<torch::Tensor> values_;  ///< parameters and buffers, each once
  std::vector<torch::Tensor> own_;     ///< this rank's, while the module holds the mean
};

}  // namespace rtrain
