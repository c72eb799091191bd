#include "worker/trainer/samplers.h"

#include <memory>
#include <typeinfo>
#include <vector>

namespace rtrain {
namespace {

/// Holds the loader so that the sampler below it lives.
class PartOfSampler : public Sampler {
 public:
  PartOfSampler(DataLoader loader, const DistributedSamplerOptions& options)
      : loader_(std::move(loader)), part_(loader_.sampler().size(), options) {}
  std::vector<std::int64_t> indices() const override {
    const auto order = loader_.sampler().indices();
    auto places = part_.indices();
    for (auto& place : places) place = order[static_cast<std::size_t>(place)];
    return places;
  }
  std::int64_t size() const override { return part_.size(); }
  void set_epoch(std::int64_t epoch) override {
    loader_.sampler().set_epoch(epoch);
    part_.set_epoch(epoch);
  }
  bool start_after(std::int64_t samples) override { return part_.start_after(samples); }

 private:
  DataLoader loader_;
  DistributedSampler part_;
};

class UnpaddedPart : public Sampler {
 public:
  UnpaddedPart(DataLoader loader, int world_size, int rank)
      : loader_(std::move(loader)), world_size_(world_size), rank_(rank) {}
  std::vector<std::int64_t> indices() const override {
    std::vector<std::int64_t> mine;
    const auto order = loader_.sampler().indices();
    for (auto i = static_cast<std::size_t>(rank_); i < order.size();
         i += static_cast<std::size_t>(world_size_))
      mine.push_back(order[i]);
    return mine;
  }
  std::int64_t size() const override {
    return (loader_.sampler().size() - rank_ + world_size_ - 1) / world_size_;
  }
  void set_epoch(std::int64_t epoch) override { loader_.sampler().set_epoch(epoch); }

 private:
  DataLoader loader_;
  int world_size_, rank_;
};

bool is_permutation(const Sampler& sampler) {
  if (typeid(sampler) == typeid(RandomSampler))
    return static_cast<const RandomSampler&>(sampler).is_permutation();
  return typeid(sampler) == typeid(SequentialSampler);
}

/// Batches rank, rank + world_size, ... of another order.
class PartOfBatches final : public BatchSampler {
 public:
  PartOfBatches(std::shared_ptr<BatchSampler> all, int world_size, int rank, bool pad)
      : all_(std::move(all)), world_size_(world_size), rank_(rank), pad_(pad) {}
  std::vector<std::vector<std::int64_t>> batches() const override {
    const auto all = all_->batches();
    std::vector<std::vector<std::int64_t>> mine(all.empty() ? 0 : static_cast<std::size_t>(size()));
    for (std::size_t i = 0; i < mine.size(); ++i)
      mine[i] =
          all[(static_cast<std::size_t>(rank_) + i * static_cast<std::size_t>(world_size_)) % all.size()];
    return mine;
  }
  std::int64_t size() const override {
    return (all_->size() + world_size_ - 1 - (pad_ ? 0 : rank_)) / world_size_;
  }
  void set_epoch(std::int64_t epoch) override { all_->set_epoch(epoch); }

 private:
  std::shared_ptr<BatchSampler> all_;
  int world_size_, rank_;
  bool pad_;
};

}  // namespace

std::shared_ptr<BatchSampler> own_batches(const DataLoader& loader, int world_size, int rank, bool pad) {
  return std::make_shared<PartOfBatches>(loader.batch_sampler(), world_size, rank, pad);
}

std::shared_ptr<Sampler> own_part(const DataLoader& loader, const DistributedSamplerOptions& options) {
  const auto& sampler = loader.sampler();
  // Exactly these, over the whole data set: a class of the user's own, or an order over a part, is taken
  // apart as it is.
  const bool plain = is_permutation(sampler) && sampler.size() == loader.dataset()->size();
  if (plain) return std::make_shared<DistributedSampler>(loader.dataset()->size(), options);
  return std::make_shared<PartOfSampler>(loader, options);
}

std::shared_ptr<Sampler> own_part_without_padding(const DataLoader& loader, int world_size, int rank) {
  return std::make_shared<UnpaddedPart>(loader, world_size, rank);
}

}  // namespace rtrain
