// Joins a group without an agent's environment, for programs that start the ranks themselves, such as tests.
#pragma once

#include "rtrain/export.h"
#include "worker/comm/job_group_options.h"
#include "worker/runtime/key_value_store.h"

namespace rtrain::sdk {

/// @throws std::logic_error if this process has already joined a group; what JobGroup throws.
RTRAIN_API void join_group(const comm::JobGroupOptions& options);
/// Ends this rank's membership; does nothing if it has not joined.
RTRAIN_API void leave_group();
/// The store that the ranks share; null in a world of 1 or if this process has not joined.
[[nodiscard]] RTRAIN_API runtime::KeyValueStore* group_store();

}  // namespace rtrain::sdk
