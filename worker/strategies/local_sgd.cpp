#include "worker/strategies/local_sgd.h"

#include <algorithm>
#include <iostream>
#include <stdexcept>
#include <utility>

namespace rtrain {

LocalSGD::LocalSGD(torch::nn::Module& module, Communicator& ranks, const HookRun& hook, Averages averages)
    : ranks_(ranks), hook_(hook), averages_(std::move(averages)), replica_(module, ranks) {
  (void)make_averager();  // levels that do not fit are told before the first step
}

std::unique_ptr<ModelAverager> LocalSGD::make_averager() const {
  if (averages_.period)
    return std::make_unique<PeriodicModelAverager>(*averages_.period, ranks_, averages_.warmup_steps);
  return std::make_unique<HierarchicalModelAverager>(averages_.levels, ranks_, averages_.warmup_steps);
}

void LocalSGD::adopt(Optimizer& optimizer) {
  if (optimizer.needs_closure())
    throw std::invalid_argument(
        "DDPStrategy: the optimizer " + optimizer.type_name() +
        " decides by the loss of all ranks in each step, which "
        "comm_hooks::post_localSGD leaves out: take one that does not need a closure, or "
        "leave out the hook");
  averaged_.push_back({&optimizer, make_averager()});
  replica_.adopt(optimizer);
}

void LocalSGD::after_step(const Optimizer& optimizer) {
  for (auto& own : averaged_) {
    if (own.optimizer != &optimizer) continue;
    if (hook_.gradients_differ()) own.differ = own.has_differed = true;
    if (own.averager->average_parameters(optimizer.parameters()) == ranks_.world_size()) own.differ = false;
  }
}

bool LocalSGD::ranks_differ() const {
  return std::any_of(averaged_.begin(), averaged_.end(), [](const Averaged& own) { return own.differ; });
}

nlohmann::json LocalSGD::save(PlanState& state) const {
  auto list = nlohmann::json::array();
  bool has_differed = false;
  for (const auto& own : averaged_) {
    list.push_back(
        {{"step", own.averager->step()}, {"differ", own.differ}, {"has_differed", own.has_differed}});
    has_differed = has_differed || own.has_differed;
  }
  if (has_differed) replica_.save(state);
  return list;
}

void LocalSGD::load(const nlohmann::json& saved, const PlanState& state) {
  if (!saved.is_null() && saved.size() != averaged_.size())
    throw std::runtime_error("it is of " + std::to_string(saved.size()) + " optimizer(s), now there are " +
                             std::to_string(averaged_.size()));
  bool has_differed = false;
  for (std::size_t i = 0; i < averaged_.size(); ++i) {
    const auto of = saved.is_null() ? nlohmann::json::object() : saved.at(i);
    averaged_[i].averager->set_step(of.value("step", std::int64_t{0}));
    averaged_[i].differ = of.value("differ", false);
    averaged_[i].has_differed = of.value("has_differed", false);
    has_differed = has_differed || averaged_[i].has_differed;
  }
  if (!has_differed || replica_.load(state)) return;
  if (ranks_.rank() == 0)
    std::cerr << "rtrain: warning: comm_hooks::post_localSGD: the checkpoint is of another number of ranks: "
                 "every rank goes on from the mean of their parameters, with the optimizer state of rank 0"
              << std::endl;
}

}  // namespace rtrain
