// Metrics with sync_dist over the ranks: all that are due in one collective, by name, never by the order in
// which a rank logged them.
#pragma once

#include <rtrain/lightning_module.h>
#include <rtrain/strategies.h>

#include <torch/types.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace rtrain {

/// A rank's part of one metric: a mean is the sum of the totals over the sum of the weights, all others take
/// the totals.
struct MetricPart {
  std::string name;  ///< "loss in training_step": what the ranks must have in common
  ReduceFx fx = ReduceFx::kMean;
  torch::Tensor total;  ///< a scalar; undefined: it is the number
  double number = 0, weight = 1;
};

/// A row of a few numbers from every rank: a checksum of the names and reductions, then totals and weights in
/// the order of the names. The row keeps its length while the sets of metrics that were seen before
/// alternate, so that ranks that log different ones exchange rows all the same and find that the checksums
/// differ. On the CPU they are compared at once. On a GPU that would make the host wait in every step: there
/// only a set that is new is compared at once, the others at the end of the epoch.
class MetricReduction {
 public:
  /// In place of each part's order; results by part: float64 scalars. A collective. @param check compare now,
  /// whatever the device.
  /// @throws std::runtime_error the ranks do not have the same metrics: names them and the ranks.
  [[nodiscard]] std::vector<torch::Tensor> run(const std::vector<MetricPart>& parts, bool check,
                                               Strategy& strategy);
  /// The comparison that run() put off. All ranks find the same.
  void check();
  /// Some set of metrics was reduced before.
  [[nodiscard]] bool in_use() const { return !seen_.empty(); }

 private:
  [[noreturn]] static void refuse(const std::string& own, const std::vector<torch::Tensor>& rows,
                                  Strategy& strategy);
  std::set<double> seen_;      ///< checksums
  std::int64_t capacity_ = 8;  ///< metrics a row holds
  torch::Tensor differs_;      ///< on a GPU: some row since the last check had another checksum
};

}  // namespace rtrain
