#include "daemon/head/nodes/reservations.h"

#include "tests/support/catch.h"

namespace reservations_test {

using namespace rtrain;
using namespace rtrain::head;

namespace {

core::Reservation night(std::string name = "night", proto::UnixMs start = 100, proto::UnixMs end = 200,
                        std::vector<std::string> nodes = {"a", "b"}) {
  return {std::move(name), std::move(nodes), start, end, {"ann"}, "op"};
}

}  // namespace

TEST_CASE("reservations: a document is the same reservation again, nodes sorted and each once") {
  auto doc = reservation_doc(night(), 150);
  CHECK(doc.active);
  CHECK_FALSE(reservation_doc(night(), 99).active);
  CHECK_FALSE(reservation_doc(night(), 200).active);
  doc.nodes = {"b", "a", "b"};
  const auto again = reservation_of(proto::Json(doc).get<proto::ReservationDoc>());
  CHECK(again.nodes == std::vector<std::string>{"a", "b"});
  CHECK(again.users == std::vector<std::string>{"ann"});
  CHECK(again.start_ms == 100);
  CHECK(again.end_ms == 200);
}

TEST_CASE("reservations: what cannot be is refused") {
  Reservations others{{"night", night()}};
  CHECK(check_reservation(night("day", 200, 300), others, 0).has_value());
  CHECK(check_reservation(night("other", 100, 200, {"c"}), others, 0).has_value());
  for (const auto& [wrong, code] : {std::pair{night("", 1, 2), Errc::kInvalidArgument},
                                    {night("a b", 1, 2), Errc::kInvalidArgument},
                                    {night("x", 1, 2, {}), Errc::kInvalidArgument},
                                    {night("x", 2, 2), Errc::kInvalidArgument},
                                    {night("x", 1, 40), Errc::kInvalidArgument},
                                    {night("night", 500, 600), Errc::kConflict},
                                    {night("x", 199, 300, {"b", "c"}), Errc::kConflict}}) {
    INFO(wrong.name << " " << wrong.start_ms);
    const auto checked = check_reservation(wrong, others, 50);
    REQUIRE_FALSE(checked.has_value());
    CHECK(checked.error().code() == code);
  }
}

TEST_CASE("reservations: who may name one") {
  const Reservations all{{"night", night()}};
  CHECK(may_name_reservation("night", "ann", all).has_value());
  CHECK(may_name_reservation("night", "bob", all).error().message() ==
        "scheduling.reservation: reservation night is for ann alone");
  CHECK(may_name_reservation("nigth", "ann", all).error().message() ==
        "scheduling.reservation: there is no reservation nigth; did you mean night?");
}

TEST_CASE("reservations: why a job waits for one") {
  const Reservations all{{"night", night()}, {"open", [] {
                                                auto open = night("open");
                                                open.users.clear();
                                                return open;
                                              }()}};
  CHECK(kept_by_reservation("night", "ann", all, 150).empty());
  CHECK(kept_by_reservation("open", "", all, 150).empty());
  CHECK(kept_by_reservation("night", "bob", all, 150) == "reservation night is for ann alone");
  CHECK(kept_by_reservation("night", "ann", all, 99) ==
        "waits for reservation night, which begins at 1970-01-01T00:00:00.100Z");
  CHECK(kept_by_reservation("day", "ann", all, 150) ==
        "waits for reservation day, which there is not (any more)");
}

}  // namespace reservations_test
