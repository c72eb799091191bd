// The words by which a rank's error tells that the process at the other end is gone. The rank waits a little
// with such an error, because the peer's own tells more; the head blames neither the job nor the node for it.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

namespace rtrain {

/// As Gloo, NCCL, and c10d's store and watchdog say it.
inline constexpr std::array<std::string_view, 14> kLostPeerWords{
    "Connection closed by peer",                     // Gloo
    "Connection reset by peer",                      // Gloo, the store
    "Broken pipe",                                   // Gloo, the store
    "Connection refused",                            // the store
    "Connection was likely closed",                  // the store
    "Socket Timeout",                                // the store
    "wait timeout after",                            // the store
    "Timed out waiting",                             // Gloo
    "possible application crash on rank 0",          // c10d, while NCCL is set up
    "remote process exited",                         // NCCL
    "ncclRemoteError",                               // NCCL
    "NCCL communicator was aborted",                 // c10d
    "Watchdog caught collective operation timeout",  // c10d
    // c10d's monitor, beside a watchdog that waits
    "Terminating the process after attempting to dump debug info"};

/// @thread any
[[nodiscard]] constexpr bool tells_of_lost_peer(std::string_view message) {
  return std::ranges::any_of(
      kLostPeerWords, [&](std::string_view words) { return message.find(words) != std::string_view::npos; });
}

}  // namespace rtrain
