// Metrics of language models.
#pragma once

#include <rtrain/export.h>
#include <rtrain/metrics/metric.h>

#include <torch/types.h>

#include <cstdint>
#include <optional>

namespace rtrain::metrics {

struct RTRAIN_API PerplexityOptions {
  std::optional<std::int64_t> ignore_index{};  ///< tokens that are left out
};
/// exp of the mean of -log p(token); NaN without a token. preds [N, T, V]: logits, float; target [N, T],
/// int64.
class RTRAIN_API Perplexity : public PredictionMetric {
 public:
  explicit Perplexity(PerplexityOptions options = {});
  /// Of a loss that is there already: the mean cross entropy of `tokens` tokens. No logits are needed.
  void update_loss(const torch::Tensor& mean_loss, std::int64_t tokens);

 protected:
  void add(const torch::Tensor& preds, const torch::Tensor& target) override;
  [[nodiscard]] MetricOutput value() const override;

 private:
  std::optional<std::int64_t> ignore_index_;
  torch::Tensor &sum_, &count_;
};

}  // namespace rtrain::metrics
