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

}  // namespace

std::shared_ptr<Sampler> own_part(const DataLoader& loader, const DistributedSamplerOptions& options) {
  const auto& sampler = loader.sampler();
  // Exactly these, over the whole data set: a class of the user's own, or an order over a part, is taken
  // apart as it is.
  const bool plain =
      (typeid(sampler) == typeid(RandomSampler) || typeid(sampler) == typeid(SequentialSampler)) &&
      sampler.size() == loader.dataset()->size();
  if (plain) return std::make_shared<DistributedSampler>(loader.dataset()->size(), options);
  return std::make_shared<PartOfSampler>(loader, options);
}

std::shared_ptr<Sampler> own_part_without_padding(const DataLoader& loader, int world_size, int rank) {
  return std::make_shared<UnpaddedPart>(loader, world_size, rank);
}

}  // namespace rtrain
