// The order in which samples are visited. Same semantics as torch.utils.data.
#pragma once

#include <rtrain/export.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace rtrain {

/// Gives the indices of one epoch. Implementations are values of (seed, epoch): the same call gives the same
/// order.
class RTRAIN_API Sampler {
 public:
  virtual ~Sampler() = default;
  [[nodiscard]] virtual std::vector<std::int64_t> indices() const = 0;
  [[nodiscard]] virtual std::int64_t size() const = 0;
  virtual void set_epoch(std::int64_t /*epoch*/) {}
  /// From now on the epoch begins after its first `samples` samples, counted over all ranks; 0: the whole of
  /// it. Called when a job goes on in the middle of an epoch with another number of ranks. @return false:
  /// this sampler cannot, and nothing changed.
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

/// Shuffles by seed + epoch (PyTorch's RandomSampler draws its seed from the global generator instead; here
/// an epoch can be replayed).
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

struct RTRAIN_API DistributedSamplerOptions {
  std::optional<int> num_replicas{};  ///< default: the context's world size
  std::optional<int> rank{};          ///< default: the context's world rank
  bool shuffle = true;
  std::uint64_t seed = 0;
  bool drop_last = false;
};

/// torch.utils.data.DistributedSampler: shuffles by seed + epoch with torch.randperm (the same permutation as
/// PyTorch), pads by wrapping to a multiple of num_replicas (or drops the tail), takes
/// indices[rank::num_replicas]. The order is the same for every number of ranks, and what they have taken
/// after equally many steps is always its beginning: others can take the rest (start_after), and each sample
/// is still seen once.
class RTRAIN_API DistributedSampler : public Sampler {
 public:
  /// @throws std::invalid_argument rank outside [0, num_replicas).
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
