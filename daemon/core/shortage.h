// Why a job does not fit, in words. Worked out only when somebody asks. Pure.
#pragma once

#include "daemon/core/gang.h"

#include <string>

namespace rtrain::core {

/// "needs 4 x {CPU: 1, GPU: 1}, 1 fits now; node a has 1 of 2 GPU free; ...": of each node what it has least
/// of. `feasible` false:
/// ", more than the nodes in service have: node a has 2 GPU". A node on which the job could run into a
/// reservation that begins later is one where nothing fits, and the reservation is named.
[[nodiscard]] std::string shortage(const Ask& ask, const RequestBook& book, const Fit& fit,
                                   const NodeIndex& nodes, bool feasible, proto::UnixMs now);

/// All rooms of a need, the suspected nodes among them; or those that there were if every node were idle.
/// Sorted.
[[nodiscard]] std::vector<Room> all_rooms(const Fit& fit);
[[nodiscard]] std::vector<Room> idle_rooms(const Fit& fit, const NodeIndex& nodes);

}  // namespace rtrain::core
