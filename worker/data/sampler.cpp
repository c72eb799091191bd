#include <rtrain/context.h>
#include <rtrain/data/sampler.h>

#include "worker/data/draws.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>

namespace rtrain {
namespace {

std::vector<std::int64_t> in_order(std::int64_t size) {
  std::vector<std::int64_t> indices(static_cast<std::size_t>(size));
  std::iota(indices.begin(), indices.end(), 0);
  return indices;
}

}  // namespace

SequentialSampler::SequentialSampler(std::int64_t dataset_size) : dataset_size_(dataset_size) {
  data::require_size(dataset_size);
}
std::vector<std::int64_t> SequentialSampler::indices() const { return in_order(dataset_size_); }
std::int64_t SequentialSampler::size() const { return dataset_size_; }

DistributedSampler::DistributedSampler(std::int64_t dataset_size, DistributedSamplerOptions options)
    : dataset_size_(dataset_size),
      num_replicas_(options.num_replicas ? *options.num_replicas : get_context().get_world_size()),
      rank_(options.rank ? *options.rank : get_context().get_world_rank()),
      shuffle_(options.shuffle),
      seed_(options.seed),
      drop_last_(options.drop_last) {
  data::require_size(dataset_size);
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
  const auto all = shuffle_ ? data::permutation(dataset_size_, data::seed_of_epoch(seed_, epoch_))
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

BatchSampler::BatchSampler(std::shared_ptr<Sampler> sampler, std::int64_t batch_size, bool drop_last)
    : sampler_(std::move(sampler)), batch_size_(batch_size), drop_last_(drop_last) {
  if (sampler_ == nullptr) throw std::invalid_argument("BatchSampler: no sampler given");
  if (batch_size_ < 1)
    throw std::invalid_argument("BatchSampler: batch_size is " + std::to_string(batch_size_) +
                                ", expected 1 or more");
}

std::int64_t BatchSampler::size() const {
  if (sampler_ == nullptr)
    throw std::logic_error("BatchSampler: a class derived from it without a sampler must override size()");
  return data::batches_of(sampler_->size(), batch_size_, drop_last_);
}

std::vector<std::vector<std::int64_t>> BatchSampler::batches() const {
  if (sampler_ == nullptr)
    throw std::logic_error("BatchSampler: a class derived from it without a sampler must override batches()");
  const auto order = sampler_->indices();
  std::vector<std::vector<std::int64_t>> batches(static_cast<std::size_t>(size()));
  for (std::size_t i = 0; i < batches.size(); ++i) {
    const auto begin = i * static_cast<std::size_t>(batch_size_);
    const auto end = std::min(begin + static_cast<std::size_t>(batch_size_), order.size());
    batches[i].assign(order.begin() + static_cast<std::ptrdiff_t>(begin),
                      order.begin() + static_cast<std::ptrdiff_t>(end));
  }
  return batches;
}

void BatchSampler::set_epoch(std::int64_t epoch) {
  if (sampler_ != nullptr) sampler_->set_epoch(epoch);
}

}  // namespace rtrain
