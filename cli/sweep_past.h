// What a sweep of the past says of one that is planned.
#pragma once

#include "cli/job_pages.h"
#include "daemon/core/sweep/learning_curve.h"
#include "proto/sweep/sweep_spec.h"

namespace rtrain::cli {

struct PastSweep {
  std::vector<core::LearningCurve> curves;  ///< at least one
  double resource_s = 0;  ///< seconds for one unit of the resource, the median of the trials
  double start_s = 0;     ///< from the start of a trial to its first step, the median
};

/// Reads the reports of the newest trials of sweep `target` ("/v1/sweeps/7"). kNotFound: none has reported
/// the metric and the resource of `planned` more than once.
[[nodiscard]] Result<PastSweep> past_sweep(const Get& get, const std::string& target,
                                           const proto::SweepSpec& planned);

/// So many trials fit on the nodes that are alive, whatever runs there now.
[[nodiscard]] Result<std::int64_t> places_for(const Get& get, const proto::JobSpec& job);

}  // namespace rtrain::cli
