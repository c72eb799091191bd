// Where a loop is: what `rtrain status` and the progress bar show. The Trainer calls it; a hand-written loop
// may, too.
#pragma once

#include <rtrain/export.h>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>

namespace rtrain {

struct RTRAIN_API Progress {
  std::string stage = "train";                         ///< sanity | train | validate | test | predict
  std::int64_t epoch = 0;                              ///< from 0
  std::int64_t max_epochs = -1;                        ///< -1: no limit
  std::int64_t step = 0;                               ///< batches done of this epoch (or of this evaluation)
  std::int64_t steps = -1;                             ///< in all; -1: not known
  double steps_per_s = 0;                              ///< 0: measured from one report_progress() to the next
  nlohmann::json prog_bar = nlohmann::json::object();  ///< metrics to show beside the bar
};

/// True when the next report_progress() would be sent: on rank 0 of a job, 0.2 s after the last one. Costs
/// one look at the clock: ask it before gathering values that would wait for the device.
[[nodiscard]] RTRAIN_API bool progress_due() noexcept;
/// Sends it when it is due, or always with `last` (the end of an epoch, of a validation). Never blocks; may
/// be dropped on the way. Outside a job: nothing. @thread any
RTRAIN_API void report_progress(const Progress& progress, bool last = false);

}  // namespace rtrain
