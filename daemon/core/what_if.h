// What would fit if some of the running jobs had ended. Pure.
#pragma once

#include "daemon/core/claims.h"

#include <set>
#include <unordered_map>

namespace rtrain::core {

/// The rooms for one ask, as running jobs give their places back in thought. What earlier jobs of the line
/// have claimed counts as taken from now on: a little later than it could be, never too early.
class WhatIf {
 public:
  /// All of it must outlive this.
  WhatIf(const NodeIndex& nodes, const RequestBook& book, const Claims& claims, const Fit& fit, int ask,
         proto::UnixMs now);

  void give_back(const Running& running) { change(running, true); }
  void take_again(const Running& running) { change(running, false); }
  /// It is `now` from here on; looks at `node` again, where a claim or a reservation has ended.
  void pass_time(proto::UnixMs now) { now_ = now; }
  void look(NodeId node);

  [[nodiscard]] bool fits() const {
    return promising_ && most(rooms_, ask_, ask_.least, nodes_) >= ask_.least;
  }
  [[nodiscard]] std::vector<Share> choose(int workers) const {
    return core::choose(rooms_, ask_, workers, nodes_);
  }
  [[nodiscard]] int most_workers() const { return most(rooms_, ask_, ask_.workers, nodes_); }
  /// What is free there, claims of others taken.
  [[nodiscard]] Stock stock(NodeId node) const;

 private:
  void change(const Running& running, bool back);
  [[nodiscard]] int capacity(NodeId node) const;
  [[nodiscard]] bool usable(NodeId node) const;
  void set(NodeId node, int capacity);

  const NodeIndex& nodes_;
  const RequestBook& book_;
  const Claims& claims_;
  const Fit& fit_;
  const Ask& ask_;
  const Need& need_;
  proto::UnixMs now_;
  std::unordered_map<NodeId, Stock> changed_;
  std::unordered_map<NodeId, int> capacity_;  ///< of those that differ from fit_
  std::set<Room> rooms_;
  bool by_rack_;
  std::int64_t total_ = 0;
  std::unordered_map<int, std::int64_t> rack_total_;
  bool promising_ = false;  ///< enough workers in all, of nodes that changed or were there
};

/// When and where the first of the line will start at the latest, if running jobs keep to their limits.
struct Foreseen {
  proto::UnixMs at_ms = 0;
  std::vector<Share> shares;
};
/// Nothing when nobody can say: a job without a time limit is in the way. `what_if` is left as it is by then.
[[nodiscard]] std::optional<Foreseen> foresee(WhatIf& what_if, const RunningJobs& running,
                                              const NodeIndex& nodes, const Claims& claims, const Ask& ask,
                                              proto::UnixMs now);

}  // namespace rtrain::core
