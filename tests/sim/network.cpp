#include "tests/sim/network.h"

#include <algorithm>

namespace rtrain::sim {

void Connection::attach(Side side, End end) { ends_[index(side)] = std::move(end); }

void Connection::send(Side from, std::shared_ptr<const proto::Message> message) {
  if (open_[index(from)] && !broken_) push(from, std::move(message));
}

void Connection::push(Side from, std::shared_ptr<const proto::Message> message) {
  auto& way = ways_[index(from)];
  auto& random = world_.random();
  // Mostly a fast network, with some stragglers.
  const double delay =
      (random.chance(0.02) ? random.between(0.01, 0.5) : random.between(0.0001, 0.003)) * link_.slowness;
  way.last_due = std::max(way.last_due, world_.now() + seconds(delay));
  way.packets.push_back({way.last_due, std::move(message)});
  arm(from);
}

void Connection::arm(Side from) {
  auto& way = ways_[index(from)];
  if (way.armed || way.packets.empty() || link_.blocked[index(from)]) return;
  way.armed = true;
  world_.at(way.packets.front().due, [self = shared_from_this(), from] {
    self->ways_[index(from)].armed = false;
    self->deliver(from);
  });
}

void Connection::deliver(Side from) {
  auto& way = ways_[index(from)];
  if (way.packets.empty() || link_.blocked[index(from)]) return;
  if (way.packets.front().due > world_.now()) return arm(from);
  const auto packet = std::move(way.packets.front());
  way.packets.pop_front();
  arm(from);
  const Side to = other(from);
  if (!packet.message) return end(to);
  if (!open_[index(to)]) return;
  if (auto& received = ends_[index(to)].received) received(*packet.message);
}

void Connection::end(Side at) {
  if (!open_[index(at)]) return;
  open_[index(at)] = false;
  if (const auto closed = std::move(ends_[index(at)].closed)) closed();
  ends_[index(at)] = {};
}

void Connection::close(Side from, bool reset) {
  if (!open_[index(from)]) return;
  open_[index(from)] = false;
  // Not now: it may be called from within what was received.
  world_.after(0, [self = shared_from_this(), from] { self->ends_[index(from)] = {}; });
  if (reset) ways_[index(from)].packets.clear();
  if (!broken_) push(from, nullptr);
}

void Connection::break_now(bool silently) {
  if (broken_) return;
  broken_ = true;
  for (auto& way : ways_) way.packets.clear();
  if (silently) return;
  for (const Side side : {Side::kAgent, Side::kHead})
    world_.after(seconds(world_.random().between(0.0, 0.5)),
                 [self = shared_from_this(), side] { self->end(side); });
}

void Connection::link_changed() {
  for (const Side side : {Side::kAgent, Side::kHead}) arm(side);
}

std::shared_ptr<Connection> Network::connect(std::size_t node) {
  std::erase_if(open_, [](const Open& open) { return open.connection.expired(); });
  auto connection = std::make_shared<Connection>(world_, links_[node]);
  open_.push_back({node, connection});
  return connection;
}

void Network::set_blocked(std::size_t node, bool from_agent, bool from_head) {
  links_[node].blocked[index(Side::kAgent)] = from_agent;
  links_[node].blocked[index(Side::kHead)] = from_head;
  for (const auto& open : open_)
    if (const auto connection = open.connection.lock(); connection && open.node == node)
      connection->link_changed();
}

void Network::break_connections(std::size_t node, bool silently) {
  for (const auto& open : open_)
    if (const auto connection = open.connection.lock(); connection && open.node == node)
      connection->break_now(silently);
}

void Network::heal_all() {
  for (std::size_t node = 0; node < links_.size(); ++node) {
    links_[node].slowness = 1;
    set_blocked(node, false, false);
  }
}

}  // namespace rtrain::sim
