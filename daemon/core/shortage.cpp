#include "daemon/core/shortage.h"

#include <algorithm>
#include <cmath>
#include <sstream>

namespace rtrain::core {
namespace {

using proto::PlacementStrategy;

constexpr int kNodesShown = 8;
constexpr std::size_t kKindsShown = 8;  // of resources: a reason is read in a line
constexpr double kMiB = 1 << 20;

std::string amount_words(const std::string& name, double amount) {
  std::ostringstream out;
  if (name == "memory")
    out << name << ": " << std::round(amount / kMiB) << " MiB";
  else
    out << name << ": " << amount;
  return out.str();
}

std::string need_words(const Ask& ask, const Need& need, const RequestBook& book) {
  std::string text = ask.least < ask.workers ? std::to_string(ask.least) + " to " : "";
  text += std::to_string(ask.workers) + " x {";
  std::size_t kinds = 0;
  for (const auto& [name, amount] : need.resources)
    if (++kinds <= kKindsShown) text += (text.ends_with('{') ? "" : ", ") + amount_words(name, amount);
  if (kinds > kKindsShown) text += ", and " + std::to_string(kinds - kKindsShown) + " more";
  text += "}";
  if (!need.accelerator.empty()) text += " with " + need.accelerator;
  if (!need.selector.empty()) text += " where " + to_string(need.selector);
  if (need.reservation >= 0) text += " within the reservation " + book.reservation_name(need.reservation);
  if (ask.strategy == PlacementStrategy::kStrictPack)
    text += " on one node (STRICT_PACK)";
  else if (ask.strategy == PlacementStrategy::kStrictSpread)
    text += ", each on its own node (STRICT_SPREAD)";
  else if (ask.topology && ask.topology->mode == proto::TopologyMode::kRequired)
    text += ask.topology->level == proto::TopologyLevel::kRack ? " in one rack" : " on one node";
  return text;
}

/// "1 of 2 GPU", "512 of 4096 MiB memory"; of an idle node "2 GPU".
std::string stock_words(const IndexedNode& node, const std::string& name, int resource, bool idle) {
  const double scale = name == "memory" ? kMiB : 1;
  const auto shown = [&](double amount) {
    return name == "memory" ? std::floor(amount / scale) : std::round(amount * 1000) / 1000;
  };
  std::ostringstream out;
  out << shown(std::max(0.0, (idle ? node.total : node.free).amount(resource)));
  if (!idle) out << " of " << shown(node.total.amount(resource));
  out << (name == "memory" ? " MiB memory" : " " + name);
  return out.str();
}

/// Why nothing of the need can be there at all; "" when its amounts decide.
std::string bar_words(const IndexedNode& node, const Need& need, int could_hold, bool idle) {
  if (!node.alive) return "is lost";
  if (node.cordoned) return "is cordoned";
  if (node.away && !idle) return "is not connected at the moment";
  if (!idle && node.reserved != need.reservation)
    return node.reserved >= 0 ? "is reserved" : "is not in the reservation yet";
  if (could_hold == 0 && node.total.capacity(need.amounts) > 0) return "is not one that it may run on";
  return "";
}

/// The reservation of others that the job would run into on this node.
const Window* in_the_way(const IndexedNode& node, const Ask& ask, const Need& need, proto::UnixMs now) {
  const auto end_ms = ask.limit_ms == kNever ? kNever : now + ask.limit_ms;
  const auto found = std::ranges::find_if(node.windows, [&](const Window& window) {
    return window.reservation != need.reservation && window.start_ms > now && window.start_ms < end_ms;
  });
  return found == node.windows.end() ? nullptr : &*found;
}

std::string window_words(const Window& window, const Ask& ask, const RequestBook& book) {
  return "is kept for the reservation " + book.reservation_name(window.reservation) + " from " +
         proto::rfc3339(window.start_ms) + " on, which the job " +
         (ask.limit_ms == kNever ? "could run into: it has no time limit"
                                 : "would run into with its time limit");
}

}  // namespace

std::vector<Room> all_rooms(const Fit& fit) {
  std::vector<Room> rooms(fit.rooms().begin(), fit.rooms().end());
  rooms.insert(rooms.end(), fit.suspected().begin(), fit.suspected().end());
  if (!fit.suspected().empty()) std::sort(rooms.begin(), rooms.end());
  return rooms;
}

std::vector<Room> idle_rooms(const Fit& fit, const NodeIndex& nodes) {
  std::vector<Room> rooms;
  for (NodeId id = 0; id < nodes.size(); ++id)
    if (const int capacity = fit.idle(id); capacity > 0) rooms.push_back({capacity, 0, nodes[id].order, id});
  std::sort(rooms.begin(), rooms.end());
  return rooms;
}

std::string shortage(const Ask& ask, const RequestBook& book, const Fit& fit, const NodeIndex& nodes,
                     bool feasible, proto::UnixMs now) {
  const auto& need = book.need(ask.need);
  std::string text = "needs " + need_words(ask, need, book);
  const bool idle = !feasible;
  auto rooms = all_rooms(fit);
  std::erase_if(rooms,
                [&](const Room& room) { return in_the_way(nodes[room.node], ask, need, now) != nullptr; });
  if (idle)
    text += ", more than the nodes in service have: ";
  else if (const int fits = most(rooms, ask, ask.workers, nodes); fits == 0)
    text += ", none fits now; ";
  else
    text += ", " + std::to_string(fits) + (fits == 1 ? " fits now; " : " fit now; ");
  if (nodes.size() == 0) return text + "no node is connected";
  int shown = 0;
  for (const auto& [name, id] : nodes.by_name()) {
    if (shown == kNodesShown)
      return text + "; and " + std::to_string(nodes.size() - kNodesShown) + " more nodes";
    text += (shown++ == 0 ? "node " : "; node ") + name;
    const auto& node = nodes[id];
    if (const auto bar = bar_words(node, need, fit.idle(id), idle); !bar.empty()) {
      text += " " + bar;
      continue;
    }
    if (const auto* window = idle || fit.now(id) == 0 ? nullptr : in_the_way(node, ask, need, now)) {
      text += " " + window_words(*window, ask, book);
      continue;
    }
    const auto& stock = idle ? node.total : node.free;
    const int room = stock.capacity(need.amounts);
    std::string parts;
    std::size_t i = 0, kinds = 0;
    for (const auto& [resource, amount] : need.resources) {
      const int number = need.amounts.each[i++].first;
      if (std::floor((stock.amount(number) + kSlack) / amount) <= room && ++kinds <= kKindsShown)
        parts += (parts.empty() ? "" : ", ") + stock_words(node, resource, number, idle);
    }
    text += parts.empty() ? " has no GPU free that is in service" : " has " + parts + (idle ? "" : " free");
  }
  return text;
}

}  // namespace rtrain::core
