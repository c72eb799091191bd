#include <rtrain/metrics/text.h>

#include "worker/metrics/class_inputs.h"
#include "worker/metrics/shown.h"

#include <torch/torch.h>

namespace rtrain::metrics {

Perplexity::Perplexity(PerplexityOptions options)
    : PredictionMetric("Perplexity"),
      ignore_index_(options.ignore_index),
      sum_(add_state("sum", torch::zeros({}, torch::kFloat64), Reduce::kSum)),
      count_(add_state("count", torch::zeros({}, torch::kFloat64), Reduce::kSum)) {}

void Perplexity::add(const torch::Tensor& preds, const torch::Tensor& target) {
  Problems problems;
  problems.expect(preds.dim() == 3 && preds.sizes().slice(0, 2) == target.sizes(),
                  "preds have shape " + shape_of(preds) + ", target " + shape_of(target) +
                      "; expected [N, T, V] and [N, T]");
  problems.expect(preds.is_floating_point(), "preds are of type " +
                                                 std::string(torch::toString(preds.scalar_type())) +
                                                 ", expected logits as floats");
  problems.expect(!target.is_floating_point(), "target is of type " +
                                                   std::string(torch::toString(target.scalar_type())) +
                                                   ", expected tokens as integers");
  problems.throw_if_any(name() + ".update()");
  const auto tokens = target.to(torch::kInt64);
  const auto mask = counted(tokens, ignore_index_);
  const auto safe = mask.defined() ? tokens.masked_fill(mask.logical_not(), 0) : tokens;
  const auto type = preds.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
  auto loss = -preds.log_softmax(-1, type).gather(-1, safe.unsqueeze(-1)).squeeze(-1).to(torch::kFloat64);
  if (mask.defined()) loss = loss.masked_fill(mask.logical_not(), 0);
  sum_ = sum_ + loss.sum();
  count_ = count_ + (mask.defined() ? mask.sum().to(torch::kFloat64)
                                    : torch::full_like(count_, static_cast<double>(tokens.numel())));
}

void Perplexity::update_loss(const torch::Tensor& mean_loss, std::int64_t tokens) {
  const torch::NoGradGuard no_grad;
  if (!mean_loss.defined() || mean_loss.numel() != 1 || tokens < 0)
    throw std::invalid_argument(name() +
                                ".update_loss(): expected a mean loss of one element and a number of "
                                "tokens, 0 or more");
  const auto count = static_cast<double>(tokens);
  sum_ = sum_ + mean_loss.detach().to(device(), torch::kFloat64).reshape({}) * count;
  count_ = count_ + count;
  count_update();
}

MetricOutput Perplexity::value() const { return (sum_ / count_).exp(); }

}  // namespace rtrain::metrics
