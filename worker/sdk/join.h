// How a rank takes its device and joins the job's process group.
#pragma once

#include "worker/runtime/environment.h"

namespace rtrain::sdk {

/// Makes the rank's GPU the current one. @throws std::runtime_error NCCL is asked for and the rank holds no
/// GPU.
void take_device(const runtime::Environment& environment);
/// @throws std::runtime_error the ranks do not come together in time.
void join_process_group(const runtime::Environment& environment);

}  // namespace rtrain::sdk
