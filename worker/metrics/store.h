// Where a metric's states are kept, and the rules that put two of them together.
#pragma once

#include <rtrain/metrics/metric.h>

#include <torch/types.h>

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace rtrain::detail {

inline const std::string kUpdates = "updates";

struct MetricState {
  std::string name;
  torch::Tensor initial;
  Metric::Reduce reduce;
  torch::Tensor value;
  std::vector<torch::Tensor> parts;  ///< rows of kCat that are not in `value` yet

  /// One tensor again. Rows of several types take the widest.
  void consolidate();
  void reset() {
    value = initial;
    parts.clear();
  }
};

/// A deque: add_state() gives out references.
struct MetricStore {
  std::deque<MetricState> states;
  MetricMerge merge = nullptr;
  std::int64_t updates = 0;
  bool warned = false;

  void reset();
  void consolidate();
  /// Those of this store, with `prefix` before the names.
  void write(const std::string& prefix, MetricStates& to) const;
  /// `from` has them all, in the right shapes.
  void read(const std::string& prefix, const MetricStates& from);
  /// What is wrong with `from` as this store's states.
  void check(const std::string& prefix, const MetricStates& from, std::vector<std::string>& problems) const;
};

/// The states of two disjoint parts of the data, each with its number of updates.
[[nodiscard]] MetricStates merge_states(const MetricStore& store, const std::string& prefix,
                                        const MetricStates& a, const MetricStates& b);

/// Of any shape but the first dimension.
[[nodiscard]] bool rows_alike(const torch::Tensor& a, const torch::Tensor& b);

}  // namespace rtrain::detail
