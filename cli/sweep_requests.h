// What the head is asked about sweeps.
#pragma once

#include "cli/job_pages.h"
#include "cli/verb.h"
#include "proto/api/api.h"

namespace rtrain::cli {

/// "/v1/sweeps/7" of "7". kInvalidArgument: it is no number.
[[nodiscard]] Result<std::string> sweep_target(const std::string& text);
[[nodiscard]] std::string sweep_target(JobId sweep);

/// The sweep of the second positional, and the head that knows it.
struct AskedSweep {
  std::string target;
  Get get;
};
[[nodiscard]] Result<AskedSweep> asked_sweep(const Call& call);

// `sweep`: its target.
[[nodiscard]] Result<proto::SweepDoc> read_sweep(const Get& get, const std::string& sweep);
/// By number, from `from` on.
[[nodiscard]] Result<std::vector<proto::TrialDoc>> trials_of(const Get& get, const std::string& sweep,
                                                             std::int64_t from = 0);
/// Those with a value, the best first.
[[nodiscard]] Result<std::vector<proto::TrialDoc>> best_trials(const Get& get, const std::string& sweep,
                                                               int limit);
/// The best checkpoint of the job; "": a job that was forgotten has none that anybody knows of.
[[nodiscard]] Result<std::string> best_checkpoint(const Get& get, JobId job);

}  // namespace rtrain::cli
