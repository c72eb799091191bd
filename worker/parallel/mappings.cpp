// Collectives as autograd functions. The backward of each is another of them, so that they can be derived any
// number of times.
#include <rtrain/parallel/group.h>

#include "worker/parallel/carried_group.h"
#include "worker/parallel/require.h"

#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include <string>
#include <vector>

namespace rtrain::parallel {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr const char *kGroup = "group", *kDim = "dim";

std::int64_t from_front(const Tensor& x, std::int64_t dim, const char* what) {
  const auto at = dim < 0 ? dim + x.dim() : dim;
  if (at >= 0 && at < x.dim()) return at;
  throw std::invalid_argument(std::string(what) + ": dim is " + std::to_string(dim) +
                              ", the tensor has shape " + c10::str(x.sizes()));
}

void require_parts(const Tensor& x, std::int64_t dim, const Group& group, const char* what) {
  require_divides(std::string(what) + ": dimension " + std::to_string(dim) + " of " + c10::str(x.sizes()),
                  x.size(dim), group->world_size());
}

Tensor same(const Tensor& x, Communicator& /*ranks*/, std::int64_t /*dim*/) { return x.view_as(x); }

Tensor summed(const Tensor& x, Communicator& ranks, std::int64_t /*dim*/) {
  auto sum = x.clone(at::MemoryFormat::Contiguous);
  ranks.start_all_reduce(sum, Communicator::Op::kSum, "all_reduce of activations").wait();
  return sum;
}

Tensor gathered(const Tensor& x, Communicator& ranks, std::int64_t dim) {
  const auto own = x.contiguous();
  std::vector<std::int64_t> sizes{ranks.world_size()};
  sizes.insert(sizes.end(), own.sizes().begin(), own.sizes().end());
  const auto all = at::empty(sizes, own.options());
  ranks.start_all_gather(all, own, "all_gather of activations").wait();
  return all.movedim(0, dim).flatten(dim, dim + 1);
}

Tensor scattered_sum(const Tensor& x, Communicator& ranks, std::int64_t dim) {
  const auto parts = x.unflatten(dim, {ranks.world_size(), -1}).movedim(dim, 0).contiguous();
  const auto own = at::empty(parts.sizes().slice(1), x.options());
  ranks.start_reduce_scatter(own, parts, Communicator::Op::kSum, "reduce_scatter of activations").wait();
  return own;
}

Tensor own_part(const Tensor& x, Communicator& ranks, std::int64_t dim) {
  const auto size = x.size(dim) / ranks.world_size();
  return x.narrow(dim, ranks.rank() * size, size).clone(at::MemoryFormat::Contiguous);
}

/// The node of one of them: `forward(x, ranks, dim)` is what it computes, and `backward(gradient, group,
/// dim)` the one that gives its gradient.
template <Tensor (*forward_of)(const Tensor&, Communicator&, std::int64_t),
          Tensor (*backward_of)(const Tensor&, const Group&, std::int64_t)>
struct Mapping : torch::autograd::Function<Mapping<forward_of, backward_of>> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Group& group, std::int64_t dim) {
    context->saved_data[kGroup] = CarriedGroup::pack(group);
    context->saved_data[kDim] = dim;
    return forward_of(x, *group, dim);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto group = CarriedGroup::unpack(context->saved_data.at(kGroup));
    return {backward_of(gradients[0], group, context->saved_data.at(kDim).toInt()), Tensor(), Tensor()};
  }
};

Tensor copied(const Tensor& x, const Group& group, std::int64_t /*dim*/) { return copy_to_group(x, group); }
Tensor reduced(const Tensor& x, const Group& group, std::int64_t /*dim*/) {
  return reduce_from_group(x, group);
}

using CopyTo = Mapping<same, reduced>;
using ReduceFrom = Mapping<summed, copied>;
using GatherFrom = Mapping<gathered, scatter_to_group>;
using ScatterTo = Mapping<own_part, gather_from_group>;
using GatherFromSequence = Mapping<gathered, reduce_scatter_to_sequence>;
using ReduceScatterToSequence = Mapping<scattered_sum, gather_from_sequence>;

}  // namespace

Tensor copy_to_group(const Tensor& x, const Group& group) {
  return required("copy_to_group", group)->is_alone() ? x : CopyTo::apply(x, group, 0);
}

Tensor reduce_from_group(const Tensor& x, const Group& group) {
  return required("reduce_from_group", group)->is_alone() ? x : ReduceFrom::apply(x, group, 0);
}

Tensor gather_from_group(const Tensor& x, const Group& group, std::int64_t dim) {
  if (required("gather_from_group", group)->is_alone()) return x;
  return GatherFrom::apply(x, group, from_front(x, dim, "gather_from_group"));
}

Tensor scatter_to_group(const Tensor& x, const Group& group, std::int64_t dim) {
  if (required("scatter_to_group", group)->is_alone()) return x;
  dim = from_front(x, dim, "scatter_to_group");
  require_parts(x, dim, group, "scatter_to_group");
  return ScatterTo::apply(x, group, dim);
}

Tensor gather_from_sequence(const Tensor& x, const Group& group, std::int64_t dim) {
  if (required("gather_from_sequence", group)->is_alone()) return x;
  return GatherFromSequence::apply(x, group, from_front(x, dim, "gather_from_sequence"));
}

Tensor reduce_scatter_to_sequence(const Tensor& x, const Group& group, std::int64_t dim) {
  if (required("reduce_scatter_to_sequence", group)->is_alone()) return x;
  dim = from_front(x, dim, "reduce_scatter_to_sequence");
  require_parts(x, dim, group, "reduce_scatter_to_sequence");
  return ReduceScatterToSequence::apply(x, group, dim);
}

}  // namespace rtrain::parallel
