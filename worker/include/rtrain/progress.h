// The progress of a loop, as `rtrain status` and the progress bar show it. The Trainer reports it; a
// hand-written loop may as well.
#pragma once

#include <rtrain/export.h>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>

namespace rtrain {

/// One progress report.
struct RTRAIN_API Progress {
  std::string stage = "train";                         ///< sanity | train | validate | test | predict
  std::int64_t epoch = 0;                              ///< from 0
  std::int64_t max_epochs = -1;                        ///< -1: no limit
  std::int64_t step = 0;                               ///< batches completed in this epoch (or evaluation)
  std::int64_t steps = -1;                             ///< total batches; -1: unknown
  double steps_per_s = 0;                              ///< 0: measured between calls of report_progress()
  nlohmann::json prog_bar = nlohmann::json::object();  ///< metrics shown beside the bar
};

/// True if the next report_progress() would be sent: on rank 0 of a job, 0.2 s after the last one. Costs one
/// clock read: check it before computing values that would wait for the device.
[[nodiscard]] RTRAIN_API bool progress_due() noexcept;
/// Sends the progress if it is due, or always if `last` (the end of an epoch or a validation). Never blocks;
/// the message may be dropped. Outside a job it does nothing. @thread any
RTRAIN_API void report_progress(const Progress& progress, bool last = false);

}  // namespace rtrain
