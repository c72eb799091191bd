#include <rtrain/optim.h>

#include "worker/optim/unique.h"

namespace rtrain::optim {

std::vector<ParamGroup> split_decay(const torch::nn::Module& module, double weight_decay) {
  ParamGroup decay{{}, "decay", {{"weight_decay", weight_decay}}},
      rest{{}, "no_decay", {{"weight_decay", 0}}};
  for (const auto& parameter : unique(module.parameters())) {
    if (parameter.requires_grad()) (parameter.dim() >= 2 ? decay : rest).params.push_back(parameter);
  }
  std::vector<ParamGroup> groups;
  for (auto* group : {&decay, &rest})
    if (!group->params.empty()) groups.push_back(std::move(*group));
  return groups;
}

}  // namespace rtrain::optim
