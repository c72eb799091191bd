// Who is at the other end of a connection within this machine, by the word of the kernel.
#pragma once

#include "common/net/endpoint.h"

#include <sys/types.h>

#include <optional>
#include <string_view>
#include <vector>

namespace rtrain::net {

struct PeerUser {
  uid_t uid = 0;
  std::vector<gid_t> groups;  ///< the primary one and the supplementary ones, as they were when it connected
};

/// The effective user of the process that connected. Nothing for TCP, and where the kernel does not say.
[[nodiscard]] std::optional<PeerUser> peer_user(const Socket& socket);

/// Those who listen on a TCP port of this machine at a loopback address or at all addresses; `table` is the
/// text of /proc/net/tcp or tcp6.
[[nodiscard]] std::vector<uid_t> listeners_of(std::string_view table, std::uint16_t port);
/// Whether a connection that was made to `endpoint`, which is_local(), leads to a program of this user or of
/// root. Where a head does not run, any user of the machine can listen in its place.
[[nodiscard]] bool leads_to_own_user(const Socket& socket, const Endpoint& endpoint);

}  // namespace rtrain::net
