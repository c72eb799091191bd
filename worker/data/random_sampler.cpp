#include "worker/data/draws.h"

#include <rtrain/data/sampler.h>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/multinomial.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace rtrain {
namespace {

void append_draws(std::vector<std::int64_t>& order, const at::Tensor& draws, std::int64_t count) {
  const auto* first = draws.const_data_ptr<std::int64_t>();
  order.insert(order.end(), first, first + count);
}

}  // namespace

void data::require_size(std::int64_t dataset_size) {
  if (dataset_size < 0)
    throw std::invalid_argument("sampler: the data set size is " + std::to_string(dataset_size) +
                                ", expected 0 or more");
}

std::vector<std::int64_t> data::permutation(std::int64_t size, std::uint64_t seed) {
  std::vector<std::int64_t> order;
  append_draws(order, at::randperm(size, at::detail::createCPUGenerator(seed), at::TensorOptions(at::kLong)),
               size);
  return order;
}

RandomSampler::RandomSampler(std::int64_t dataset_size, std::uint64_t seed, RandomSamplerOptions options)
    : dataset_size_(dataset_size), seed_(seed), options_(options) {
  data::require_size(dataset_size);
  if (!options_.num_samples) return;
  if (*options_.num_samples < 1)
    throw std::invalid_argument("RandomSampler: num_samples is " + std::to_string(*options_.num_samples) +
                                ", expected 1 or more");
  if (dataset_size == 0)
    throw std::invalid_argument("RandomSampler: num_samples is " + std::to_string(*options_.num_samples) +
                                ", but the data set is empty");
}

/// PyTorch draws with replacement in blocks of 32, which decides what a generator gives.
std::vector<std::int64_t> RandomSampler::indices() const {
  auto left = size();
  if (is_permutation()) return data::permutation(dataset_size_, data::seed_of_epoch(seed_, epoch_));
  const auto generator = at::detail::createCPUGenerator(data::seed_of_epoch(seed_, epoch_));
  std::vector<std::int64_t> order;
  order.reserve(static_cast<std::size_t>(left));
  const auto at_once = options_.replacement ? 32 : dataset_size_;
  while (left > 0) {
    const auto count = std::min(left, at_once);
    const auto draws = options_.replacement
                           ? at::randint(dataset_size_, {count}, generator, at::TensorOptions(at::kLong))
                           : at::randperm(dataset_size_, generator, at::TensorOptions(at::kLong));
    append_draws(order, draws, count);
    left -= count;
  }
  return order;
}
std::int64_t RandomSampler::size() const { return options_.num_samples.value_or(dataset_size_); }
void RandomSampler::set_epoch(std::int64_t epoch) { epoch_ = epoch; }

SubsetRandomSampler::SubsetRandomSampler(std::vector<std::int64_t> indices, std::uint64_t seed)
    : subset_(std::move(indices)), seed_(seed) {}
std::vector<std::int64_t> SubsetRandomSampler::indices() const {
  auto order = data::permutation(size(), data::seed_of_epoch(seed_, epoch_));
  for (auto& place : order) place = subset_[static_cast<std::size_t>(place)];
  return order;
}
std::int64_t SubsetRandomSampler::size() const { return static_cast<std::int64_t>(subset_.size()); }

WeightedRandomSampler::WeightedRandomSampler(std::vector<double> weights, std::int64_t num_samples,
                                             std::uint64_t seed, bool replacement)
    : weights_(std::move(weights)), num_samples_(num_samples), seed_(seed), replacement_(replacement) {
  constexpr std::size_t kWeightsMax = std::size_t{1} << 24;  // torch.multinomial's
  const auto refuse = [](const std::string& why) {
    throw std::invalid_argument("WeightedRandomSampler: " + why);
  };
  if (num_samples_ < 1) refuse("num_samples is " + std::to_string(num_samples_) + ", expected 1 or more");
  if (weights_.size() > kWeightsMax)
    refuse(std::to_string(weights_.size()) + " weights, expected at most " + std::to_string(kWeightsMax));
  std::int64_t positive = 0;
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    if (!std::isfinite(weights_[i]) || weights_[i] < 0)
      refuse("weight " + std::to_string(i) + " is " + std::to_string(weights_[i]) +
             ", expected a number of 0 or more");
    if (weights_[i] > 0) ++positive;
  }
  if (positive == 0)
    refuse(weights_.empty() ? "no weights given" : "all weights are 0: there is nothing to draw");
  if (!replacement_ && num_samples_ > positive)
    refuse("num_samples is " + std::to_string(num_samples_) + ", but only " + std::to_string(positive) +
           " weights are above 0: draw fewer, or with replacement");
}

std::vector<std::int64_t> WeightedRandomSampler::indices() const {
  const auto generator = at::detail::createCPUGenerator(data::seed_of_epoch(seed_, epoch_));
  std::vector<std::int64_t> order;
  append_draws(order,
               at::multinomial(at::tensor(weights_, at::kDouble), num_samples_, replacement_, generator),
               num_samples_);
  return order;
}

}  // namespace rtrain
