#include <rtrain/strategies/model_averaging.h>

#include "worker/strategies/rank_groups.h"
#include "worker/strategies/rank_means.h"

#include <torch/torch.h>

#include <stdexcept>
#include <string>

namespace rtrain {

int ModelAverager::average_parameters(const std::vector<torch::Tensor>& parameters) {
  auto* const group = group_of(step_++);
  if (group == nullptr) return 0;
  if (group->is_alone() || parameters.empty()) return group->world_size();
  const torch::NoGradGuard no_grad;
  const auto means = means_over(*group, parameters);
  for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i].detach().copy_(means[i]);
  return group->world_size();
}

PeriodicModelAverager::PeriodicModelAverager(std::int64_t period, Communicator& ranks,
                                             std::int64_t warmup_steps)
    : period_(period), warmup_steps_(warmup_steps), ranks_(ranks) {
  std::string problems;
  if (period < 1) problems += "\n  period is " + std::to_string(period) + ", expected 1 or more";
  if (warmup_steps < 0)
    problems += "\n  warmup_steps is " + std::to_string(warmup_steps) + ", expected 0 or more";
  if (!problems.empty())
    throw std::invalid_argument("PeriodicModelAverager: these arguments cannot be used:" + problems);
}

Communicator* PeriodicModelAverager::group_of(std::int64_t step) {
  return step >= warmup_steps_ && (step - warmup_steps_) % period_ == 0 ? &ranks_ : nullptr;
}

HierarchicalModelAverager::HierarchicalModelAverager(const std::vector<AveragingLevel>& levels,
                                                     Communicator& ranks, std::int64_t warmup_steps)
    : warmup_steps_(warmup_steps), ranks_(ranks) {
  const int world = ranks.world_size();
  std::string problems;
  const auto add = [&](const std::string& what) { problems += "\n  " + what; };
  if (levels.empty()) add("there is no level, expected at least {period, number of ranks}");
  if (warmup_steps < 0) add("warmup_steps is " + std::to_string(warmup_steps) + ", expected 0 or more");
  for (std::size_t i = 0; i < levels.size(); ++i) {
    const auto& [period, size] = levels[i];
    const auto of_level = " of level " + std::to_string(i) + " is ";
    if (period < 1 || (i > 0 && period <= levels[i - 1].period))
      add("the period" + of_level + std::to_string(period) + ", expected " +
          (i > 0 ? "more than " + std::to_string(levels[i - 1].period) : "1 or more"));
    if (size < 1 || world % size != 0 || (i > 0 && size <= levels[i - 1].group_size))
      add("the group_size" + of_level + std::to_string(size) + ", expected a divisor of the " +
          std::to_string(world) + " ranks" +
          (i > 0 ? " above " + std::to_string(levels[i - 1].group_size) : ""));
  }
  if (!levels.empty() && levels.back().group_size != world)
    add("the last group_size is " + std::to_string(levels.back().group_size) + ", expected all " +
        std::to_string(world) + " ranks");
  if (!problems.empty())
    throw std::invalid_argument("HierarchicalModelAverager: these levels cannot be used:" + problems);
  for (const auto& [period, size] : levels)
    levels_.push_back({period, size == world ? nullptr : neighbours(ranks, size, "model averaging")});
}

Communicator* HierarchicalModelAverager::group_of(std::int64_t step) {
  if (step < warmup_steps_) return nullptr;
  for (auto level = levels_.rbegin(); level != levels_.rend(); ++level)
    if (step % level->period == 0) return level->group ? level->group.get() : &ranks_;
  return nullptr;
}

}  // namespace rtrain
