// Frames over a plain socket, for the supervisors, which use poll(2) and no Asio.
#pragma once

#include "proto/frame/frame.h"

#include <chrono>

namespace rtrain::proto {

/// Reads one whole frame from a connected stream socket, waiting at most `timeout` for all of it.
/// kUnavailable: closed by the peer or reset. kTimeout. kProtocol, kLimit: the caller must close.
/// After any error the stream has lost its place. Signals are ridden out (EINTR).
[[nodiscard]] Result<Frame> read_frame(int fd, const FrameLimits& limits,
                                       std::chrono::milliseconds timeout = std::chrono::seconds(5));
/// Writes all of it within `timeout`. Never raises SIGPIPE.
[[nodiscard]] Result<Done> write_frame(int fd, const Frame& frame,
                                       std::chrono::milliseconds timeout = std::chrono::seconds(5));

}  // namespace rtrain::proto
