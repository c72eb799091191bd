// Converts a rank's exception to its error record: the kind, from which the head decides whose fault it was,
// and the text without LibTorch's stack traces.
#pragma once

#include <rtrain/export.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>

namespace rtrain::sdk {

/// Thrown if a GPU of this rank cannot be used, before the training function runs: the node's fault.
struct RTRAIN_API DeviceError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct RankFailure {
  std::string kind, message;
};

/// True for CUDA error codes (cudaError_t) that point to the driver, broken hardware, a GPU held by another
/// process, or the node's MPS server, and that a training function cannot cause.
[[nodiscard]] RTRAIN_API bool is_of_node(std::int32_t cuda_code);
/// `kind`: the kind of the phase in which it was thrown. It becomes "invalid_hyperparameters" for an
/// InvalidHyperparameters, "hardware" for a DeviceError and for a
/// c10::AcceleratorError with a code of the node, and "timeout" if c10d's watchdog reports that a collective
/// did not end in time.
[[nodiscard]] RTRAIN_API RankFailure rank_failure(const std::exception_ptr& failure, const std::string& kind);
/// True for exceptions of c10d, Gloo or CUDA, whoever called them: c10::DistError, gloo::EnforceNotMet,
/// c10::AcceleratorError, DeviceError.
[[nodiscard]] RTRAIN_API bool is_of_torch_runtime(const std::exception_ptr& failure);

/// Installs a terminate handler. It passes an uncaught exception of c10d, Gloo or CUDA (c10d's watchdog
/// throws out of its thread; a destructor that frees page-locked memory after a CUDA error may throw) to
/// `end`, which must not return. All others go to the previous handler: a user's own exception ends the
/// process with SIGABRT and its stack.
/// @thread once, on the training thread or that of main(); `end` is called on the thread that failed.
RTRAIN_API void install_terminate_handler(std::function<void(const std::exception_ptr&)> end);

}  // namespace rtrain::sdk
