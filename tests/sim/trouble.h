// What goes wrong, and when: drawn from the seed. Some runs are calm, most have several kinds of trouble at
// once.
#pragma once

#include "tests/sim/cluster.h"

namespace rtrain::sim {

class Trouble {
 public:
  explicit Trouble(Cluster& cluster);
  /// From here on everything works.
  [[nodiscard]] Time ends() const { return ends_; }

 private:
  /// `often` times in the run, about.
  void plan(double often, std::function<void()> strike);
  void kill_head();
  void break_connection();
  void partition();
  void slow_link();
  void cut_power();
  void kill_agent();
  void fill_disk();
  void slow_disk();
  [[nodiscard]] std::size_t any_node();
  [[nodiscard]] double a_while();

  Cluster& cluster_;
  World& world_;
  Time ends_ = 0;
};

}  // namespace rtrain::sim
