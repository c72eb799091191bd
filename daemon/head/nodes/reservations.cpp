#include "daemon/head/nodes/reservations.h"

#include "proto/jobspec/jobspec.h"

#include <algorithm>

namespace rtrain::head {
namespace {

Error wrong(const std::string& what, const std::string& hint = {}) {
  return fail(Errc::kInvalidArgument, "the reservation " + what, hint);
}

bool is_name(const std::string& name) {
  const auto allowed = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= 128 && std::isalnum(static_cast<unsigned char>(name[0])) != 0 &&
         std::ranges::all_of(name, allowed);
}

/// "" when this user may use it.
std::string not_for(const core::Reservation& reservation, const std::string& user) {
  if (reservation.is_for(user)) return "";
  std::string users;
  for (const auto& one : reservation.users) users += (users.empty() ? "" : ", ") + one;
  return "reservation " + reservation.name + " is for " + users + " alone";
}

}  // namespace

proto::ReservationDoc reservation_doc(const core::Reservation& reservation, proto::UnixMs now) {
  return {reservation.name,
          reservation.nodes,
          reservation.users,
          reservation.start_ms,
          reservation.end_ms,
          reservation.by,
          reservation.start_ms <= now && now < reservation.end_ms};
}

core::Reservation reservation_of(const proto::ReservationDoc& doc) {
  core::Reservation reservation{doc.name, doc.nodes, doc.start_ms, doc.end_ms, doc.users, doc.by};
  std::ranges::sort(reservation.nodes);
  reservation.nodes.erase(std::ranges::unique(reservation.nodes).begin(), reservation.nodes.end());
  return reservation;
}

Result<Done> check_reservation(const core::Reservation& reservation, const Reservations& others,
                               proto::UnixMs now) {
  if (!is_name(reservation.name))
    return wrong(
        "needs a name of 1 to 128 letters, digits, dots, underscores or dashes that begins with a letter or "
        "digit");
  if (reservation.nodes.empty())
    return wrong(reservation.name + " names no nodes", "rtrain nodes -o name lists them");
  if (reservation.start_ms >= reservation.end_ms) return wrong(reservation.name + " ends before it begins");
  if (reservation.end_ms <= now) return wrong(reservation.name + " would be over already");
  if (others.contains(reservation.name))
    return fail(Errc::kConflict, "there is a reservation " + reservation.name + " already",
                "rtrain reservation delete " + reservation.name);
  for (const auto& [name, other] : others) {
    if (other.start_ms >= reservation.end_ms || reservation.start_ms >= other.end_ms) continue;
    for (const auto& node : reservation.nodes)
      if (std::ranges::binary_search(other.nodes, node))
        return fail(Errc::kConflict,
                    "reservation " + name + " has node " + node + " from " + proto::rfc3339(other.start_ms) +
                        " to " + proto::rfc3339(other.end_ms),
                    "choose other nodes or another time");
  }
  return ok();
}

Result<Done> may_name_reservation(const std::string& name, const std::string& user, const Reservations& all) {
  const auto found = all.find(name);
  if (found != all.end()) {
    if (auto why = not_for(found->second, user); !why.empty())
      return fail(Errc::kInvalidArgument, "scheduling.reservation: " + why);
    return ok();
  }
  std::vector<std::string> names;
  for (const auto& [known, reservation] : all) names.push_back(known);
  const auto near = proto::nearest(name, names);
  return fail(Errc::kInvalidArgument,
              "scheduling.reservation: there is no reservation " + name +
                  (near.empty() ? "" : "; did you mean " + near + "?"),
              "rtrain reservation list");
}

std::string kept_by_reservation(const std::string& name, const std::string& user, const Reservations& all,
                                proto::UnixMs now) {
  const auto found = all.find(name);
  if (found == all.end()) return "waits for reservation " + name + ", which there is not (any more)";
  const auto& reservation = found->second;
  if (auto why = not_for(reservation, user); !why.empty()) return why;
  if (now < reservation.start_ms)
    return "waits for reservation " + name + ", which begins at " + proto::rfc3339(reservation.start_ms);
  return "";
}

}  // namespace rtrain::head
