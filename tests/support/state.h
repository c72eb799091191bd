// Copies of a module's tensors, to compare their bits.
#pragma once

#include <torch/torch.h>

#include <map>
#include <string>

namespace rtrain::test {

using State = std::map<std::string, torch::Tensor>;

/// The parameters and buffers of a module as they are now, by name.
inline State state_of(const torch::nn::Module& module) {
  State state;
  for (const auto& item : module.named_parameters()) state.emplace(item.key(), item.value().detach().clone());
  for (const auto& item : module.named_buffers()) state.emplace(item.key(), item.value().clone());
  return state;
}

/// True if both have the same names with the same values.
inline bool same_bits(const State& a, const State& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [name, tensor] : a)
    if (!torch::equal(tensor, b.at(name))) return false;
  return true;
}

}  // namespace rtrain::test
