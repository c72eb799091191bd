// Reduces metrics with sync_dist over the ranks: all that are due in one collective, matched by name and not
// by the order in which a rank logged them.
#pragma once

#include <rtrain/lightning_module.h>
#include <rtrain/strategies.h>

#include <torch/types.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace rtrain {

/// A rank's contribution to one metric. A mean divides the sum of the totals by the sum of the weights; other
/// reductions use only the totals.
struct MetricPart {
  std::string name;  ///< "loss in training_step"; must be the same on all ranks
  ReduceFx fx = ReduceFx::kMean;
  torch::Tensor total;  ///< a scalar; if undefined, `number` is the total
  double number = 0, weight = 1;
};

/// Each rank contributes a row of numbers: a checksum of the names and reductions, then totals and weights in
/// the order of the names. The length of the row does not depend on which of the known sets of metrics is
/// due, so ranks that log different sets still exchange rows and detect that the checksums differ. On the
/// CPU, checksums are compared at once. On a GPU this would make the host wait in every step, so only a new
/// set is compared at once, and known sets at the end of the epoch.
class MetricReduction {
 public:
  /// Reduces the parts; a collective. Returns one float64 scalar per part, in the order of `parts`.
  /// @param check compare now, on any device.
  /// @throws std::runtime_error if the ranks do not have the same metrics: names the metrics and the ranks.
  [[nodiscard]] std::vector<torch::Tensor> run(const std::vector<MetricPart>& parts, bool check,
                                               Strategy& strategy);
  /// Makes the comparison that run() deferred. All ranks get the same result.
  void check();
  /// True if any set of metrics has been reduced before.
  [[nodiscard]] bool in_use() const { return !seen_.empty(); }

 private:
  [[noreturn]] static void refuse(const std::string& own, const std::vector<torch::Tensor>& rows,
                                  Strategy& strategy);
  std::set<double> seen_;      ///< checksums
  std::int64_t capacity_ = 8;  ///< metrics per row
  torch::Tensor differs_;      ///< on a GPU: true if a checksum differed since the last check
};

}  // namespace rtrain
