// The reservations: made and deleted by operators, over by time, known to the planner.
#pragma once

#include "daemon/head/head_context.h"
#include "daemon/head/nodes/reservations.h"
#include "daemon/head/turn.h"

namespace rtrain::head {

/// @thread the head's.
class ReservationTable {
 public:
  using OnChange = std::function<void(std::vector<core::Reservation>)>;
  ReservationTable(HeadContext& context, Turn& turn) : context_(context), turn_(turn) {}
  /// Called with all of them after each change, those of recover() included.
  void on_change(OnChange on_change) { on_change_ = std::move(on_change); }

  /// kInvalidArgument, kNotFound (a node), kConflict: check_reservation().
  [[nodiscard]] Result<Done> reserve(core::Reservation reservation);
  /// kNotFound: there is none of that name.
  [[nodiscard]] Result<Done> remove(const std::string& name, const std::string& by);
  [[nodiscard]] const Reservations& all() const { return reservations_; }

  void recover(const std::vector<store::Document>& documents);
  /// Reservations that begin or are over.
  void expire();

 private:
  void changed();

  HeadContext& context_;
  Turn& turn_;
  OnChange on_change_;
  Reservations reservations_;
  proto::UnixMs expired_at_ms_ = 0;  ///< when expire() looked last
};

}  // namespace rtrain::head
