#include "worker/data/transforms/drawn.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randperm.h>

#include <cmath>

namespace rtrain::data::transforms::drawn {

double uniform(Range range, at::Generator& generator) {
  return at::empty({1}, at::kFloat).uniform_(range.min, range.max, generator).item<float>();
}

double log_uniform(Range range, at::Generator& generator) {
  const auto logarithm = [](double value) { return std::log(static_cast<float>(value)); };
  return at::empty({1}, at::kFloat)
      .uniform_(logarithm(range.min), logarithm(range.max), generator)
      .exp_()
      .item<float>();
}

double fraction(at::Generator& generator) { return at::rand({1}, generator, at::kFloat).item<float>(); }

// PyTorch compares float32 with float32.
bool happens(double p, at::Generator& generator) { return fraction(generator) < static_cast<float>(p); }

std::int64_t integer(std::int64_t begin, std::int64_t end, at::Generator& generator) {
  return at::randint(begin, end, {1}, generator, at::kLong).item<std::int64_t>();
}

std::vector<std::int64_t> permutation(std::int64_t size, at::Generator& generator) {
  const auto order = at::randperm(size, generator, at::kLong);
  const auto* first = order.const_data_ptr<std::int64_t>();
  return {first, first + size};
}

}  // namespace rtrain::data::transforms::drawn
