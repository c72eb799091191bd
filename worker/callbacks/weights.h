// The tensors of a module that callbacks average.
#pragma once

#include <torch/nn/module.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

namespace rtrain {

/// Parameters, and buffers, by name. A tensor with several names (a layer used twice) comes once, under its
/// first.
[[nodiscard]] inline std::vector<std::pair<std::string, torch::Tensor>> weights_of(
    const torch::nn::Module& module, bool buffers) {
  std::vector<std::pair<std::string, torch::Tensor>> all;
  std::set<const void*> seen;
  const auto add = [&](const auto& named) {
    for (const auto& item : named)
      if (item.value().defined() && seen.insert(item.value().unsafeGetTensorImpl()).second)
        all.emplace_back(item.key(), item.value());
  };
  add(module.named_parameters());
  if (buffers) add(module.named_buffers());
  return all;
}

}  // namespace rtrain
