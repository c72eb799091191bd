// What the job of a trial must be told so that it does what its sweep says. Pure.
//
// A decision is carried out when it is taken. This looks at where both are instead: for jobs that come back
// into the queue, for a sweep that is paused, goes on or stops, and for a head that found a part of its
// journal only.
#pragma once

#include "daemon/core/job.h"
#include "daemon/core/sweep/sweep.h"

namespace rtrain::core {

/// Nothing: it does already. `job`: the newest of the trial, which has not ended.
[[nodiscard]] std::optional<proto::JobEvent> due_for_job(const SweepState& sweep, std::int64_t trial,
                                                         const JobState& job);

/// The same for the job that the trial had before it was cloned, which has not ended.
[[nodiscard]] std::optional<proto::JobEvent> due_for_replaced(const SweepState& sweep, std::int64_t trial,
                                                              const JobState& job);

/// A sweep that stops gives up its trials that wait in the queue: they would start only to be stopped.
/// Nothing: this one goes on to its next rung.
[[nodiscard]] std::optional<proto::TrialStopped> given_up(const SweepState& sweep, std::int64_t trial,
                                                          const JobState& job);

}  // namespace rtrain::core
