// Those who care for the nodes: they cordon, drain and reserve, ask again until they are answered, and look
// whether it is done.
#pragma once

#include "tests/sim/cluster.h"

namespace rtrain::sim {

class Operators {
 public:
  explicit Operators(Cluster& cluster);
  /// Everything that was to be ordered is acknowledged.
  [[nodiscard]] bool content() const { return open_ == 0; }

 private:
  void order(const NodeOrderPlan& plan);
  void uncordon(const std::string& node);
  void reserve(const core::Reservation& reservation, double delete_s);
  void unreserve(const std::string& name);
  void look();
  /// `again` after a pause.
  void later(std::function<void()> again);

  Cluster& cluster_;
  World& world_;
  int open_ = 0;
  int head_starts_ = 0;  ///< until the last look
};

}  // namespace rtrain::sim
