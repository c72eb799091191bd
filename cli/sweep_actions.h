// The actions of rtrain sweep, each in the file that is named.
#pragma once

#include "cli/job_pages.h"
#include "cli/verb.h"
#include "proto/api/api.h"

namespace rtrain::cli {

// sweep_plan.cpp: no head is asked.
[[nodiscard]] Result<int> validate_sweep(const Call& call);
[[nodiscard]] Result<int> plan_sweep_file(const Call& call);
// sweep_run.cpp
[[nodiscard]] Result<int> run_sweep(const Call& call);
[[nodiscard]] Result<int> result_of_sweep(const Call& call);
// sweep_show.cpp
[[nodiscard]] Result<int> list_sweeps(const Call& call);
[[nodiscard]] Result<int> show_sweep(const Call& call);
[[nodiscard]] Result<int> list_trials(const Call& call);
[[nodiscard]] Result<int> best_of_sweep(const Call& call);
/// How the sweep stands, and a table of its best trials, which are returned.
[[nodiscard]] Result<std::vector<proto::TrialDoc>> print_with_best(const Call& call, const Get& get,
                                                                   const proto::SweepDoc& sweep, int most);
// sweep_changes.cpp
[[nodiscard]] Result<int> submit_sweep(const Call& call);
[[nodiscard]] Result<int> stop_sweep(const Call& call);
[[nodiscard]] Result<int> pause_sweep(const Call& call);
[[nodiscard]] Result<int> resume_sweep(const Call& call);
[[nodiscard]] Result<int> extend_sweep(const Call& call);
[[nodiscard]] Result<int> enqueue_trial(const Call& call);
[[nodiscard]] Result<int> retry_trials(const Call& call);
/// The sweep as JSON or by its number, or the line.
void print_changed(const Call& call, const proto::SweepDoc& sweep, const std::string& line);

}  // namespace rtrain::cli
