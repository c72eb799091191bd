// What is kept for jobs that wait: the places that the first of them will take as soon as they are free (EASY
// backfill), and nodes that nobody behind a job without a known start is given. Lives for one pass. Pure.
#pragma once

#include "daemon/core/gang.h"
#include "daemon/core/running.h"

#include <unordered_map>

namespace rtrain::core {

/// The place of a job that cannot start yet: from when, until when at the latest.
struct Claim {
  JobId job;
  int need = 0;
  proto::UnixMs from_ms = 0, until_ms = kNever;
};

class Claims {
 public:
  Claims(const NodeIndex& nodes, const RequestBook& book, proto::UnixMs now)
      : nodes_(nodes), book_(book), now_(now) {}

  /// The job takes `shares` from `from_ms` on. `stock_at(node)`: what is free there by then, its own claim
  /// not taken.
  template <class StockAt>
  void add(Claim claim, const std::vector<Share>& shares, StockAt stock_at) {
    const int number = static_cast<int>(claims_.size());
    claims_.push_back(claim);
    for (const auto& share : shares)
      on_node_[share.node].push_back({number, share.workers, stock_at(share.node)});
  }
  /// Nobody knows when the job starts: nobody behind it gets what it could use.
  void close(const Fit& fit);

  /// True when places may be fewer than the nodes have room.
  [[nodiscard]] bool any() const {
    return !claims_.empty() || closed_count_ > 0 || !nodes_.windowed().empty();
  }
  /// True when nothing can start any more that needs what `fit` is of.
  [[nodiscard]] bool closes_all(const Fit& fit) const;
  [[nodiscard]] bool closed_everywhere() const { return closed_count_ > 0 && closed_count_ == nodes_.size(); }
  /// How many of the room's workers a job may start there now that ends at `end_ms`, so that no claim is
  /// delayed and no reservation of others is run into.
  [[nodiscard]] int allowed(const Room& room, const Need& need, proto::UnixMs end_ms) const;
  /// A job started there that ends at `end_ms`.
  void took(NodeId node, const Need& need, int workers, const std::vector<int>& gpus, proto::UnixMs end_ms);

  [[nodiscard]] const std::vector<Claim>& all() const { return claims_; }
  struct OnNode {
    int claim;
    int workers;
    Stock at;
  };
  [[nodiscard]] const std::vector<OnNode>* on(NodeId node) const;
  /// Calls `seen(time, node)` for each end of a claim that has one.
  template <class Seen>
  void for_each_end(Seen seen) const {
    for (const auto& [node, held] : on_node_)
      for (const auto& one : held)
        if (const auto until = claims_[static_cast<std::size_t>(one.claim)].until_ms; until != kNever)
          seen(until, node);
  }
  [[nodiscard]] bool is_closed(NodeId node) const {
    return closed_count_ > 0 && closed_[static_cast<std::size_t>(node)];
  }

 private:
  const NodeIndex& nodes_;
  const RequestBook& book_;
  proto::UnixMs now_;
  std::vector<Claim> claims_;
  std::unordered_map<NodeId, std::vector<OnNode>> on_node_;
  std::vector<bool> closed_;
  int closed_count_ = 0;
};

}  // namespace rtrain::core
