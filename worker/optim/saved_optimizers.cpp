#include "worker/optim/saved_optimizers.h"

#include <functional>
#include <stdexcept>

namespace rtrain {
namespace {

constexpr const char *kType = "type", *kGroups = "groups", *kSchedulers = "schedulers", *kLr = "lr";

std::vector<LRScheduler*> schedulers_of(const Optimizer& optimizer,
                                        const std::vector<LRSchedulerConfig>& all) {
  std::vector<LRScheduler*> own;
  for (const auto& config : all)
    if (config.scheduler != nullptr && &config.scheduler->optimizer() == &optimizer)
      own.push_back(config.scheduler.get());
  return own;
}

/// The one optimizer of a file of version 2 or 1 as version 3 has it, under the names that the parameters
/// have now.
OptimizerState state_of_version_2(const StateTree& tensors, const Optimizer& optimizer,
                                  std::vector<std::string>& problems) {
  OptimizerState state;
  const auto lr = tensors.find(kLr);
  if (lr == tensors.end() || !lr->second.tensor.defined() || lr->second.numel() != 1)
    problems.emplace_back("the state has no number \"lr\"");
  else  // of its one group; the other options come from the code
    state.groups.push_back({{kLr, lr->second.whole().to(at::kDouble).item<double>()}});
  std::map<std::string, std::string> names;
  for (std::size_t i = 0; i < optimizer.parameters().size(); ++i)
    names.emplace(std::to_string(i), optimizer.parameter_name(i));
  for (const auto& [key, tensor] : tensors) {
    if (key == kLr) continue;
    const auto dot = key.find('.');
    const auto name = names.find(key.substr(0, dot));
    // What is no parameter's keeps its key, and is refused by it.
    state.tensors.emplace(
        dot == std::string::npos || name == names.end() ? key : name->second + key.substr(dot), tensor);
  }
  return state;
}

}  // namespace

SavedOptimizers save_optimizers(const std::vector<std::shared_ptr<Optimizer>>& optimizers,
                                const std::vector<LRSchedulerConfig>& schedulers) {
  SavedOptimizers saved;
  for (std::size_t i = 0; i < optimizers.size(); ++i) {
    auto state = optimizers[i]->state_dict();
    for (const auto& [key, tensor] : state.tensors)
      saved.tensors.emplace(std::to_string(i) + "." + key, tensor);
    auto states = nlohmann::json::array();
    for (const auto* scheduler : schedulers_of(*optimizers[i], schedulers))
      states.push_back(scheduler->state());
    saved.list.push_back(
        {{kType, state.type}, {kGroups, std::move(state.groups)}, {kSchedulers, std::move(states)}});
  }
  return saved;
}

void load_optimizers(const std::vector<std::shared_ptr<Optimizer>>& optimizers,
                     const std::vector<LRSchedulerConfig>& schedulers, const SavedOptimizers& saved,
                     int version) {
  std::vector<std::string> problems;
  std::vector<std::function<void()>> commits;
  const bool is_old = version < 3;
  const auto count = is_old ? std::size_t{1} : saved.list.is_array() ? saved.list.size() : 0;
  if (count != optimizers.size()) {
    problems.push_back("the checkpoint has " + std::to_string(count) +
                       " optimizer(s), configure_optimizers returned " + std::to_string(optimizers.size()));
  }
  auto left = saved.tensors;
  for (std::size_t i = 0; i < optimizers.size() && problems.empty(); ++i) {
    auto& optimizer = *optimizers[i];
    std::vector<std::string> own;
    OptimizerState state;
    auto states = nlohmann::json::array();
    if (is_old) {
      state = state_of_version_2(std::exchange(left, {}), optimizer, own);
    } else {
      const auto& entry = saved.list[i];
      if (entry.is_object()) {
        state.type = entry.value(kType, "");
        state.groups = entry.value(kGroups, nlohmann::json::array());
        states = entry.value(kSchedulers, nlohmann::json::array());
      }
      const auto prefix = std::to_string(i) + ".";
      for (auto it = left.lower_bound(prefix); it != left.end() && it->first.starts_with(prefix);) {
        state.tensors.emplace(it->first.substr(prefix.size()), it->second);
        it = left.erase(it);
      }
    }
    if (own.empty()) commits.push_back(optimizer.stage_state_dict(state, own));
    const auto steppers = schedulers_of(optimizer, schedulers);
    if (!is_old && states.size() != steppers.size()) {
      own.push_back("the checkpoint has " + std::to_string(states.size()) +
                    " scheduler(s) of it, there are " + std::to_string(steppers.size()));
    }
    for (std::size_t s = 0; s < steppers.size() && own.empty() && !is_old; ++s) {
      const auto before = steppers[s]->state();
      try {  // Loading is the check; what was there comes back.
        steppers[s]->load_state(states[s]);
        steppers[s]->load_state(before);
        commits.emplace_back([scheduler = steppers[s], state = states[s]] { scheduler->load_state(state); });
      } catch (const std::invalid_argument& e) {
        own.push_back("scheduler " + std::to_string(s) + ": " + e.what());
      }
    }
    const auto place =
        optimizer.type_name() + (optimizers.size() > 1 ? " (optimizer " + std::to_string(i) + ")" : "");
    for (const auto& problem : own) problems.push_back(place + ": " + problem);
  }
  for (const auto& [key, tensor] : left)
    if (problems.empty()) problems.push_back("the checkpoint has an unknown entry \"" + key + "\"");
  if (!problems.empty()) {
    std::string text = problems.front();
    for (std::size_t i = 1; i < problems.size(); ++i) text += "\n  " + problems[i];
    throw std::invalid_argument(text);
  }
  for (const auto& commit : commits) commit();
}

}  // namespace rtrain
