#include "daemon/head/nodes/reservation_table.h"

#include "common/base/fault.h"
#include "common/log/log.h"

namespace rtrain::head {
namespace {

constexpr const char* kReservationKind = "reservation";

}  // namespace

void ReservationTable::recover(const std::vector<store::Document>& documents) {
  for (const auto& document : documents) {
    if (document.kind != kReservationKind) continue;
    try {
      reservations_[document.name] = reservation_of(document.value.get<proto::ReservationDoc>());
    } catch (const proto::Json::exception& error) {
      log::error("a reservation cannot be read", {{"reservation", document.name}, {"cause", error.what()}});
    }
  }
  changed();
}

Result<Done> ReservationTable::reserve(core::Reservation reservation) {
  if (auto checked = check_reservation(reservation, reservations_, context_.wall()); !checked) return checked;
  for (const auto& node : reservation.nodes)
    if (context_.nodes.find(node) == nullptr)
      return fail(Errc::kNotFound, "node " + node + ": no such node", "rtrain nodes -o name lists them");
  if (!fault::on(fault::Fault::kReservationNotStored))
    context_.store.journal.put(
        {kReservationKind, reservation.name, proto::Json(reservation_doc(reservation, context_.wall()))});
  log::info("reservation made", {{"reservation", reservation.name},
                                 {"by", reservation.by},
                                 {"from", proto::rfc3339(reservation.start_ms)},
                                 {"to", proto::rfc3339(reservation.end_ms)}});
  reservations_[reservation.name] = std::move(reservation);
  changed();
  turn_.request_pass();
  return ok();
}

Result<Done> ReservationTable::remove(const std::string& name, const std::string& by) {
  if (reservations_.erase(name) == 0)
    return fail(Errc::kNotFound, "reservation " + name + ": there is none", "rtrain reservation list");
  context_.store.journal.put({kReservationKind, name, proto::Json()});
  log::info("reservation deleted", {{"reservation", name}, {"by", by}});
  changed();
  turn_.request_pass();
  return ok();
}

void ReservationTable::expire() {
  const auto now = context_.wall();
  bool has_changed = false;
  for (auto it = reservations_.begin(); it != reservations_.end();) {
    const auto& [name, reservation] = *it;
    has_changed = has_changed || (reservation.start_ms > expired_at_ms_ && reservation.start_ms <= now);
    if (reservation.end_ms > now) {
      ++it;
      continue;
    }
    has_changed = true;
    context_.store.journal.put({kReservationKind, name, proto::Json()});
    log::info("reservation over", {{"reservation", name}});
    it = reservations_.erase(it);
  }
  expired_at_ms_ = now;
  if (!has_changed) return;
  changed();
  turn_.request_pass();
}

void ReservationTable::changed() {
  std::vector<core::Reservation> all;
  for (const auto& [name, reservation] : reservations_)
    if (!fault::on(fault::Fault::kReservationIgnored)) all.push_back(reservation);
  on_change_(std::move(all));
  for (const auto id : context_.book.queue())
    if (!context_.state(id).spec->scheduling.reservation.empty()) turn_.touch(id);
}

}  // namespace rtrain::head
