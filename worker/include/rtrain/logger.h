// Where logged metrics go besides the job's own reports.
#pragma once

#include <rtrain/export.h>

#include <cstdint>
#include <map>
#include <string>

namespace rtrain {

/// Called on rank 0 only: the metrics of a training step every log_every_n_steps, of an epoch at its end, of
/// an evaluation at its end.
class RTRAIN_API Logger {
 public:
  virtual ~Logger() = default;
  /// @param step batches that stepped so far; epoch metrics carry the last step's.
  virtual void log_metrics(const std::map<std::string, double>& metrics, std::int64_t step) = 0;
};

}  // namespace rtrain
