// Initializes a rank's device and joins the job's process group.
#pragma once

#include "worker/runtime/environment.h"

namespace rtrain::sdk {

/// Uses each GPU of the rank once, and makes the first one current on this thread.
/// @throws DeviceError (rank_failure.h) if a GPU cannot be used (its name and CUDA's cause), or if the GPUs
///        do not respond within torch_config.init_timeout_s.
/// @throws std::runtime_error if NCCL is requested and the rank holds no GPU.
void take_device(const runtime::Environment& environment);
/// With a GPU: makes c10d's flight recorder write what NCCL was doing when it failed to
/// <rank_dir>/nccl_trace_rank_<rank>, unless the job sets another path.
/// @thread before the process has other threads, because it sets an environment variable
void name_dump_files(const runtime::Environment& environment);
/// @throws std::runtime_error if the ranks do not meet in time.
void join_process_group(const runtime::Environment& environment);

}  // namespace rtrain::sdk
