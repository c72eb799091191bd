// Which parameters are gathered together: PyTorch's auto_wrap_policy.
#pragma once

#include <rtrain/export.h>

#include <torch/nn/module.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace rtrain {

/// A module that may become a unit.
struct RTRAIN_API WrapCandidate {
  const torch::nn::Module& module;
  const torch::nn::Module* parent;  ///< null: it is the whole model
  const std::string& name;          ///< "blocks.3"; "" of the whole model
  std::int64_t numel;               ///< elements of its parameters that no unit inside of it has
};

/// True: the parameters of this module, without those of units inside of it, are a unit.
using WrapPolicy = std::function<bool(const WrapCandidate&)>;

/// Policies. What belongs to no unit is one unit together: the root. A unit is what a rank holds whole at a
/// time, so the largest one bounds the memory, and each one costs a message to every rank.
namespace wrap {

/// The default: each child of a ModuleList or Sequential that has at least `min_numel` elements, those of
/// units inside not counted.
[[nodiscard]] RTRAIN_API WrapPolicy children(std::int64_t min_numel = 1'000'000);
/// Every module with at least `min_numel` elements, those of units inside not counted: PyTorch's
/// size_based_auto_wrap_policy.
[[nodiscard]] RTRAIN_API WrapPolicy min_elements(std::int64_t min_numel);
/// Modules by name; `*` stands for any characters: {"encoder.layers.*"}. A pattern matches the whole name, so
/// `*` reaches into the parts of a layer as well; end it with the layer's number: {"layers.?", "layers.??"},
/// where `?` stands for one character.
/// @throws std::invalid_argument no pattern.
[[nodiscard]] RTRAIN_API WrapPolicy names(std::vector<std::string> patterns);
/// Modules of these classes: wrap::modules<BlockImpl>(). PyTorch's transformer_auto_wrap_policy and
/// ModuleWrapPolicy.
template <class... M>
[[nodiscard]] WrapPolicy modules() {
  return [](const WrapCandidate& candidate) {
    return ((dynamic_cast<const M*>(&candidate.module) != nullptr) || ...);
  };
}
/// The whole model is one unit: PyTorch's FSDP without a policy.
[[nodiscard]] RTRAIN_API WrapPolicy none();

}  // namespace wrap

}  // namespace rtrain
