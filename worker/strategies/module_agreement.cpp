#include "worker/strategies/module_agreement.h"

#include "worker/optim/unique.h"

#include <torch/torch.h>

#include <limits>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace rtrain {
namespace {

/// One line a parameter or buffer: "layer1.weight float [64, 3, 7, 7]".
std::string describe(const torch::nn::Module& module) {
  std::ostringstream text;
  const auto add = [&](const char* kind, const auto& items) {
    for (const auto& item : items) {
      text << kind << ' ' << item.key() << ' ' << item.value().scalar_type() << ' ' << item.value().sizes()
           << (item.value().requires_grad() ? "" : " without gradient") << '\n';
    }
  };
  add("parameter", module.named_parameters());
  add("buffer", module.named_buffers());
  return text.str();
}

/// The first line that differs, of each; "nothing" where one has ended.
std::pair<std::string, std::string> first_difference(const std::string& a, const std::string& b) {
  std::istringstream in_a(a), in_b(b);
  std::string line_a, line_b;
  while (true) {
    const bool more_a = static_cast<bool>(std::getline(in_a, line_a)),
               more_b = static_cast<bool>(std::getline(in_b, line_b));
    if (!more_a && !more_b) return {};
    if (!more_a || !more_b || line_a != line_b)
      return {more_a ? line_a : "nothing", more_b ? line_b : "nothing"};
  }
}

}  // namespace

void require_equal_modules(const std::string& who, const torch::nn::Module& module, Communicator& ranks,
                           torch::Device device) {
  const auto own = describe(module);
  const auto reference = ranks.broadcast_text(own, 0, device);
  auto first_bad = torch::scalar_tensor(own == reference ? std::numeric_limits<std::int64_t>::max()
                                                         : static_cast<std::int64_t>(ranks.rank()),
                                        torch::dtype(torch::kInt64))
                       .to(device);
  ranks.all_reduce(first_bad, Communicator::Op::kMin);
  const auto rank = first_bad.item<std::int64_t>();
  if (rank == std::numeric_limits<std::int64_t>::max()) return;
  const auto [at_zero, here] = first_difference(reference, own);
  throw std::runtime_error(ranks.broadcast_text(who + ": the ranks' models differ: rank " +
                                                    std::to_string(rank) + " has " + here + ", rank 0 has " +
                                                    at_zero,
                                                static_cast<int>(rank), device));
}

void take_over_state(const torch::nn::Module& module, Communicator& ranks) {
  std::vector<torch::Tensor> states;
  for (const auto& parameter : unique(module.parameters())) states.push_back(parameter.detach());
  for (const auto& buffer : module.buffers()) states.push_back(buffer.detach());
  ranks.broadcast_all(states);
}

void take_over_buffers(const std::vector<torch::Tensor>& buffers, Communicator& ranks, int root) {
  ranks.broadcast_all(buffers, root);
}

}  // namespace rtrain
