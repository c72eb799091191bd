// The network between the head and its agents: connections that keep their order and nothing else.
// Within one connection messages arrive in order, each after a delay of its own. A connection breaks at a
// random point: what was under way is lost, and each end learns of it by itself, or never. A partition, of
// one direction or both, holds everything back until it heals, as TCP does. What an old connection still
// carries may arrive after the first words of a new one.
#pragma once

#include "proto/message/message.h"
#include "tests/sim/world.h"

#include <deque>
#include <functional>
#include <memory>
#include <set>

namespace rtrain::sim {

enum class Side { kAgent, kHead };
[[nodiscard]] constexpr Side other(Side side) { return side == Side::kAgent ? Side::kHead : Side::kAgent; }
[[nodiscard]] constexpr std::size_t index(Side side) { return side == Side::kAgent ? 0 : 1; }

/// The way between one node and the head.
struct Link {
  bool blocked[2] = {false, false};  ///< what this side sends does not arrive at the moment
  double slowness = 1;               ///< factor on every delay
  [[nodiscard]] bool whole() const { return !blocked[0] && !blocked[1]; }
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  struct End {
    std::function<void(proto::Message)> received;
    std::function<void()> closed;  ///< once: the other end closed, or the connection broke
  };
  Connection(World& world, Link& link) : world_(world), link_(link) {}

  /// Must be set before anything arrives there.
  void attach(Side side, End end);
  void send(Side from, std::shared_ptr<const proto::Message> message);
  /// That end reads no more. The other one reads what is under way and then the end, or, when the connection
  /// is reset, the end at once.
  void close(Side from, bool reset);
  /// Everything under way is lost. Each end learns of it after a while, or (`silently`) never.
  void break_now(bool silently);
  [[nodiscard]] bool broken() const { return broken_; }
  /// The link's state changed.
  void link_changed();

 private:
  struct Packet {
    Time due;
    std::shared_ptr<const proto::Message> message;  ///< null: the end
  };
  struct Direction {
    std::deque<Packet> packets;
    Time last_due = 0;
    bool armed = false;
    std::int64_t armed_for = 0;
  };
  void push(Side from, std::shared_ptr<const proto::Message> message);
  void arm(Side from);
  void deliver(Side from);
  void end(Side at);

  World& world_;
  Link& link_;
  End ends_[2];
  bool open_[2] = {true, true}, broken_ = false;
  Direction ways_[2];  ///< by sender
};

/// All connections of a run.
class Network {
 public:
  Network(World& world, std::size_t nodes) : world_(world), links_(nodes) {}
  [[nodiscard]] Link& link(std::size_t node) { return links_[node]; }
  [[nodiscard]] const Link& link(std::size_t node) const { return links_[node]; }
  [[nodiscard]] std::shared_ptr<Connection> connect(std::size_t node);
  void set_blocked(std::size_t node, bool from_agent, bool from_head);
  /// Breaks what is open between that node and the head.
  void break_connections(std::size_t node, bool silently);
  void heal_all();

 private:
  struct Open {
    std::size_t node;
    std::weak_ptr<Connection> connection;
  };
  World& world_;
  std::vector<Link> links_;
  std::vector<Open> open_;
};

}  // namespace rtrain::sim
