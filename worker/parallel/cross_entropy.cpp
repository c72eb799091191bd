#include <rtrain/parallel/vocabulary.h>

#include "worker/parallel/own_tokens.h"
#include "worker/parallel/require.h"

#include <ATen/ops/amax.h>
#include <ATen/ops/stack.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/grad_mode.h>

#include <stdexcept>
#include <string>

namespace rtrain::parallel {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// A loss a position. Softmax and its gradient as in Shoeybi et al., "Megatron-LM", 2019, section 3.
struct CrossEntropy : torch::autograd::Function<CrossEntropy> {
  static Tensor forward(AutogradContext* context, const Tensor& logits, const Tensor& target,
                        const Tensor& ignored, const Group& group) {
    const auto type = logits.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat;
    const auto wide = logits.to(type);
    auto most = wide.amax(-1);
    group->all_reduce(most, Communicator::Op::kMax);
    auto p = wide - most.unsqueeze(-1);
    const auto own = own_tokens(target, group->rank() * logits.size(-1), logits.size(-1));
    const auto of_target =
        p.gather(-1, own.local.unsqueeze(-1)).squeeze(-1).masked_fill(own.mine.logical_not(), 0);
    p.exp_();
    const auto sums = at::stack({p.sum(-1), of_target});
    group->all_reduce(sums);
    p.div_(sums[0].unsqueeze(-1));
    context->save_for_backward({p, own.local, own.mine, ignored});
    context->saved_data["type"] = static_cast<std::int64_t>(logits.scalar_type());
    return (sums[0].log() - sums[1]).masked_fill(ignored, 0);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    if (torch::GradMode::is_enabled())
      throw std::logic_error("vocab_parallel_cross_entropy has no second derivative (create_graph)");
    const auto saved = context->get_saved_variables();
    const auto &p = saved[0], &local = saved[1], &mine = saved[2], &ignored = saved[3];
    const auto loss = gradients[0].masked_fill(ignored, 0);
    auto gradient = p * loss.unsqueeze(-1);
    gradient.scatter_add_(-1, local.unsqueeze(-1), -loss.masked_fill(mine.logical_not(), 0).unsqueeze(-1));
    return {gradient.to(static_cast<torch::ScalarType>(context->saved_data.at("type").toInt())), Tensor(),
            Tensor(), Tensor()};
  }
};

}  // namespace

Tensor vocab_parallel_cross_entropy(const Tensor& logits, const Tensor& target, const Group& group,
                                    const VocabParallelCrossEntropyOptions& options) {
  constexpr const char* kWhat = "vocab_parallel_cross_entropy";
  (void)required(kWhat, group);
  if (logits.dim() < 1 ||
      target.sizes() != logits.sizes().slice(0, static_cast<std::size_t>(logits.dim() - 1)))
    throw std::invalid_argument(std::string(kWhat) + ": the logits have shape " + c10::str(logits.sizes()) +
                                ", the targets " + c10::str(target.sizes()) +
                                ", expected [..., vocabulary / ranks] and [...]");
  const auto ignored = target == options.ignore_index;
  require_in_vocabulary(kWhat, target, logits.size(-1) * group->world_size(), ignored);
  const auto losses = CrossEntropy::apply(logits, target, ignored, group);
  using Reduction = VocabParallelCrossEntropyOptions::Reduction;
  switch (options.reduction) {
    case Reduction::kNone: return losses;
    case Reduction::kSum: return losses.sum();
    case Reduction::kMean: break;
  }
  return losses.sum() / ignored.logical_not().sum();
}

}  // namespace rtrain::parallel
