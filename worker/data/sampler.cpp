#include <rtrain/context.h>
#include <rtrain/data/sampler.h>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/randperm.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>

namespace rtrain {
namespace {

void require_size(std::int64_t dataset_size) {
  if (dataset_size < 0)
    throw std::invalid_argument("sampler: the data set size is " + std::to_string(dataset_size) +
                                ", expected 0 or more");
}

std::vector<std::int64_t> in_order(std::int64_t size) {
  std::vector<std::int64_t> indices(static_cast<std::size_t>(size));
  std::iota(indices.begin(), indices.end(), 0);
  return indices;
}

/// torch.randperm(size, generator=torch.Generator().manual_seed(seed))
std::vector<std::int64_t> permutation(std::int64_t size, std::uint64_t seed) {
  const auto order = at::randperm(size, at::detail::createCPUGenerator(seed), at::TensorOptions(at::kLong));
  const auto* first = order.const_data_ptr<std::int64_t>();
  return {first, first + size};
}

}  // namespace

SequentialSampler::SequentialSampler(std::int64_t dataset_size) : dataset_size_(dataset_size) {
  require_size(dataset_size);
}
std::vector<std::int64_t> SequentialSampler::indices() const { return in_order(dataset_size_); }
std::int64_t SequentialSampler::size() const { return dataset_size_; }

RandomSampler::RandomSampler(std::int64_t dataset_size, std::uint64_t seed)
    : dataset_size_(dataset_size), seed_(seed) {
  require_size(dataset_size);
}
std::vector<std::int64_t> RandomSampler::indices() const {
  return permutation(dataset_size_, seed_ + static_cast<std::uint64_t>(epoch_));
}
std::int64_t RandomSampler::size() const { return dataset_size_; }
void RandomSampler::set_epoch(std::int64_t epoch) { epoch_ = epoch; }

DistributedSampler::DistributedSampler(std::int64_t dataset_size, DistributedSamplerOptions options)
    : dataset_size_(dataset_size),
      num_replicas_(options.num_replicas ? *options.num_replicas : get_context().get_world_size()),
      rank_(options.rank ? *options.rank : get_context().get_world_rank()),
      shuffle_(options.shuffle),
      seed_(options.seed),
      drop_last_(options.drop_last) {
  require_size(dataset_size);
  if (num_replicas_ < 1)
    throw std::invalid_argument("DistributedSampler: num_replicas is " + std::to_string(num_replicas_) +
                                ", expected 1 or more");
  if (rank_ < 0 || rank_ >= num_replicas_) {
    throw std::invalid_argument("DistributedSampler: rank " + std::to_string(rank_) + " is outside [0, " +
                                std::to_string(num_replicas_) + ")");
  }
}

std::int64_t DistributedSampler::size() const {
  const auto left = dataset_size_ - start_;
  return drop_last_ ? left / num_replicas_ : (left + num_replicas_ - 1) / num_replicas_;
}

std::vector<std::int64_t> DistributedSampler::indices() const {
  const auto all = shuffle_ ? permutation(dataset_size_, seed_ + static_cast<std::uint64_t>(epoch_))
                            : in_order(dataset_size_);
  std::vector<std::int64_t> mine(static_cast<std::size_t>(size()));
  for (std::size_t i = 0; i < mine.size(); ++i) {
    // Past the end (only without drop_last) the order starts over: the padding of PyTorch.
    mine[i] = all[(static_cast<std::size_t>(start_ + rank_) + i * static_cast<std::size_t>(num_replicas_)) %
                  all.size()];
  }
  return mine;
}

void DistributedSampler::set_epoch(std::int64_t epoch) { epoch_ = epoch; }

bool DistributedSampler::start_after(std::int64_t samples) {
  start_ = std::clamp<std::int64_t>(samples, 0, dataset_size_);
  return true;
}

}  // namespace rtrain
