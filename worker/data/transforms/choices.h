// One of several, by weights.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstddef>
#include <string>
#include <vector>

namespace rtrain::data::transforms {

/// torch.multinomial() of `count` weights.
class Choices {
 public:
  /// @param weights empty: equal ones.
  /// @throws std::invalid_argument for another number of weights, a negative one, or none above 0.
  Choices(const std::string& name, std::size_t count, std::vector<double> weights);
  [[nodiscard]] std::size_t draw(at::Generator& generator) const;

 private:
  at::Tensor probabilities_;
};

}  // namespace rtrain::data::transforms
