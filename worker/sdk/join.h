// How a rank takes its device and joins the job's process group.
#pragma once

#include "worker/runtime/environment.h"

namespace rtrain::sdk {

/// Uses each GPU of the rank once, and makes the first one this thread's.
/// @throws DeviceError (rank_failure.h) one of them cannot be used, with its name and CUDA's cause,
/// or they do not answer within torch_config.init_timeout_s.
/// @throws std::runtime_error NCCL is asked for and the rank holds no GPU.
void take_device(const runtime::Environment& environment);
/// With a GPU: c10d's flight recorder writes what NCCL was doing when it failed to
/// <rank_dir>/nccl_trace_rank_<rank>, unless the job names another place. @thread before the process has
/// others: it sets a variable of the environment
void name_dump_files(const runtime::Environment& environment);
/// @throws std::runtime_error the ranks do not come together in time.
void join_process_group(const runtime::Environment& environment);

}  // namespace rtrain::sdk
