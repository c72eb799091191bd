// From the head's values to the documents of the user API. Pure.
#pragma once

#include "daemon/core/scheduler.h"
#include "daemon/head/jobs/job_book.h"
#include "daemon/head/nodes/node_setting.h"
#include "daemon/head/nodes/node_table.h"
#include "daemon/head/scheduling/waiting.h"

namespace rtrain::head {

/// `waiting`: of a job that is QUEUED (Dispatcher::waiting).
[[nodiscard]] proto::JobDoc job_doc(const JobRecord& record, const Waiting& waiting = {});
[[nodiscard]] proto::ResultDoc result_doc(const JobRecord& record);
/// `jobs`: those with living ranks on it; `suspicion`: why it is suspected, "" when it is not.
[[nodiscard]] proto::NodeDoc node_doc(const Node& node, const NodeSetting& setting, std::vector<JobId> jobs,
                                      const std::string& suspicion);
[[nodiscard]] proto::QueuedDoc queued_doc(const JobRecord& record, int position, const std::string& reason,
                                          proto::UnixMs expected_start_ms);
[[nodiscard]] proto::PlanDoc plan_doc(const core::Decision& decision);
/// Kept checkpoints, best first: by the score attribute where the job names one (those without it last), else
/// newest first.
[[nodiscard]] std::vector<proto::CheckpointRecord> best_first(
    std::vector<proto::CheckpointRecord> checkpoints, const proto::CheckpointConfig& config);

}  // namespace rtrain::head
