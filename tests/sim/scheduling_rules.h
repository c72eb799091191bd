// What operators and users were promised of where and when jobs start: cordons, drains, reservations, arrays,
// dependencies. The journal keeps the order in which the head decided: a placement is held against what was
// written before it.
#pragma once

#include "daemon/core/reservation.h"
#include "proto/message/message.h"
#include "tests/sim/disk.h"
#include "tests/sim/plan.h"

#include <map>

namespace rtrain::head {
class Dispatcher;
}

namespace rtrain::sim {

class Referee;

class SchedulingRules {
 public:
  SchedulingRules(World& world, Referee& referee, const Disk& disk, const Workload& workload,
                  const std::vector<proto::NodeInfo>& nodes)
      : world_(world), referee_(referee), disk_(disk), workload_(workload), nodes_(nodes) {}

  // ---- operators: between the question and its answer nobody knows
  void order_sent(const std::string& node) { orders_.erase(node); }
  void order_acknowledged(const NodeOrderPlan& order);
  void uncordon_acknowledged(const std::string& node);
  void reservation_sent(const std::string& name) { reservations_.erase(name); }
  void reservation_acknowledged(const core::Reservation& reservation);
  void reservation_deleted(const std::string& name);
  /// Now and then: `calm` when the head could do there what it wants.
  void look_at(const std::string& node, bool calm);

  // ---- the head
  void placed(JobId id, proto::UnixMs at, const proto::AttemptPlaced& placed);
  /// It knows what was acknowledged.
  void head_started(const head::Dispatcher& head);

  // ---- at rest
  /// A job that is not placed may be so for ever: what it waits for will not come.
  [[nodiscard]] bool may_wait_for_ever(JobId id) const;
  /// What the head says of a job that waits.
  void check_reason(JobId id, const std::string& reason);

 private:
  struct Order {
    bool cordoned = false, drained = false;
    proto::UnixMs until_ms = 0;  ///< the head's deadline of a drain
    Time acknowledged = 0;
  };
  [[nodiscard]] const proto::JobSubmitted& submitted(JobId id) const;
  /// The jobs that a dependency is on: all of an array.
  [[nodiscard]] std::vector<const Disk::Job*> targets(JobId id) const;
  [[nodiscard]] bool holds(const proto::Dependency& dependency) const;
  [[nodiscard]] bool never_holds(const proto::Dependency& dependency) const;
  [[nodiscard]] bool can_never_start(JobId id) const;
  [[nodiscard]] bool fits_when_idle(const proto::ScalingConfig& scaling) const;
  void check_place(JobId id, proto::UnixMs at, const std::string& node);
  void check_array(JobId id, const proto::ArrayTask& array);

  World& world_;
  Referee& referee_;
  const Disk& disk_;
  const Workload& workload_;
  const std::vector<proto::NodeInfo>& nodes_;
  std::map<std::string, Order> orders_;  ///< by node, acknowledged
  /// acknowledged; nothing: as deleted
  std::map<std::string, std::optional<core::Reservation>> reservations_;
  std::map<std::string, Time> calm_since_;
};

}  // namespace rtrain::sim
