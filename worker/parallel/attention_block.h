// Attention of some queries to some keys, with what joins the results of several blocks.
#pragma once

#include <rtrain/export.h>

#include <torch/types.h>

#include <array>

namespace rtrain::parallel {

struct AttentionResult {
  torch::Tensor out;        ///< [N, heads, queries, head size]
  torch::Tensor logsumexp;  ///< [N, heads, queries], float32 (float64 of float64)
};

/// One way to compute a block. With the out and logsumexp of all blocks together, backward() gives this
/// block's part of the gradients.
class RTRAIN_API AttentionKernel {
 public:
  virtual ~AttentionKernel() = default;
  [[nodiscard]] virtual AttentionResult forward(const torch::Tensor& q, const torch::Tensor& k,
                                                const torch::Tensor& v, bool is_causal,
                                                double scale) const = 0;
  /// @return those of q, k and v.
  [[nodiscard]] virtual std::array<torch::Tensor, 3> backward(const torch::Tensor& grad,
                                                              const torch::Tensor& q, const torch::Tensor& k,
                                                              const torch::Tensor& v,
                                                              const AttentionResult& whole, bool is_causal,
                                                              double scale) const = 0;
};

/// The one that scaled_dot_product_attention() would choose, if it tells the log-sum-exp; else plain matrix
/// products.
[[nodiscard]] RTRAIN_API const AttentionKernel& attention_kernel(const torch::Tensor& q,
                                                                 const torch::Tensor& k,
                                                                 const torch::Tensor& v, bool is_causal,
                                                                 double scale);

/// `whole` becomes the attention to the keys of both, in place. In the type of `whole`.
RTRAIN_API void join(const AttentionResult& whole, const AttentionResult& block);

}  // namespace rtrain::parallel
