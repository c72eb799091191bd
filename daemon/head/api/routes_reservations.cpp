// /v1/reservations.
#include "daemon/head/api/route_call.h"

namespace rtrain::head {
namespace {

using proto::Json;

HttpResponse shown(const RouteCall& call, const core::Reservation& reservation,
                   http::status status = http::status::ok) {
  return call.json(reservation_doc(reservation, call.dispatcher.context().wall()), status);
}

Reply list_all(const RouteCall& call) {
  Json all = Json::array();
  for (const auto& [name, reservation] : call.dispatcher.reservations().all())
    all.push_back(reservation_doc(reservation, call.dispatcher.context().wall()));
  return call.json({{"reservations", std::move(all)}});
}

Reply create(const RouteCall& call) {
  const auto body = body_of(call, {"name", "nodes", "users", "start", "end"});
  if (!body) return call.error(body.error());
  proto::ReservationDoc doc;
  if (auto read = proto::read_value(*body, doc); !read) return call.error(read.error());
  auto reservation = reservation_of(doc);
  if (reservation.start_ms == 0) reservation.start_ms = call.dispatcher.context().wall();
  reservation.by = call.by();
  if (auto done = call.dispatcher.reservations().reserve(reservation); !done) return call.error(done.error());
  return shown(call, reservation, http::status::created);
}

Reply remove(const RouteCall& call) {
  const auto found = call.dispatcher.reservations().all().find(call.arguments[0]);
  const auto reservation =
      found == call.dispatcher.reservations().all().end() ? core::Reservation{} : found->second;
  if (auto done = call.dispatcher.reservations().remove(call.arguments[0], call.by()); !done)
    return call.error(done.error());
  return shown(call, reservation);
}

}  // namespace

std::vector<Handler> reservation_routes() {
  return {
      {{http::verb::get, "/v1/reservations"}, list_all},
      {{http::verb::post, "/v1/reservations"}, create},
      {{http::verb::delete_, "/v1/reservations/{name}"}, remove},
  };
}

}  // namespace rtrain::head
