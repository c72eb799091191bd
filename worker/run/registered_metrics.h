// Metric objects that steps and hooks log.
#pragma once

#include "worker/run/hook.h"
#include "worker/run/log_tape.h"

#include <rtrain/lightning_module.h>
#include <rtrain/metrics/metric.h>
#include <rtrain/strategies.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rtrain {

/// Those of one loop. A metric is computed once all its data is there, over all ranks, and reset with the
/// loop's other values.
class RegisteredMetrics {
 public:
  /// @param options on_step and on_epoch must be set.
  /// @throws std::logic_error on_step of a metric without a value of the batch; other options than before.
  void log(Hook hook, std::optional<std::int64_t> loader, const std::string& name, Metric& metric,
           const LogOptions& options);
  /// "hook.name" of those of `loader` that are due.
  [[nodiscard]] std::vector<std::string> due(std::optional<std::int64_t> loader) const;
  /// Those of `loader` that are due. A collective if any are; every rank logs the same.
  void compute(std::optional<std::int64_t> loader, Strategy& strategy);

  struct Shown {
    std::string full, name;  ///< "acc", "acc_step"
    MetricValue value;
    LogOptions options;
  };
  /// The values of the latest batch (`on_step`), or those that were computed.
  void for_each(std::optional<std::int64_t> loader, bool on_step,
                const std::function<void(const Shown&)>& visit) const;
  /// The metrics themselves are reset, too.
  void reset();
  /// A new epoch of what a hook logs: the metrics have its first data already.
  void reset(Hook hook, std::optional<std::int64_t> loader);
  void clear() { reset(), entries_.clear(); }

 private:
  struct Entry {
    Hook hook;
    std::optional<std::int64_t> loader;
    std::string name;
    Metric* metric;
    LogOptions options;
    bool is_due = false;  ///< logged, and not computed since
    std::vector<Shown> step{}, epoch{};
  };
  std::vector<Entry> entries_;
};

}  // namespace rtrain
