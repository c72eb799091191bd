// Attention in blocks against the whole of it.
#pragma once

#include "tests/support/catch.h"
#include "worker/parallel/attention_block.h"

#include <torch/torch.h>

namespace rtrain::test {

/// Two blocks of keys, forward and backward, and one causal block, in the kernel that LibTorch chooses for
/// `type`, against float64.
inline void check_attention_blocks(torch::Device device, torch::ScalarType type, double tolerance) {
  using parallel::AttentionResult;
  const std::vector<std::int64_t> shape{2, 3, 40, 64};
  constexpr double kScale = 0.125;
  const auto draw = [&](std::uint64_t seed) {
    return torch::randn(shape, at::detail::createCPUGenerator(seed), torch::dtype(torch::kFloat64))
        .to(type)
        .to(device);
  };
  const auto q = draw(1), k = draw(2), v = draw(3), grad = draw(4);
  const auto close = [&](const torch::Tensor& a, const torch::Tensor& b) {
    REQUIRE(a.sizes() == b.sizes());
    CHECK((a.to(torch::kFloat64).cpu() - b.cpu()).abs().max().item<double>() < tolerance);
  };
  for (const bool causal : {false, true}) {
    INFO(torch::toString(type) << " on " << device << ", causal " << causal);
    std::vector<torch::Tensor> exact;
    for (const auto& one : {q, k, v})
      exact.push_back(one.to(torch::kFloat64).cpu().detach().clone().set_requires_grad(true));
    const auto y = at::scaled_dot_product_attention(exact[0], exact[1], exact[2], {}, 0, causal, kScale);
    y.backward(grad.to(torch::kFloat64).cpu());

    const auto wide = type == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
    const std::int64_t size = causal ? shape[2] : shape[2] / 2;
    AttentionResult whole;
    for (std::int64_t first = 0; first < shape[2]; first += size) {
      const auto own_k = k.narrow(2, first, size), own_v = v.narrow(2, first, size);
      const auto block = parallel::attention_kernel(q, own_k, own_v, causal, kScale)
                             .forward(q, own_k, own_v, causal, kScale);
      CHECK(block.logsumexp.scalar_type() == wide);
      if (first == 0)
        whole = {block.out.to(wide).contiguous(), block.logsumexp.contiguous()};
      else
        parallel::join(whole, block);
    }
    close(whole.out, y.detach());
    auto of_q = torch::zeros(shape, whole.out.options());
    std::vector<torch::Tensor> of_k, of_v;
    const AttentionResult in_type{whole.out.to(type), whole.logsumexp};
    for (std::int64_t first = 0; first < shape[2]; first += size) {
      const auto own_k = k.narrow(2, first, size), own_v = v.narrow(2, first, size);
      const auto parts = parallel::attention_kernel(q, own_k, own_v, causal, kScale)
                             .backward(grad, q, own_k, own_v, in_type, causal, kScale);
      of_q += parts[0];
      of_k.push_back(parts[1]);
      of_v.push_back(parts[2]);
    }
    close(of_q, exact[0].grad());
    close(torch::cat(of_k, 2), exact[1].grad());
    close(torch::cat(of_v, 2), exact[2].grad());
  }
}

}  // namespace rtrain::test
