#include "daemon/head/net/admission.h"

#include "common/os/token.h"

#include <algorithm>

namespace rtrain::head {

bool Admission::admits(const std::optional<net::PeerUser>& peer, std::string_view shown) const {
  if (peer && (peer->uid == owner || peer->uid == 0)) return true;
  if (peer && group && std::ranges::find(peer->groups, *group) != peer->groups.end()) return true;
  return os::is_token(shown, token);
}

}  // namespace rtrain::head
