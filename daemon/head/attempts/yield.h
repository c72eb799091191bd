// The request to an attempt to give its place back.
#pragma once

#include "daemon/head/head_context.h"
#include "daemon/head/turn.h"

namespace rtrain::head {

/// Asks the job's attempt to write a checkpoint and to end, and stops it after grace_s. It goes back into the
/// queue. kConflict when it has no attempt, or one that stops already. A turn of its own.
[[nodiscard]] Result<Done> request_yield(HeadContext& context, Turn& turn, JobId id, proto::YieldCause cause,
                                         const std::string& reason, double grace_s);

}  // namespace rtrain::head
