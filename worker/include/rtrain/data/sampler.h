// The order in which samples are visited, with the semantics of torch.utils.data.
#pragma once

#include <rtrain/export.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace rtrain {

/// Produces the sample indices of one epoch, as a pure function of (seed, epoch): the same call gives the
/// same order.
class RTRAIN_API Sampler {
 public:
  virtual ~Sampler() = default;
  [[nodiscard]] virtual std::vector<std::int64_t> indices() const = 0;
  [[nodiscard]] virtual std::int64_t size() const = 0;
  virtual void set_epoch(std::int64_t /*epoch*/) {}
  /// Makes the epoch start after its first `samples` samples, counted over all ranks; 0: the whole epoch.
  /// Called if a job resumes within an epoch with a different number of ranks.
  /// @return false if this sampler does not support it; nothing has changed then.
  [[nodiscard]] virtual bool start_after(std::int64_t samples) { return samples == 0; }
  /// The seed of a sampler that shuffles the data set as a whole. With several ranks the Trainer takes a
  /// DistributedSampler with this seed instead. std::nullopt: it does not shuffle.
  [[nodiscard]] virtual std::optional<std::uint64_t> shuffle_seed() const { return std::nullopt; }
  /// True if it gives the part of this rank: the Trainer takes it as it is.
  [[nodiscard]] virtual bool is_distributed() const { return false; }
};

/// All samples in the order of their numbers, on every rank.
class RTRAIN_API SequentialSampler : public Sampler {
 public:
  explicit SequentialSampler(std::int64_t dataset_size);
  [[nodiscard]] std::vector<std::int64_t> indices() const override;
  [[nodiscard]] std::int64_t size() const override;

 private:
  std::int64_t dataset_size_;
};

struct RTRAIN_API RandomSamplerOptions {
  bool replacement = false;  ///< each draw from all samples, so that one may come several times
  /// samples per epoch, >= 1; default: all. More than there are without replacement: whole permutations, one
  /// after the other, then the beginning of one more.
  std::optional<std::int64_t> num_samples{};
};

/// torch.utils.data.RandomSampler with a generator that is seeded with seed + epoch, so that an epoch can be
/// replayed (PyTorch's draws a seed from the global generator). The same orders as PyTorch's.
class RTRAIN_API RandomSampler : public Sampler {
 public:
  /// @throws std::invalid_argument if dataset_size < 0, num_samples < 1, or there is nothing to draw from.
  RandomSampler(std::int64_t dataset_size, std::uint64_t seed, RandomSamplerOptions options = {});
  [[nodiscard]] std::uint64_t seed() const { return seed_; }
  [[nodiscard]] std::optional<std::uint64_t> shuffle_seed() const override { return seed_; }
  /// Each sample once an epoch.
  [[nodiscard]] bool is_permutation() const { return !options_.replacement && size() == dataset_size_; }
  [[nodiscard]] std::vector<std::int64_t> indices() const override;
  [[nodiscard]] std::int64_t size() const override;
  void set_epoch(std::int64_t epoch) override;

 private:
  std::int64_t dataset_size_;
  std::uint64_t seed_;
  RandomSamplerOptions options_;
  std::int64_t epoch_ = 0;
};

/// torch.utils.data.SubsetRandomSampler: a permutation of `indices`, by seed + epoch.
class RTRAIN_API SubsetRandomSampler : public Sampler {
 public:
  SubsetRandomSampler(std::vector<std::int64_t> indices, std::uint64_t seed);
  [[nodiscard]] std::vector<std::int64_t> indices() const override;
  [[nodiscard]] std::int64_t size() const override;
  void set_epoch(std::int64_t epoch) override { epoch_ = epoch; }

 private:
  std::vector<std::int64_t> subset_;
  std::uint64_t seed_;
  std::int64_t epoch_ = 0;
};

/// torch.utils.data.WeightedRandomSampler: torch.multinomial of the weights in float64, by seed + epoch.
class RTRAIN_API WeightedRandomSampler : public Sampler {
 public:
  /// @param weights one per sample, finite and not negative, at least one above 0; they need not sum to 1.
  /// @param num_samples per epoch, >= 1; without replacement at most as many as there are weights above 0.
  /// @throws std::invalid_argument otherwise.
  WeightedRandomSampler(std::vector<double> weights, std::int64_t num_samples, std::uint64_t seed,
                        bool replacement = true);
  [[nodiscard]] std::vector<std::int64_t> indices() const override;
  [[nodiscard]] std::int64_t size() const override { return num_samples_; }
  void set_epoch(std::int64_t epoch) override { epoch_ = epoch; }

 private:
  std::vector<double> weights_;
  std::int64_t num_samples_;
  std::uint64_t seed_;
  bool replacement_;
  std::int64_t epoch_ = 0;
};

/// torch.utils.data.DistributedSampler's arguments and defaults.
struct RTRAIN_API DistributedSamplerOptions {
  std::optional<int> num_replicas{};  ///< default: get_context()'s world size
  std::optional<int> rank{};          ///< default: get_context()'s world rank
  bool shuffle = true;
  std::uint64_t seed = 0;
  bool drop_last = false;  ///< drop the samples that do not divide evenly, instead of padding
};

/// torch.utils.data.DistributedSampler: shuffles by seed + epoch with torch.randperm (the same permutation as
/// PyTorch), pads to a multiple of num_replicas by wrapping around (or drops the tail), and takes
/// indices[rank::num_replicas]. The order does not depend on the number of ranks, and after equally many
/// steps the ranks together have taken a prefix of it. A different number of ranks can therefore take the
/// rest (start_after()), and each sample is still seen once.
class RTRAIN_API DistributedSampler : public Sampler {
 public:
  /// @throws std::invalid_argument if rank is outside [0, num_replicas).
  DistributedSampler(std::int64_t dataset_size, DistributedSamplerOptions options = {});
  [[nodiscard]] std::vector<std::int64_t> indices() const override;
  [[nodiscard]] std::int64_t size() const override;
  void set_epoch(std::int64_t epoch) override;
  [[nodiscard]] bool is_distributed() const override { return true; }
  [[nodiscard]] bool start_after(std::int64_t samples) override;

 private:
  std::int64_t dataset_size_, start_ = 0;
  int num_replicas_, rank_;
  bool shuffle_;
  std::uint64_t seed_;
  bool drop_last_;
  std::int64_t epoch_ = 0;
};

/// torch.utils.data.BatchSampler: cuts the order of a sampler into batches. Derive from it for batches of
/// your own (of samples of similar length, with all classes in each, ...) and override batches(), size() and,
/// if they depend on the epoch, set_epoch().
class RTRAIN_API BatchSampler {
 public:
  /// @throws std::invalid_argument if sampler is null or batch_size < 1.
  BatchSampler(std::shared_ptr<Sampler> sampler, std::int64_t batch_size, bool drop_last);
  virtual ~BatchSampler() = default;
  /// The samples of each batch of the epoch: as a Sampler's order, a pure function of (seed, epoch), and the
  /// same on every rank. No batch is empty.
  [[nodiscard]] virtual std::vector<std::vector<std::int64_t>> batches() const;
  /// Number of batches; that of batches(), in every epoch.
  [[nodiscard]] virtual std::int64_t size() const;
  virtual void set_epoch(std::int64_t epoch);

  [[nodiscard]] const std::shared_ptr<Sampler>& sampler() const { return sampler_; }  ///< may be null
  [[nodiscard]] std::int64_t batch_size() const { return batch_size_; }
  [[nodiscard]] bool drop_last() const { return drop_last_; }

 protected:
  BatchSampler() = default;  ///< of a class that overrides batches() and size()

 private:
  std::shared_ptr<Sampler> sampler_;
  std::int64_t batch_size_ = 1;
  bool drop_last_ = false;
};

}  // namespace rtrain
