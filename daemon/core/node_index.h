// All nodes, and for each need the nodes that have room for it, in the order in which they are taken. Nothing
// here costs a walk over all nodes when one of them changes. Pure.
#pragma once

#include "daemon/core/request_book.h"

#include <cstdint>
#include <set>

namespace rtrain::core {

/// A node's number within one index.
using NodeId = int;

/// A time in which a node is kept for those who name the reservation.
struct Window {
  int reservation = 0;
  proto::UnixMs start_ms = 0, end_ms = 0;
};

struct IndexedNode {
  proto::NodeInfo info;
  Stock total, free;
  bool alive = true, away = false, cordoned = false, suspected = false;
  std::vector<Window> windows;  ///< by start
  int reserved = -1;            ///< the reservation that holds at the moment
  /// number of its rack; of nodes without a rack label each is one of its own, below 0
  int rack = -1;
  std::int64_t order = 0;     ///< grows with the name
  std::uint32_t version = 0;  ///< grows when anything but `free` changes
  double busy = 0;            ///< how much of it is held: GPUs first, then CPUs
};

/// A node with room for a need.
struct Room {
  int capacity = 0;  ///< workers, at least 1
  double busy = 0;
  std::int64_t order = 0;
  NodeId node = 0;
  /// Least room first; of those with equal room the busiest, then by name.
  friend bool operator<(const Room& a, const Room& b) {
    if (a.capacity != b.capacity) return a.capacity < b.capacity;
    if (a.busy != b.busy) return a.busy > b.busy;
    return a.order < b.order;
  }
};

class NodeIndex;

/// The nodes for one need.
class Fit {
 public:
  /// Takes in what changed since the last call.
  void follow(const NodeIndex& index, const Need& need);
  /// where something fits now, without suspected nodes
  [[nodiscard]] const std::set<Room>& rooms() const { return rooms_; }
  [[nodiscard]] const std::set<Room>& suspected() const { return suspected_; }  ///< the suspected ones
  /// workers, were it idle
  [[nodiscard]] int idle(NodeId node) const { return slots_[static_cast<std::size_t>(node)].idle; }
  [[nodiscard]] int now(NodeId node) const { return slots_[static_cast<std::size_t>(node)].capacity; }
  /// grows when idle() of a node changes; above 0
  [[nodiscard]] std::uint64_t idle_version() const { return idle_version_; }

 private:
  struct Slot {
    int capacity = 0, idle = 0;
    double busy = 0;
    std::int64_t order = 0;
    std::uint32_t version = 0;
    bool suspected = false;
  };
  void look(const NodeIndex& index, const Need& need, NodeId id);
  std::vector<Slot> slots_;
  std::set<Room> rooms_, suspected_;
  std::uint64_t idle_version_ = 1;
  std::size_t followed_ = 0;
  std::uint32_t epoch_ = 0;
};

class NodeIndex {
 public:
  /// A node that is new, or in its new state: all of `view` counts.
  NodeId set(const NodeView& view, ResourceNames& names);
  /// -1: there is none of that name.
  [[nodiscard]] NodeId find(const std::string& name) const;
  /// Takes the place of `workers` and returns their GPUs, worker after worker.
  std::vector<int> take(NodeId node, const Need& need, int workers);
  void take(NodeId node, const Need& need, int workers, const std::vector<int>& gpus);
  void give(NodeId node, const Need& need, int workers, const std::vector<int>& gpus);
  void set_windows(NodeId node, std::vector<Window> windows);
  /// Looks which reservations hold at `now`. Returns when that changes next; kNever.
  proto::UnixMs pass_time(proto::UnixMs now);

  [[nodiscard]] const IndexedNode& operator[](NodeId node) const {
    return nodes_[static_cast<std::size_t>(node)];
  }
  [[nodiscard]] int size() const { return static_cast<int>(nodes_.size()); }
  [[nodiscard]] const std::map<std::string, NodeId>& by_name() const { return by_name_; }
  /// Nodes with a window; of all others no time matters.
  [[nodiscard]] const std::set<NodeId>& windowed() const { return windowed_; }
  [[nodiscard]] const proto::Resources& totals() const { return totals_; }  ///< of all nodes that are alive

 private:
  friend class Fit;
  void changed(NodeId node, const Need& need, int workers);
  void touch(NodeId node);
  [[nodiscard]] std::int64_t order_for(std::map<std::string, NodeId>::iterator place);
  void count(const IndexedNode& node, double sign);
  [[nodiscard]] int rack_of(const proto::NodeInfo& info, NodeId node);

  std::vector<IndexedNode> nodes_;
  std::map<std::string, NodeId> by_name_;
  std::map<std::string, int> racks_;
  std::set<NodeId> windowed_;
  std::vector<NodeId> touched_;  ///< in order; a Fit remembers how far it has read
  /// of touched_: grows when it is cut, or when the order of names was numbered anew
  std::uint32_t epoch_ = 1;
  proto::Resources totals_;
  std::size_t gpu_number_ = 0, cpu_number_ = 0;
};

}  // namespace rtrain::core
