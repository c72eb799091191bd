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
};

class RTRAIN_API SequentialSampler : public Sampler {
 public:
  explicit SequentialSampler(std::int64_t dataset_size);
  [[nodiscard]] std::vector<std::int64_t> indices() const override;
  [[nodiscard]] std::int64_t size() const override;

 private:
  std::int64_t dataset_size_;
};

/// Shuffles by seed + epoch, so that an epoch can be replayed (PyTorch's RandomSampler draws its seed from
/// the global generator).
class RTRAIN_API RandomSampler : public Sampler {
 public:
  RandomSampler(std::int64_t dataset_size, std::uint64_t seed);
  [[nodiscard]] std::uint64_t seed() const { return seed_; }
  [[nodiscard]] std::vector<std::int64_t> indices() const override;
  [[nodiscard]] std::int64_t size() const override;
  void set_epoch(std::int64_t epoch) override;

 private:
  std::int64_t dataset_size_;
  std::uint64_t seed_;
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
  [[nodiscard]] bool start_after(std::int64_t samples) override;

 private:
  std::int64_t dataset_size_, start_ = 0;
  int num_replicas_, rank_;
  bool shuffle_;
  std::uint64_t seed_;
  bool drop_last_;
  std::int64_t epoch_ = 0;
};

}  // namespace rtrain
