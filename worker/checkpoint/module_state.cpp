#include "worker/checkpoint/module_state.h"

#include <torch/torch.h>

#include <stdexcept>

namespace rtrain {

std::int64_t StatePiece::numel() const { return c10::multiply_integers(shape); }

const torch::Tensor& StatePiece::whole() const {
  if (is_whole()) return tensor;
  throw std::logic_error("this rank holds " + std::to_string(tensor.numel()) + " elements from element " +
                         std::to_string(offset) + " on of a tensor of shape " + c10::str(shape) +
                         ", and the whole is asked for");
}

StateTree state_of(const torch::nn::Module& module) {
  StateTree state;
  for (const auto& item : module.named_parameters()) state.emplace(item.key(), item.value());
  for (const auto& item : module.named_buffers()) state.emplace(item.key(), item.value());
  return state;
}

LoadedWeights load_state(torch::nn::Module& module, const StateTree& saved, bool strict) {
  const auto own = state_of(module);
  LoadedWeights result;
  std::string shapes;
  for (const auto& [name, piece] : own) {
    const auto found = saved.find(name);
    if (found == saved.end()) {
      result.missing.push_back(name);
      continue;
    }
    result.loaded.push_back(name);
    if (found->second.shape != piece.shape)
      shapes += "\n" + name + ": the checkpoint has shape " +
                c10::str(c10::IntArrayRef(found->second.shape)) + ", the model " +
                c10::str(c10::IntArrayRef(piece.shape));
  }
  for (const auto& [name, piece] : saved) {
    if (!own.contains(name)) result.unexpected.push_back(name);
  }
  auto problems = shapes;
  if (const auto report = result.report(); strict && !report.empty()) problems += "\n" + report;
  if (!problems.empty()) {
    for (auto at = problems.find('\n'); at != std::string::npos; at = problems.find('\n', at + 1))
      problems.insert(at + 1, "  ");
    throw std::runtime_error("the checkpoint does not fit the model:" + problems);
  }
  const torch::NoGradGuard no_grad;
  for (const auto& name : result.loaded) torch::Tensor(own.at(name).tensor).copy_(saved.at(name).whole());
  return result;
}

}  // namespace rtrain
