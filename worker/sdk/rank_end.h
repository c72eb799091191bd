// How a rank's process ends by an error: with a record of it in the rank's folder, where its agent looks, and
// with what it has reported so far.
#pragma once

#include "worker/runtime/environment.h"

#include <chrono>
#include <exception>
#include <string>

namespace rtrain::sdk {

/// For what a rank has reported so far, once it has failed.
constexpr std::chrono::milliseconds kFlushAfterFailure{1'000};

/// Of std::cout, std::cerr and stdio.
void flush_output();

/// Writes the error record, sends pending reports and ends the process with status 1. An error that only says
/// that a peer is gone waits a moment: the peer's own tells more.
[[noreturn]] void end_with_error(const runtime::Environment& environment, const char* kind,
                                 const std::string& message);

/// For install_terminate_handler(): the same for an exception of c10d or CUDA that nobody caught, mostly of
/// c10d's watchdog, while the training thread may wait for ever. A record that the training thread writes
/// within a moment stays: it has met the same error and knows the place. @thread any
[[noreturn]] void end_from_any_thread(const runtime::Environment& environment,
                                      const std::exception_ptr& thrown);

}  // namespace rtrain::sdk
