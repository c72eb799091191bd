// Reservations between operators, the journal and the planner. Pure.
#pragma once

#include "daemon/core/reservation.h"
#include "proto/api/api.h"

#include <map>

namespace rtrain::head {

using Reservations = std::map<std::string, core::Reservation>;

[[nodiscard]] proto::ReservationDoc reservation_doc(const core::Reservation& reservation, proto::UnixMs now);
[[nodiscard]] core::Reservation reservation_of(const proto::ReservationDoc& doc);

/// kInvalidArgument: a name, nodes or times that cannot be; kConflict: the name is taken, or another
/// reservation has one of the nodes at that time.
[[nodiscard]] Result<Done> check_reservation(const core::Reservation& reservation, const Reservations& others,
                                             proto::UnixMs now);

/// Whether a job of `user` may be submitted under this name. kInvalidArgument: there is no such reservation
/// (with the nearest), or it is for others.
[[nodiscard]] Result<Done> may_name_reservation(const std::string& name, const std::string& user,
                                                const Reservations& all);
/// "" when a job of `user` that names `name` may start as far as that is concerned, else why not.
[[nodiscard]] std::string kept_by_reservation(const std::string& name, const std::string& user,
                                              const Reservations& all, proto::UnixMs now);

}  // namespace rtrain::head
