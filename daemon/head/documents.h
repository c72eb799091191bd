// From the head's values to the documents of the user API. Pure.
#pragma once

#include "daemon/core/scheduler.h"
#include "daemon/head/job_book.h"

namespace rtrain::head {

[[nodiscard]] proto::JobDoc job_doc(const JobRecord& record);
[[nodiscard]] proto::ResultDoc result_doc(const JobRecord& record);
[[nodiscard]] proto::PlanDoc plan_doc(const core::Decision& decision);
/// Kept checkpoints, best first: by the score attribute where the job names one (those without it last), else newest first.
[[nodiscard]] std::vector<proto::CheckpointRecord> best_first(std::vector<proto::CheckpointRecord> checkpoints,
                                                              const proto::CheckpointConfig& config);

}  // namespace rtrain::head
