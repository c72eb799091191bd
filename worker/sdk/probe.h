// The checks of `rtrain doctor` that need LibTorch.
#pragma once

#include <rtrain/export.h>

#include "proto/record/check.h"

#include <exception>
#include <functional>
#include <string>

namespace rtrain::sdk {

/// Calls `told` with one JSON line (proto/record/check.h) per check, as soon as its result is known: if a
/// driver hangs, the first missing line identifies it. Checks LibTorch and its CUDA, the CPU, each GPU with a
/// copy and a matrix product, NCCL over all GPUs, and Gloo between two threads. Uses at most 2 GiB of each
/// GPU for a few seconds.
/// @throws nothing: a failure is a line.
RTRAIN_API void probe(const std::function<void(const std::string& line)>& told);

/// The failure of check `name` that threw `error`; `hint` is the way out, but for a want of memory or of
/// threads, which have their own.
[[nodiscard]] RTRAIN_API proto::Check failed_check(const std::string& name, const std::exception_ptr& error,
                                                   const std::string& hint);

}  // namespace rtrain::sdk
