// The queues of a cluster with what they may have, have and have had. Pure.
#pragma once

#include "daemon/core/planner.h"
#include "daemon/head/jobs/job_tally.h"
#include "proto/api/api.h"

namespace rtrain::head {

/// By name: those that are configured, idle or not, `default`, and every other one that has or had a job.
[[nodiscard]] std::vector<proto::QueueDoc> queue_docs(const core::Planner& planner, const JobTally& tally);

}  // namespace rtrain::head
