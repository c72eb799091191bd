// The job's group without an agent's environment: for programs that make the ranks themselves, as tests do.
#pragma once

#include "rtrain/export.h"
#include "worker/comm/job_group_options.h"
#include "worker/runtime/key_value_store.h"

namespace rtrain::sdk {

/// @throws std::logic_error this process has joined a group already; what JobGroup throws.
RTRAIN_API void join_group(const comm::JobGroupOptions& options);
/// The end of this rank's part; nothing when it has not joined.
RTRAIN_API void leave_group();
/// The store that the ranks share; null in a world of 1, and when this process has not joined.
[[nodiscard]] RTRAIN_API runtime::KeyValueStore* group_store();

}  // namespace rtrain::sdk
