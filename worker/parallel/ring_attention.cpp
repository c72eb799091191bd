#include <rtrain/parallel/context.h>

#include "worker/parallel/attention_block.h"
#include "worker/parallel/carried_group.h"
#include "worker/parallel/require.h"
#include "worker/parallel/ring_schedule.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/grad_mode.h>

#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

namespace rtrain::parallel {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

enum class Tag : int { kKeys = 1, kGradients = 2 };

/// A tensor on its way to the next rank, and that of the rank before on its way here.
class Shift {
 public:
  Shift() = default;
  Shift(Communicator& ranks, const Tensor& out, Tag tag) : arriving_(at::empty_like(out)) {
    const int rank = ranks.rank(), world = ranks.world_size();
    const auto send = [&] {
      sent_ = ranks.start_send(out, (rank + 1) % world, static_cast<int>(tag), "ring attention");
    };
    const auto receive = [&] {
      received_ =
          ranks.start_recv(arriving_, (rank + world - 1) % world, static_cast<int>(tag), "ring attention");
    };
    // Messages of NCCL wait in line on a stream: somebody must receive first.
    if (rank % 2 == 0) {
      send();
      receive();
    } else {
      receive();
      send();
    }
  }
  [[nodiscard]] Tensor arrived() {
    received_.wait();
    sent_.wait();
    return std::move(arriving_);
  }

 private:
  Tensor arriving_;
  Work sent_, received_;
};

/// How the ring is gone through.
struct Ring {
  Group group;
  bool is_causal = false;
  SequenceOrder order = SequenceOrder::kZigzag;
  double scale = 1;

  [[nodiscard]] int size() const { return group->world_size(); }
  [[nodiscard]] RingBlock block(int step, std::int64_t length) const {
    const int rank = group->rank();
    return ring_block(rank, key_owner(rank, step, size()), length, is_causal, order);
  }
  void save(AutogradContext& context) const {
    context.saved_data["group"] = CarriedGroup::pack(group);
    context.saved_data["is_causal"] = is_causal;
    context.saved_data["order"] = static_cast<std::int64_t>(order);
    context.saved_data["scale"] = scale;
  }
  [[nodiscard]] static Ring load(const AutogradContext& context) {
    const auto& saved = context.saved_data;
    return {CarriedGroup::unpack(saved.at("group")), saved.at("is_causal").toBool(),
            static_cast<SequenceOrder>(saved.at("order").toInt()), saved.at("scale").toDouble()};
  }
};

Tensor from(const Tensor& x, std::int64_t first) { return x.narrow(2, first, x.size(2) - first); }
Tensor up_to(const Tensor& x, std::int64_t count) { return x.narrow(2, 0, count); }

struct RingAttention : torch::autograd::Function<RingAttention> {
  static Tensor forward(AutogradContext* context, const Tensor& q, const Tensor& k, const Tensor& v,
                        const Ring& ring) {
    const auto length = q.size(2);
    const auto wide = q.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat;
    AttentionResult whole;
    auto keys = at::stack({k, v});
    for (int step = 0; step < ring.size(); ++step) {
      Shift next;
      if (step + 1 < ring.size()) next = Shift(*ring.group, keys, Tag::kKeys);
      if (const auto block = ring.block(step, length); block.keys > 0) {
        const auto own_q = from(q, block.first_query);
        const auto own_k = up_to(keys[0], block.keys), own_v = up_to(keys[1], block.keys);
        const auto result = attention_kernel(own_q, own_k, own_v, block.is_causal, ring.scale)
                                .forward(own_q, own_k, own_v, block.is_causal, ring.scale);
        if (step == 0)  // its own keys: each query attends to one at least
          whole = {result.out.to(wide).contiguous(), result.logsumexp.contiguous()};
        else
          join({from(whole.out, block.first_query), from(whole.logsumexp, block.first_query)}, result);
      }
      if (step + 1 < ring.size()) keys = next.arrived();
    }
    const auto out = whole.out.to(q.scalar_type());
    context->save_for_backward({q, k, v, out, whole.logsumexp});
    ring.save(*context);
    return out;
  }

  /// The gradients of keys and values travel with them, and are home after as many steps as there are ranks.
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    if (torch::GradMode::is_enabled())
      throw std::logic_error("ring_attention has no second derivative (create_graph)");
    const auto saved = context->get_saved_variables();
    const auto &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[3], &sums = saved[4];
    const auto ring = Ring::load(*context);
    const auto grad = gradients[0].contiguous();
    const auto length = q.size(2);
    const auto of_q = at::zeros(q.sizes(), q.options().dtype(sums.scalar_type()));
    auto keys = at::stack({k, v});
    auto of_keys = at::zeros(keys.sizes(), of_q.options());
    Shift travelling;  // gradients, while the next block is computed
    for (int step = 0; step < ring.size(); ++step) {
      Shift next;
      if (step + 1 < ring.size()) next = Shift(*ring.group, keys, Tag::kKeys);
      std::array<Tensor, 3> parts;
      const auto block = ring.block(step, length);
      if (block.keys > 0) {
        const auto first = block.first_query;
        const auto own_q = from(q, first);
        const auto own_k = up_to(keys[0], block.keys), own_v = up_to(keys[1], block.keys);
        parts = attention_kernel(own_q, own_k, own_v, block.is_causal, ring.scale)
                    .backward(from(grad, first).contiguous(), own_q, own_k, own_v,
                              {from(out, first).contiguous(), from(sums, first).contiguous()},
                              block.is_causal, ring.scale);
        from(of_q, first).add_(parts[0]);
      }
      if (step > 0) of_keys = travelling.arrived();
      if (block.keys > 0) {
        up_to(of_keys[0], block.keys).add_(parts[1]);
        up_to(of_keys[1], block.keys).add_(parts[2]);
      }
      travelling = Shift(*ring.group, of_keys, Tag::kGradients);
      if (step + 1 < ring.size()) keys = next.arrived();
    }
    of_keys = travelling.arrived();
    const auto type = q.scalar_type();
    return {of_q.to(type), of_keys[0].to(type), of_keys[1].to(type), Tensor()};
  }
};

}  // namespace

Tensor ring_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Group& group,
                      const RingAttentionOptions& options) {
  (void)required("ring_attention", group);
  const bool fits = q.dim() == 4 && k.sizes() == q.sizes() && v.sizes() == q.sizes() &&
                    k.scalar_type() == q.scalar_type() && v.scalar_type() == q.scalar_type();
  if (!fits)
    throw std::invalid_argument(
        "ring_attention: q, k and v have shapes " + c10::str(q.sizes()) + ", " + c10::str(k.sizes()) + ", " +
        c10::str(v.sizes()) + " and types " + c10::str(q.scalar_type()) + ", " + c10::str(k.scalar_type()) +
        ", " + c10::str(v.scalar_type()) + ", expected one of each: [N, heads, length / ranks, head size]");
  if (group->is_alone())
    return at::scaled_dot_product_attention(q, k, v, {}, 0, options.is_causal, options.scale);
  if (options.is_causal && options.order == SequenceOrder::kZigzag && q.size(2) % 2 != 0)
    throw std::invalid_argument("ring_attention: a rank's part has " + std::to_string(q.size(2)) +
                                " positions, and the order kZigzag needs two chunks of one size: choose a "
                                "length that is a multiple of 2 * ranks");
  const double scale = options.scale.value_or(1 / std::sqrt(static_cast<double>(q.size(3))));
  return RingAttention::apply(q, k, v, Ring{group, options.is_causal, options.order, scale});
}

}  // namespace rtrain::parallel
