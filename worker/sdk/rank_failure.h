// What a rank's exception says for its error record: the kind, by which the head tells whose fault it was,
// and the text without the stacks that LibTorch adds.
#pragma once

#include <rtrain/export.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>

namespace rtrain::sdk {

/// A GPU of this rank that cannot be used, found before the training function ran: the node's fault.
struct RTRAIN_API DeviceError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct RankFailure {
  std::string kind, message;
};

/// True for the codes of CUDA (cudaError_t) by which it tells of the driver, of broken hardware, of a GPU
/// that another holds, or of the node's MPS server: nothing that a training function does by itself.
[[nodiscard]] RTRAIN_API bool is_of_node(std::int32_t cuda_code);
/// `kind`: of the phase in which it was thrown. It becomes "hardware" for a DeviceError and for a
/// c10::AcceleratorError with a code of the node, "timeout" where c10d's watchdog says that a collective did
/// not end in time.
[[nodiscard]] RTRAIN_API RankFailure rank_failure(const std::exception_ptr& failure, const std::string& kind);
/// Thrown by c10d or by CUDA, whoever called them: c10::DistError, c10::AcceleratorError.
[[nodiscard]] RTRAIN_API bool is_of_torch_runtime(const std::exception_ptr& failure);

/// From now on an exception of c10d or CUDA that nobody catches (c10d's watchdog throws out of its thread; a
/// destructor that frees page-locked memory after a CUDA error may throw) is given to `end`, which must not
/// return. Any other goes to the handler that was there before: a user's own ends the process by SIGABRT,
/// with its stack.
/// @thread once, the training thread; `end` is called on the thread that failed.
RTRAIN_API void install_terminate_handler(std::function<void(const std::exception_ptr&)> end);

}  // namespace rtrain::sdk
