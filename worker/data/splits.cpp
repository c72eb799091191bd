#include <rtrain/data/splits.h>

#include "worker/data/draws.h"
#include "worker/data/stacking.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <numeric>
#include <stdexcept>
#include <string>

namespace rtrain::data {
namespace {

class SubsetDataset final : public Dataset {
 public:
  SubsetDataset(std::shared_ptr<const Dataset> all, std::vector<std::int64_t> indices)
      : all_(std::move(all)), indices_(std::move(indices)) {}
  [[nodiscard]] std::int64_t size() const override { return static_cast<std::int64_t>(indices_.size()); }
  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices) const override {
    return all_->get_batch(of_all(indices));
  }
  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices,
                                const SampleContext& context) const override {
    return all_->get_batch(of_all(indices), context);
  }

 private:
  [[nodiscard]] std::vector<std::int64_t> of_all(std::span<const std::int64_t> indices) const {
    std::vector<std::int64_t> numbers;
    numbers.reserve(indices.size());
    for (const auto i : indices) numbers.push_back(indices_.at(static_cast<std::size_t>(i)));
    return numbers;
  }
  std::shared_ptr<const Dataset> all_;
  std::vector<std::int64_t> indices_;
};

class JoinedDatasets final : public Dataset {
 public:
  explicit JoinedDatasets(std::vector<std::shared_ptr<const Dataset>> parts) : parts_(std::move(parts)) {
    for (const auto& part : parts_) begins_.push_back(begins_.back() + part->size());
  }
  [[nodiscard]] std::int64_t size() const override { return begins_.back(); }
  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices) const override {
    return joined(indices, [](const Dataset& part, auto numbers) { return part.get_batch(numbers); });
  }
  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices,
                                const SampleContext& context) const override {
    return joined(indices,
                  [&](const Dataset& part, auto numbers) { return part.get_batch(numbers, context); });
  }

 private:
  template <class Read>
  [[nodiscard]] Batch joined(std::span<const std::int64_t> indices, const Read& read) const {
    struct Share {
      std::vector<std::int64_t> numbers, places;
    };
    std::vector<Share> shares(parts_.size());
    for (std::size_t place = 0; place < indices.size(); ++place) {
      const auto i = indices[place];
      if (i < 0 || i >= size())
        throw std::out_of_range("ConcatDataset: sample " + std::to_string(i) + " of " +
                                std::to_string(size()));
      const auto part =
          static_cast<std::size_t>(std::upper_bound(begins_.begin(), begins_.end(), i) - begins_.begin()) - 1;
      shares[part].numbers.push_back(i - begins_[part]);
      shares[part].places.push_back(static_cast<std::int64_t>(place));
    }
    std::vector<Batch> batches;
    std::vector<std::int64_t> places;
    for (std::size_t part = 0; part < parts_.size(); ++part) {
      if (shares[part].numbers.empty()) continue;
      batches.push_back(read(*parts_[part], std::span<const std::int64_t>(shares[part].numbers)));
      places.insert(places.end(), shares[part].places.begin(), shares[part].places.end());
    }
    if (batches.empty()) return read(*parts_.front(), indices);
    if (batches.size() == 1) return std::move(batches.front());
    std::vector<std::int64_t> order(places.size());
    for (std::size_t i = 0; i < places.size(); ++i)
      order[static_cast<std::size_t>(places[i])] = static_cast<std::int64_t>(i);
    return merged(batches, at::tensor(order, at::kLong));
  }

  std::vector<std::shared_ptr<const Dataset>> parts_;
  std::vector<std::int64_t> begins_{0};  ///< of each part, and behind the last
};

std::vector<std::int64_t> lengths_of(std::int64_t size, const std::vector<SplitSize>& sizes) {
  const auto refuse = [](const std::string& why) { throw std::invalid_argument("random_split: " + why); };
  if (sizes.empty()) refuse("no sizes given");
  std::vector<std::int64_t> lengths;
  if (std::none_of(sizes.begin(), sizes.end(), [](const auto& s) { return s.is_fraction(); })) {
    std::int64_t left = size;
    for (const auto& part : sizes) {
      if (part.samples() < 0) refuse("a part of " + std::to_string(part.samples()) + " samples");
      if (part.samples() > left) left = -1;
      if (left < 0) break;
      left -= part.samples();
      lengths.push_back(part.samples());
    }
    if (left != 0)
      refuse("the sizes must sum to the " + std::to_string(size) + " samples of the data set" +
             (left > 0 ? "; " + std::to_string(left) + " are left over" : "; they sum to more"));
    return lengths;
  }
  double sum = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (!sizes[i].is_fraction())
      refuse("size " + std::to_string(i) + " is a number of samples (" + std::to_string(sizes[i].samples()) +
             ") and another is a fraction: give all as one or the other (1.0 is all, 1 is one sample)");
    const auto fraction = sizes[i].fraction();
    if (!(fraction >= 0 && fraction <= 1))
      refuse("fraction " + std::to_string(i) + " is " + std::to_string(fraction) + ", expected 0 to 1");
    sum += fraction;
    lengths.push_back(static_cast<std::int64_t>(std::floor(static_cast<double>(size) * fraction)));
  }
  auto left = size - std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
  if (std::abs(sum - 1) > 1e-9 || left < 0)
    refuse("the fractions sum to " + std::to_string(sum) + ", expected 1");
  for (std::size_t i = 0; left > 0; ++i, --left) ++lengths[i % lengths.size()];
  for (std::size_t i = 0; i < lengths.size(); ++i)
    if (lengths[i] == 0)
      std::cerr << "rtrain: warning: random_split: part " << i << " has no sample" << std::endl;
  return lengths;
}

}  // namespace

std::shared_ptr<Dataset> Subset(std::shared_ptr<const Dataset> all, std::vector<std::int64_t> indices) {
  if (all == nullptr) throw std::invalid_argument("Subset: no data set given");
  const auto size = all->size();
  for (std::size_t i = 0; i < indices.size(); ++i)
    if (indices[i] < 0 || indices[i] >= size)
      throw std::out_of_range("Subset: index " + std::to_string(i) + " is sample " +
                              std::to_string(indices[i]) + " of a data set of " + std::to_string(size));
  return std::make_shared<SubsetDataset>(std::move(all), std::move(indices));
}

std::shared_ptr<Dataset> ConcatDataset(std::vector<std::shared_ptr<const Dataset>> parts) {
  if (parts.empty()) throw std::invalid_argument("ConcatDataset: no data sets given");
  for (std::size_t i = 0; i < parts.size(); ++i)
    if (parts[i] == nullptr)
      throw std::invalid_argument("ConcatDataset: data set " + std::to_string(i) + " is null");
  return std::make_shared<JoinedDatasets>(std::move(parts));
}

std::vector<std::vector<std::int64_t>> random_split_indices(std::int64_t dataset_size,
                                                            const std::vector<SplitSize>& sizes,
                                                            std::uint64_t seed) {
  require_size(dataset_size);
  const auto lengths = lengths_of(dataset_size, sizes);
  const auto order = permutation(dataset_size, seed);
  std::vector<std::vector<std::int64_t>> parts;
  auto begin = order.begin();
  for (const auto length : lengths) {
    parts.emplace_back(begin, begin + length);
    begin += length;
  }
  return parts;
}

std::vector<std::shared_ptr<Dataset>> random_split(std::shared_ptr<const Dataset> all,
                                                   const std::vector<SplitSize>& sizes, std::uint64_t seed) {
  if (all == nullptr) throw std::invalid_argument("random_split: no data set given");
  std::vector<std::shared_ptr<Dataset>> parts;
  for (auto& indices : random_split_indices(all->size(), sizes, seed))
    parts.push_back(Subset(all, std::move(indices)));
  return parts;
}

}  // namespace rtrain::data
