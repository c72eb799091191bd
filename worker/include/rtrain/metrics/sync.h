// The metrics of all ranks as one.
#pragma once

#include <rtrain/export.h>
#include <rtrain/metrics/metric.h>

#include <torch/types.h>

#include <span>
#include <vector>

namespace rtrain {

/// The collectives that metrics need.
class RTRAIN_API MetricSync {
 public:
  enum class Op { kSum, kMin, kMax };
  virtual ~MetricSync() = default;
  /// Where the collectives work; buffers are made there.
  [[nodiscard]] virtual torch::Device device() const { return torch::kCPU; }
  /// In place, over all ranks. @param tensor contiguous, of one dimension.
  virtual void all_reduce(torch::Tensor& tensor, Op op) = 0;
  /// Every rank's tensor, by rank. Shape and type are the same on all ranks.
  [[nodiscard]] virtual std::vector<torch::Tensor> all_gather(const torch::Tensor& tensor) = 0;
};

/// The states of all ranks together, a metric at a time; the metrics keep their own. One all_gather of a few
/// numbers a state comes first (updates, rows of kCat, whether the ranks agree); then one all_reduce for each
/// type and operation, and one all_gather for each type of the kCat and kMerge states, whatever the number of
/// metrics. The result is the same on every rank, and that of one rank with all data: exactly for counts, to
/// rounding for sums. Rows of kCat come rank by rank.
/// A collective: every rank passes the same metrics in the same order.
/// @throws std::runtime_error the ranks' metrics differ.
[[nodiscard]] RTRAIN_API std::vector<MetricStates> sync_metrics(std::span<Metric* const> metrics,
                                                                MetricSync& sync);
/// The values of the states of all ranks. A collective, as sync_metrics().
[[nodiscard]] RTRAIN_API std::vector<MetricOutput> compute_synced(std::span<Metric* const> metrics,
                                                                  MetricSync& sync);

}  // namespace rtrain
