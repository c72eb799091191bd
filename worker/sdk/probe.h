// What `rtrain doctor` wants to know of LibTorch on this machine.
#pragma once

#include <rtrain/export.h>

#include <functional>
#include <string>

namespace rtrain::sdk {

/// Calls `told` with one JSON line (proto/record/check.h) for each thing that was looked at, as soon as it is
/// known: a driver that hangs is named by the line that did not come. LibTorch and its CUDA, the CPU, each
/// GPU with a copy and a matrix product, NCCL over all GPUs, Gloo between two threads. Uses at most 2 GiB of
/// each GPU, for some seconds.
/// @throws nothing: what fails is a line.
RTRAIN_API void probe(const std::function<void(const std::string& line)>& told);

}  // namespace rtrain::sdk
