// How long a rank may live on that hears nothing more from its agent. Pure.
#pragma once

#include <algorithm>

namespace rtrain::agent {

/// `longest` (worker_lease_s), but not beyond the time at which the head may give this node up and place its
/// ranks elsewhere, whatever becomes of the agent meanwhile: the head counts `lease` and two heartbeats from
/// when it heard what granted the lease, which is after `granted`. The agent itself ends the ranks after
/// `lease`, one heartbeat later they end themselves, and the other is for their killing. Times and lengths of
/// any one unit.
template <class Time, class Length>
[[nodiscard]] constexpr Length rank_lease(Time now, Time granted, Length lease, Length heartbeat,
                                          Length longest) {
  return std::clamp<Length>(granted + lease + heartbeat - now, Length{}, longest);
}

}  // namespace rtrain::agent
