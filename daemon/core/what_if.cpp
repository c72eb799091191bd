#include "daemon/core/what_if.h"

#include <algorithm>

namespace rtrain::core {

WhatIf::WhatIf(const NodeIndex& nodes, const RequestBook& book, const Claims& claims, const Fit& fit, int ask,
               proto::UnixMs now)
    : nodes_(nodes),
      book_(book),
      claims_(claims),
      fit_(fit),
      ask_(book.ask(ask)),
      need_(book.need(ask_.need)),
      now_(now),
      rooms_(fit.rooms()),
      by_rack_(ask_.topology && ask_.topology->level == proto::TopologyLevel::kRack &&
               ask_.topology->mode == proto::TopologyMode::kRequired) {
  rooms_.insert(fit.suspected().begin(), fit.suspected().end());
  for (const auto& room : rooms_) {
    total_ += room.capacity;
    if (by_rack_) rack_total_[nodes[room.node].rack] += room.capacity;
  }
  promising_ = total_ >= ask_.least;
  if (!claims.any()) return;
  std::vector<NodeId> with_room;
  for (const auto& room : rooms_)
    if (claims.is_closed(room.node) || claims.on(room.node) != nullptr || !nodes[room.node].windows.empty())
      with_room.push_back(room.node);
  for (const auto node : with_room) look(node);
  promising_ = total_ >= ask_.least;
}

bool WhatIf::usable(NodeId id) const {
  const auto& node = nodes_[id];
  if (fit_.idle(id) == 0 || node.away || claims_.is_closed(id)) return false;
  const proto::UnixMs ends = ask_.limit_ms == kNever ? kNever : now_ + ask_.limit_ms;
  bool within = need_.reservation < 0;
  for (const auto& window : node.windows) {
    if (window.end_ms <= now_) continue;
    if (window.reservation == need_.reservation)
      within = within || window.start_ms <= now_;
    else if (window.start_ms < ends)
      return false;
  }
  return within;
}

Stock WhatIf::stock(NodeId node) const {
  const auto changed = changed_.find(node);
  Stock stock = changed == changed_.end() ? nodes_[node].free : changed->second;
  if (const auto* claims = claims_.on(node))
    for (const auto& held : *claims) {
      const auto& claim = claims_.all()[static_cast<std::size_t>(held.claim)];
      if (claim.until_ms > now_) stock.take(book_.need(claim.need).amounts, held.workers);
    }
  return stock;
}

int WhatIf::capacity(NodeId node) const {
  if (!usable(node)) return 0;
  const auto* claims = claims_.on(node);
  const auto changed = changed_.find(node);
  const Stock& free = changed == changed_.end() ? nodes_[node].free : changed->second;
  if (claims == nullptr) return free.capacity(need_.amounts);
  Stock stock = free;
  for (const auto& held : *claims) {
    const auto& claim = claims_.all()[static_cast<std::size_t>(held.claim)];
    if (claim.until_ms <= now_) continue;
    const auto& amounts = book_.need(claim.need).amounts;
    if (stock.capacity(amounts) < held.workers) return 0;  // not even the claim fits yet
    stock.take(amounts, held.workers);
  }
  return stock.capacity(need_.amounts);
}

void WhatIf::look(NodeId node) { set(node, capacity(node)); }

void WhatIf::set(NodeId id, int capacity) {
  const auto known = capacity_.find(id);
  const int before = known == capacity_.end() ? fit_.now(id) : known->second;
  if (before == capacity) return;
  const auto& node = nodes_[id];
  if (before > 0) rooms_.erase({before, node.busy, node.order, id});
  if (capacity > 0) rooms_.insert({capacity, node.busy, node.order, id});
  capacity_[id] = capacity;
  total_ += capacity - before;
  if (!by_rack_) {
    promising_ = total_ >= ask_.least;
    return;
  }
  auto& rack = rack_total_[node.rack];
  rack += capacity - before;
  promising_ = promising_ || rack >= ask_.least;
}

void WhatIf::change(const Running& running, bool back) {
  const auto& amounts = book_.need(book_.ask(running.ask).need).amounts;
  if (by_rack_) promising_ = false;
  for (const auto& hold : running.holds) {
    auto& stock = changed_.try_emplace(hold.node, nodes_[hold.node].free).first->second;
    if (back)
      stock.give(amounts, hold.workers, hold.gpus);
    else
      stock.take(amounts, hold.workers, hold.gpus);
    if (fit_.idle(hold.node) > 0) look(hold.node);
  }
  if (by_rack_ && !back) promising_ = total_ >= ask_.least;  // it may be another rack that has room
}

std::optional<Foreseen> foresee(WhatIf& what_if, const RunningJobs& running, const NodeIndex& nodes,
                                const Claims& claims, const Ask& ask, proto::UnixMs now) {
  // Besides the ends of jobs: the ends of claims and reservations, on the nodes that they are of.
  std::vector<std::pair<proto::UnixMs, NodeId>> others;
  for (const auto id : nodes.windowed())
    for (const auto& window : nodes[id].windows)
      for (const auto at : {window.start_ms, window.end_ms})
        if (at > now) others.emplace_back(at, id);
  claims.for_each_end([&](proto::UnixMs at, NodeId node) { others.emplace_back(at, node); });
  // Of what happens at once the order is that of names: places must not hang on the order in which nodes were
  // told.
  std::sort(others.begin(), others.end(), [&](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : nodes[a.second].order < nodes[b.second].order;
  });
  const auto found = [&](proto::UnixMs at) -> std::optional<Foreseen> {
    if (!what_if.fits()) return std::nullopt;
    return Foreseen{std::max(at, now + 1), what_if.choose(ask.least)};
  };
  if (auto already = found(now)) return already;
  auto other = others.begin();
  auto end = running.by_end().begin();
  while (end != running.by_end().end() || other != others.end()) {
    const bool is_other =
        end == running.by_end().end() || (other != others.end() && other->first <= end->first);
    const auto at = is_other ? other->first : end->first;
    what_if.pass_time(std::max(at, now));
    if (is_other)
      what_if.look((other++)->second);
    else
      what_if.give_back(*running.find((end++)->second));
    if (auto then = found(at)) return then;
  }
  return std::nullopt;
}

}  // namespace rtrain::core
