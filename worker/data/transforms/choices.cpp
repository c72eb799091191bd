#include "worker/data/transforms/choices.h"

#include <ATen/ops/multinomial.h>
#include <ATen/ops/tensor.h>

#include <cmath>
#include <cstdint>
#include <stdexcept>

namespace rtrain::data::transforms {

Choices::Choices(const std::string& name, std::size_t count, std::vector<double> weights) {
  if (count == 0) throw std::invalid_argument(name + ": there is no transform to choose");
  if (weights.empty()) weights.assign(count, 1);
  if (weights.size() != count)
    throw std::invalid_argument(name + ": " + std::to_string(weights.size()) + " weights for " +
                                std::to_string(count) + " transforms");
  double sum = 0;
  for (const auto weight : weights) {
    if (!(weight >= 0) || std::isinf(weight))
      throw std::invalid_argument(name + ": a weight is " + std::to_string(weight) + ", expected 0 or more");
    sum += weight;
  }
  if (sum <= 0) throw std::invalid_argument(name + ": all weights are 0");
  for (auto& weight : weights) weight /= sum;
  probabilities_ = at::tensor(weights, at::kFloat);
}

std::size_t Choices::draw(at::Generator& generator) const {
  return static_cast<std::size_t>(
      at::multinomial(probabilities_, 1, /*replacement=*/false, generator).item<std::int64_t>());
}

}  // namespace rtrain::data::transforms
