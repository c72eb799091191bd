// Averages of parameters over ranks, once in a while: torch.distributed.algorithms.model_averaging.
#pragma once

#include <rtrain/communicator.h>
#include <rtrain/export.h>

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace rtrain {

/// Counts optimizer steps and averages parameters over ranks in those that are due. The Trainer makes them
/// from DDPOptions; a loop of one's own calls average_parameters() after each step, on every rank.
/// @thread the training thread; every rank makes the same calls in the same order.
class RTRAIN_API ModelAverager {
 public:
  virtual ~ModelAverager() = default;
  ModelAverager(const ModelAverager&) = delete;
  ModelAverager& operator=(const ModelAverager&) = delete;

  /// In place, in one collective for each type and device; then counts the step. All of `parameters`: torch
  /// leaves out those without a gradient, and fails when the ranks do not agree which those are.
  /// @return the ranks that now have the same parameters; 0: this step was not due.
  int average_parameters(const std::vector<torch::Tensor>& parameters);
  [[nodiscard]] std::int64_t step() const { return step_; }  ///< steps counted so far
  void set_step(std::int64_t step) { step_ = step; }         ///< of a run that resumes

 protected:
  ModelAverager() = default;
  /// The ranks over which step number `step`, from 0, averages; null: it does not.
  [[nodiscard]] virtual Communicator* group_of(std::int64_t step) = 0;

 private:
  std::int64_t step_ = 0;
};

/// Averages over all ranks in step `warmup_steps` (from 0) and every `period` steps after it.
class RTRAIN_API PeriodicModelAverager : public ModelAverager {
 public:
  /// @param ranks must outlive the averager: process_group() of a job does.
  /// @throws std::invalid_argument period below 1, or warmup_steps below 0.
  PeriodicModelAverager(std::int64_t period, Communicator& ranks, std::int64_t warmup_steps = 0);

 protected:
  Communicator* group_of(std::int64_t step) override;

 private:
  std::int64_t period_, warmup_steps_;
  Communicator& ranks_;
};

/// A level of HierarchicalModelAverager, torch's period_group_size_dict: groups of `group_size` neighbouring
/// ranks average every `period` steps.
struct RTRAIN_API AveragingLevel {
  std::int64_t period = 1;
  int group_size = 1;
};

/// Hierarchical SGD (https://arxiv.org/abs/2010.12998): from step `warmup_steps` on, a step that several
/// periods divide averages over the group of the longest of them.
class RTRAIN_API HierarchicalModelAverager : public ModelAverager {
 public:
  /// Makes the groups; every rank calls it. @param levels both numbers ascend; the last group is all ranks.
  /// @throws std::invalid_argument what of the levels does not fit, all at once.
  HierarchicalModelAverager(const std::vector<AveragingLevel>& levels, Communicator& ranks,
                            std::int64_t warmup_steps = 0);

 protected:
  Communicator* group_of(std::int64_t step) override;

 private:
  struct Level {
    std::int64_t period;
    std::shared_ptr<Communicator> group;  ///< null: all ranks
  };
  std::vector<Level> levels_;
  std::int64_t warmup_steps_;
  Communicator& ranks_;
};

}  // namespace rtrain
