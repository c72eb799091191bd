// Cuts a module into units.
#pragma once

#include "worker/sharding/sharded_module.h"

#include <rtrain/strategies/wrap.h>

#include <torch/nn/module.h>
#include <torch/types.h>

#include <string>
#include <vector>

namespace rtrain::sharding {

struct Cut {
  std::vector<UnitPlan> units;  ///< in the order of the modules; the root, if it has parameters, is first
  std::vector<torch::Tensor> whole;  ///< of ignored modules
};

/// A parameter belongs to the innermost unit of the first place that registers it.
/// @param ignored patterns of module names, as in wrap::names().
[[nodiscard]] Cut cut(const torch::nn::Module& module, const WrapPolicy& policy,
                      const std::vector<std::string>& ignored);

}  // namespace rtrain::sharding
