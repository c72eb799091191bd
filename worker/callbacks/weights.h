// The tensors of a module that callbacks average.
#pragma once

#include <rtrain/trainer.h>

#include <torch/nn/module.h>

#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace rtrain {

/// A parameter or buffer, as far as this rank has it. The tensor is the module's own.
struct Weight {
  std::string name;
  StatePiece piece;
  bool is_buffer = false;
};

/// Parameters, then buffers. A tensor with several names (a layer used twice) comes once, under its first.
/// @param names if given, gets the first name of each name. @param state of the module.
[[nodiscard]] inline std::vector<Weight> weights_of(const torch::nn::Module& module, const StateTree& state,
                                                    std::map<std::string, std::string>* names = nullptr) {
  std::vector<Weight> all;
  std::map<const void*, std::string> seen;
  const auto add = [&](const auto& named, bool is_buffer) {
    for (const auto& item : named) {
      if (!item.value().defined()) continue;
      const auto [first, is_new] = seen.emplace(item.value().unsafeGetTensorImpl(), item.key());
      if (names != nullptr) names->emplace(item.key(), first->second);
      if (is_new) all.push_back({item.key(), state.at(item.key()), is_buffer});
    }
  };
  add(module.named_parameters(), false);
  add(module.named_buffers(), true);
  return all;
}

/// To read.
[[nodiscard]] inline std::vector<Weight> weights_of(const Trainer& trainer, const LightningModule& module) {
  return weights_of(module, trainer.strategy().module_state(module));
}

/// Runs `body` with weights that it may write to.
inline void with_weights(Trainer& trainer, LightningModule& module,
                         const std::function<void(const std::vector<Weight>&)>& body) {
  trainer.wait_for_snapshot();
  trainer.strategy().with_module_state(module,
                                       [&](const StateTree& state) { body(weights_of(module, state)); });
}

/// Of a saved tensor what this rank has of `weight`, in the shape that it is held in.
/// @throws std::runtime_error the saved one has another shape.
[[nodiscard]] inline torch::Tensor part_for(const Weight& weight, const StatePiece& saved) {
  if (saved.shape != weight.piece.shape)
    throw std::runtime_error("the checkpoint's average of " + weight.name + " has shape " +
                             c10::str(c10::IntArrayRef(saved.shape)) + ", the parameter " +
                             c10::str(c10::IntArrayRef(weight.piece.shape)));
  return saved.elements_of(weight.piece);
}

}  // namespace rtrain
