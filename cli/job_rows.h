// What several verbs show of a job in one line. Pure.
#pragma once

#include "cli/table.h"
#include "proto/api/api.h"

#include <span>

namespace rtrain::cli {

/// A table of jobs, relative times against `now_ms`. `wide`: with user, queue and priority.
[[nodiscard]] Table job_table(std::span<const proto::JobDoc> jobs, std::int64_t now_ms, bool wide = false);
/// One more row of such a table.
void add_job(Table& table, const proto::JobDoc& job, std::int64_t now_ms, bool wide);
/// One more row, for jobs of one array: their counts in the place of progress. At least one.
void add_array(Table& table, std::span<const proto::JobDoc> jobs, std::int64_t now_ms, bool wide);
/// "Epoch 3 470/1000 39.1it/s", or the reason why it waits, or the error: what matters most now.
[[nodiscard]] std::string job_detail(const proto::JobDoc& job);
/// Seconds that the job has been running, or did; 0 when it has not started.
[[nodiscard]] double run_seconds(const proto::JobDoc& job, std::int64_t now_ms);
/// "0,1", or "-" for none.
[[nodiscard]] std::string gpu_list(std::span<const int> gpus);
/// "SUCCEEDED", "FAILED" or "CANCELLED".
[[nodiscard]] bool has_ended(std::string_view state);

}  // namespace rtrain::cli
