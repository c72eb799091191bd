// Who is let in at a listener of the head: by the kernel's word about the other end of a Unix socket, or by
// the cluster's token. Pure.
#pragma once

#include "common/net/peer.h"

#include <optional>
#include <string>
#include <string_view>

namespace rtrain::head {

struct Admission {
  std::string token;           ///< empty: the token lets nobody in
  uid_t owner = 0;             ///< the head's own user
  std::optional<gid_t> group;  ///< whose members are let in over the Unix socket

  /// `peer`: nothing for TCP. The owner, root and the group's members need no token.
  [[nodiscard]] bool admits(const std::optional<net::PeerUser>& peer, std::string_view shown) const;
};

}  // namespace rtrain::head
