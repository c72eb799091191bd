#include "worker/checkpoint/module_state.h"

#include <rtrain/parallel/partition.h>

#include <torch/torch.h>

#include <stdexcept>

namespace rtrain {

std::int64_t StatePiece::numel() const { return c10::multiply_integers(shape); }

const torch::Tensor& StatePiece::whole() const {
  if (is_whole()) return tensor;
  throw std::logic_error("this rank holds " + std::to_string(tensor.numel()) + " elements from element " +
                         std::to_string(offset) + " on of a tensor of shape " +
                         c10::str(c10::IntArrayRef(shape)) + ", and the whole is asked for");
}

torch::Tensor StatePiece::range(std::int64_t first, std::int64_t count) const {
  if (is_range() && first >= offset && first + count <= offset + tensor.numel())
    return tensor.reshape({-1}).narrow(0, first - offset, count);
  throw std::logic_error("this rank holds " + std::to_string(tensor.numel()) + " elements from element " +
                         std::to_string(offset) + " on of a tensor of shape " +
                         c10::str(c10::IntArrayRef(shape)) + ", and " + std::to_string(count) +
                         " from element " + std::to_string(first) + " on are asked for");
}

torch::Tensor StatePiece::elements_of(const StatePiece& part) const {
  if (part.is_range()) return range(part.offset, part.tensor.numel()).view(part.tensor.sizes());
  const auto count = part.tensor.numel() / part.runs.length;
  return range(part.offset, (count - 1) * part.runs.stride + part.runs.length)
      .as_strided({count, part.runs.length}, {part.runs.stride, 1})
      .reshape(part.tensor.sizes());
}

StatePiece StatePiece::of(torch::Tensor other) const {
  if (!is_part) return {std::move(other)};
  return {std::move(other), shape, offset, runs};
}

StateTree state_of(const torch::nn::Module& module) {
  std::map<const void*, StatePiece> pieces;
  for (const auto& [tensor, partition] : parallel::split_parameters_of(module))
    pieces.emplace(tensor.unsafeGetTensorImpl(), partition.piece(tensor));
  StateTree state;
  for (const auto& item : module.named_parameters()) {
    const auto split = pieces.find(item.value().unsafeGetTensorImpl());
    state.emplace(item.key(), split == pieces.end() ? StatePiece(item.value()) : split->second);
  }
  for (const auto& item : module.named_buffers()) state.emplace(item.key(), item.value());
  return state;
}

LoadedWeights load_state(torch::nn::Module& module, const StateTree& saved, bool strict) {
  return load_state(state_of(module), saved, strict);
}

LoadedWeights load_state(const StateTree& own, const StateTree& saved, bool strict) {
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
  for (const auto& name : result.loaded) {
    const auto& piece = own.at(name);
    const auto& to = piece.tensor;
    torch::Tensor(to).copy_(saved.at(name).elements_of(piece));
  }
  return result;
}

}  // namespace rtrain
