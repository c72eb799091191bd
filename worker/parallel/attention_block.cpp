#include "worker/parallel/attention_block.h"

#include <ATen/SDPBackend.h>
#include <ATen/ops/_fused_sdp_choice.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention_backward.h>
#include <ATen/ops/_scaled_dot_product_efficient_attention.h>
#include <ATen/ops/_scaled_dot_product_efficient_attention_backward.h>
#include <ATen/ops/_scaled_dot_product_flash_attention.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_backward.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/logaddexp.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>

#include <limits>

namespace rtrain::parallel {
namespace {

using torch::Tensor;
using Gradients = std::array<Tensor, 3>;

torch::ScalarType wide_type(const Tensor& x) {
  return x.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat;
}

/// Any type, shape and device; the weights of the block are in memory.
class Products final : public AttentionKernel {
 public:
  AttentionResult forward(const Tensor& q, const Tensor& k, const Tensor& v, bool is_causal,
                          double scale) const override {
    const auto type = wide_type(q);
    const auto logits = logits_of(q, k, is_causal, scale);
    const auto sums = at::logsumexp(logits, -1);
    return {at::matmul((logits - sums.unsqueeze(-1)).exp_(), v.to(type)), sums};
  }
  Gradients backward(const Tensor& grad, const Tensor& q, const Tensor& k, const Tensor& v,
                     const AttentionResult& whole, bool is_causal, double scale) const override {
    const auto type = wide_type(q);
    const auto g = grad.to(type);
    const auto p = (logits_of(q, k, is_causal, scale) - whole.logsumexp.unsqueeze(-1)).exp_();
    const auto of_v = at::matmul(p.transpose(-2, -1), g);
    const auto delta = (g * whole.out.to(type)).sum(-1, /*keepdim=*/true);
    const auto of_logits = p * (at::matmul(g, v.to(type).transpose(-2, -1)) - delta) * scale;
    return {at::matmul(of_logits, k.to(type)), at::matmul(of_logits.transpose(-2, -1), q.to(type)), of_v};
  }

 private:
  static Tensor logits_of(const Tensor& q, const Tensor& k, bool is_causal, double scale) {
    const auto type = wide_type(q);
    const auto logits = at::matmul(q.to(type), k.to(type).transpose(-2, -1)).mul_(scale);
    if (!is_causal) return logits;
    const auto later = at::ones({q.size(2), k.size(2)}, q.options().dtype(torch::kBool)).triu(1);
    return logits.masked_fill(later, -std::numeric_limits<double>::infinity());
  }
};

class FlashOnCpu final : public AttentionKernel {
 public:
  AttentionResult forward(const Tensor& q, const Tensor& k, const Tensor& v, bool is_causal,
                          double scale) const override {
    auto [out, sums] = at::_scaled_dot_product_flash_attention_for_cpu(q, k, v, 0, is_causal, {}, scale);
    return {out, sums};
  }
  Gradients backward(const Tensor& grad, const Tensor& q, const Tensor& k, const Tensor& v,
                     const AttentionResult& whole, bool is_causal, double scale) const override {
    auto [of_q, of_k, of_v] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
        grad, q, k, v, whole.out, whole.logsumexp, 0, is_causal, {}, scale);
    return {of_q, of_k, of_v};
  }
};

/// What the kernels take as the state of a generator, which they do not read without dropout.
Tensor no_seed(const Tensor& like) { return at::empty({2}, like.options().dtype(torch::kUInt64)); }

class FlashOnCuda final : public AttentionKernel {
 public:
  AttentionResult forward(const Tensor& q, const Tensor& k, const Tensor& v, bool is_causal,
                          double scale) const override {
    const auto result = at::_scaled_dot_product_flash_attention(q, k, v, 0, is_causal, false, scale);
    return {std::get<0>(result), std::get<1>(result)};
  }
  Gradients backward(const Tensor& grad, const Tensor& q, const Tensor& k, const Tensor& v,
                     const AttentionResult& whole, bool is_causal, double scale) const override {
    const auto seed = no_seed(q), offset = at::empty({}, seed.options());
    auto [of_q, of_k, of_v] = at::_scaled_dot_product_flash_attention_backward(
        grad, q, k, v, whole.out, whole.logsumexp, {}, {}, q.size(2), k.size(2), 0, is_causal, seed, offset,
        scale);
    return {of_q, of_k, of_v};
  }
};

class EfficientOnCuda final : public AttentionKernel {
 public:
  AttentionResult forward(const Tensor& q, const Tensor& k, const Tensor& v, bool is_causal,
                          double scale) const override {
    const auto result = at::_scaled_dot_product_efficient_attention(q, k, v, {}, /*compute_log_sumexp=*/true,
                                                                    0, is_causal, scale);
    return {std::get<0>(result), std::get<1>(result).narrow(2, 0, q.size(2))};
  }
  Gradients backward(const Tensor& grad, const Tensor& q, const Tensor& k, const Tensor& v,
                     const AttentionResult& whole, bool is_causal, double scale) const override {
    // The kernel has rows of a multiple of 32, and infinities behind the last query.
    constexpr std::int64_t kRows = 32;
    const auto missing = (kRows - q.size(2) % kRows) % kRows;
    const auto sums =
        at::constant_pad_nd(whole.logsumexp, {0, missing}, std::numeric_limits<double>::infinity());
    const auto seed = at::empty({}, q.options().dtype(torch::kLong));
    auto [of_q, of_k, of_v, of_bias] = at::_scaled_dot_product_efficient_attention_backward(
        grad, q, k, v, {}, whole.out, sums, seed, seed, 0, {true, true, true, false}, is_causal, scale);
    return {of_q, of_k, of_v};
  }
};

class CudnnOnCuda final : public AttentionKernel {
 public:
  AttentionResult forward(const Tensor& q, const Tensor& k, const Tensor& v, bool is_causal,
                          double scale) const override {
    const auto result = at::_scaled_dot_product_cudnn_attention(q, k, v, {}, /*compute_log_sumexp=*/true, 0,
                                                                is_causal, false, scale);
    return {std::get<0>(result), std::get<1>(result).view({q.size(0), q.size(1), q.size(2)})};
  }
  Gradients backward(const Tensor& grad, const Tensor& q, const Tensor& k, const Tensor& v,
                     const AttentionResult& whole, bool is_causal, double scale) const override {
    const auto seed = at::empty({}, q.options().dtype(torch::kLong));
    auto [of_q, of_k, of_v] = at::_scaled_dot_product_cudnn_attention_backward(
        grad, q, k, v, whole.out, whole.logsumexp.unsqueeze(-1), seed, seed, {}, {}, {}, q.size(2), k.size(2),
        0, is_causal, scale);
    return {of_q, of_k, of_v};
  }
};

}  // namespace

const AttentionKernel& attention_kernel(const Tensor& q, const Tensor& k, const Tensor& v, bool is_causal,
                                        double scale) {
  static const Products products;
  static const FlashOnCpu flash_on_cpu;
  static const FlashOnCuda flash_on_cuda;
  static const EfficientOnCuda efficient_on_cuda;
  static const CudnnOnCuda cudnn_on_cuda;
  const auto choice = static_cast<at::SDPBackend>(at::_fused_sdp_choice(q, k, v, {}, 0, is_causal, scale));
  switch (choice) {
    case at::SDPBackend::flash_attention:
      if (q.is_cpu()) return flash_on_cpu;
      // scaled_dot_product_attention() pads other head sizes.
      if (q.is_cuda() && q.size(-1) % 8 == 0) return flash_on_cuda;
      break;
    case at::SDPBackend::efficient_attention:
      if (q.is_cuda()) return efficient_on_cuda;
      break;
    case at::SDPBackend::cudnn_attention:
      if (q.is_cuda()) return cudnn_on_cuda;
      break;
    default: break;
  }
  return products;
}

void join(const AttentionResult& whole, const AttentionResult& block) {
  const auto sums = at::logaddexp(whole.logsumexp, block.logsumexp);
  whole.out.mul_((whole.logsumexp - sums).exp_().unsqueeze(-1));
  whole.out.add_(block.out * (block.logsumexp - sums).exp_().unsqueeze(-1));
  whole.logsumexp.copy_(sums);
}

}  // namespace rtrain::parallel
