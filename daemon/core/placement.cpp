#include "daemon/core/placement.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <sstream>

namespace rtrain::core {
namespace {

using namespace proto;

/// A hair of slack: resource amounts are doubles that were added and taken away many times.
constexpr double kSlack = 1e-6;

std::string amount_words(const std::string& name, double amount) {
  std::ostringstream out;
  if (name == "memory") out << name << ": " << std::round(amount / (1 << 20)) << " MiB";
  else out << name << ": " << amount;
  return out.str();
}

std::string need_words(const Resources& need) {
  std::string text;
  for (const auto& [name, amount] : need) text += (text.empty() ? "" : ", ") + amount_words(name, amount);
  return "{" + text + "}";
}

double amount_of(const Resources& resources, const std::string& name) {
  const auto found = resources.find(name);
  return found == resources.end() ? 0 : found->second;
}

double free_of(const NodeView& node, const std::string& name, bool idle) {
  const double total = amount_of(node.info.resources, name);
  return idle ? total : total - amount_of(node.used, name);
}

std::vector<int> free_gpus(const NodeView& node, bool idle) {
  std::vector<int> result;
  for (const auto& gpu : node.info.gpus)
    if (idle || !node.gpus_used.contains(gpu.index)) result.push_back(gpu.index);
  std::ranges::sort(result);
  return result;
}

/// How many workers a node can take.
int capacity(const NodeView& node, const Resources& need, bool idle) {
  if (!node.alive || (node.away && !idle)) return 0;
  double workers = std::numeric_limits<int>::max();
  for (const auto& [name, amount] : need) workers = std::min(workers, std::floor((free_of(node, name, idle) + kSlack) / amount));
  if (const double gpus = amount_of(need, "GPU"); gpus > 0)
    workers = std::min(workers, std::floor(static_cast<double>(free_gpus(node, idle).size()) / gpus));
  return static_cast<int>(std::max(0.0, workers));
}

struct Share { const NodeView* node; int workers; };

/// How many workers go to which node, in node order; empty when they do not all fit.
std::vector<Share> shares(const ScalingConfig& scaling, const std::vector<NodeView>& nodes, const Resources& need, bool idle, bool suspected_too = true) {
  struct Room { const NodeView* node; int capacity; double used; int taken = 0; };
  std::vector<Room> rooms;
  for (const auto& node : nodes)
    if (const int room = suspected_too || node.suspicion == 0 ? capacity(node, need, idle) : 0; room > 0)
      rooms.push_back({&node, room, idle ? 0 : amount_of(node.used, "GPU") * 1e6 + amount_of(node.used, "CPU")});
  std::ranges::sort(rooms, {}, [](const Room& r) { return r.node->info.name; });
  const int workers = scaling.num_workers;
  int left = workers;

  const auto total = std::accumulate(rooms.begin(), rooms.end(), std::int64_t{0}, [](std::int64_t sum, const Room& r) { return sum + r.capacity; });
  switch (scaling.placement_strategy) {
    case PlacementStrategy::kStrictPack:
    case PlacementStrategy::kPack: {
      if (total < workers) return {};
      // Fewest nodes: always the largest that is still needed whole; the rest goes to the node it fits most tightly.
      while (left > 0) {
        Room* best = nullptr;
        for (auto& room : rooms) {
          if (room.taken > 0) continue;
          const bool fits = room.capacity >= left, best_fits = best != nullptr && best->capacity >= left;
          if (best == nullptr || (fits && !best_fits) ||
              (fits && best_fits && (room.capacity < best->capacity || (room.capacity == best->capacity && room.used > best->used))) ||
              (!fits && !best_fits && room.capacity > best->capacity))
            best = &room;
        }
        if (best == nullptr || (scaling.placement_strategy == PlacementStrategy::kStrictPack && best->capacity < workers)) return {};
        best->taken = std::min(left, best->capacity);
        left -= best->taken;
      }
      std::ranges::stable_sort(rooms, std::greater{}, &Room::taken);
      break;
    }
    case PlacementStrategy::kStrictSpread:
    case PlacementStrategy::kSpread: {
      const bool strict = scaling.placement_strategy == PlacementStrategy::kStrictSpread;
      if (strict ? static_cast<int>(rooms.size()) < workers : total < workers) return {};
      // Emptiest nodes first, one worker a round.
      std::ranges::stable_sort(rooms, {}, &Room::used);
      for (int round = 0; left > 0; ++round)
        for (auto& room : rooms)
          if (left > 0 && room.taken == round && room.taken < room.capacity) {
            ++room.taken;
            --left;
          }
      break;
    }
  }
  std::vector<Share> result;
  for (const auto& room : rooms)
    if (room.taken > 0) result.push_back({room.node, room.taken});
  return result;
}

/// How many workers of the job fit now, where not all do.
int fitting(const ScalingConfig& scaling, const std::vector<NodeView>& nodes, const Resources& need) {
  std::int64_t fit = 0;
  for (const auto& node : nodes) {
    const std::int64_t room = capacity(node, need, false);
    if (scaling.placement_strategy == PlacementStrategy::kStrictPack) fit = std::max(fit, room);
    else fit += scaling.placement_strategy == PlacementStrategy::kStrictSpread ? std::min<std::int64_t>(room, 1) : room;
  }
  return static_cast<int>(std::min<std::int64_t>(fit, scaling.num_workers));
}

/// "1 of 2 GPU", "512 of 4096 MiB memory"; of an idle node "2 GPU".
std::string stock_words(const NodeView& node, const std::string& name, bool idle) {
  const double scale = name == "memory" ? 1 << 20 : 1;
  const auto shown = [&](double amount) { return name == "memory" ? std::floor(amount / scale) : std::round(amount * 1000) / 1000; };
  std::ostringstream out;
  out << shown(std::max(0.0, free_of(node, name, idle)));
  if (!idle) out << " of " << shown(amount_of(node.info.resources, name));
  out << (name == "memory" ? " MiB memory" : " " + name);
  return out.str();
}

/// "node a has 1 of 2 GPU free; node b is lost": of each node what it has least of, by the workers it would hold.
std::string shortage(const std::vector<NodeView>& nodes, const Resources& need, bool idle) {
  if (nodes.empty()) return "no node is connected";
  std::string text;
  int shown = 0;
  for (const auto& node : nodes) {
    if (++shown > 8) return text + "; and " + std::to_string(nodes.size() - 8) + " more nodes";
    text += (text.empty() ? "" : "; ") + std::string("node ") + node.info.name;
    if (!node.alive || (node.away && !idle)) {
      text += node.alive ? " is not connected at the moment" : " is lost";
      continue;
    }
    const int room = capacity(node, need, idle);
    std::string parts;
    for (const auto& [name, amount] : need)
      if (std::floor((free_of(node, name, idle) + kSlack) / amount) <= room) parts += (parts.empty() ? "" : ", ") + stock_words(node, name, idle);
    text += " has " + parts + (idle ? "" : " free");
  }
  return text;
}

std::string where_words(PlacementStrategy strategy) {
  if (strategy == PlacementStrategy::kStrictPack) return " on one node (STRICT_PACK)";
  if (strategy == PlacementStrategy::kStrictSpread) return ", each on its own node (STRICT_SPREAD)";
  return "";
}

void change(std::vector<NodeView>& nodes, const std::vector<RankPlacement>& ranks, const Resources& per_worker, double sign) {
  for (const auto& rank : ranks) {
    const auto node = std::ranges::find(nodes, rank.node, [](const NodeView& n) { return n.info.name; });
    if (node == nodes.end()) continue;  // the node left the cluster while its ranks were held
    for (const auto& [name, amount] : per_worker) {
      auto& used = node->used[name];
      used += sign * amount;
      if (std::abs(used) < kSlack) node->used.erase(name);
    }
    for (const int gpu : rank.gpus) {
      if (sign > 0) node->gpus_used.insert(gpu);
      else node->gpus_used.erase(gpu);
    }
  }
}

}  // namespace

Placement place(const ScalingConfig& scaling, const std::vector<NodeView>& nodes) {
  const Resources need = scaling.resources();
  Placement placement;
  auto found = shares(scaling, nodes, need, false, false);
  if (found.empty() && std::ranges::any_of(nodes, [](const NodeView& node) { return node.suspicion > 0; })) found = shares(scaling, nodes, need, false);
  if (found.empty()) {
    placement.feasible = !shares(scaling, nodes, need, true).empty();
    const std::string wanted = "needs " + std::to_string(scaling.num_workers) + " x " + need_words(need) + where_words(scaling.placement_strategy);
    const int fit = placement.feasible ? fitting(scaling, nodes, need) : 0;
    const std::string now = fit == 0 ? ", none fits now; " : ", " + std::to_string(fit) + (fit == 1 ? " fits now; " : " fit now; ");
    placement.reason = placement.feasible ? wanted + now + shortage(nodes, need, false)
                                          : wanted + ", more than the cluster has: " + shortage(nodes, need, true);
    return placement;
  }
  const auto gpus_each = static_cast<std::size_t>(amount_of(need, "GPU"));
  int rank = 0, node_rank = 0;
  for (const auto& share : found) {
    const auto gpus = free_gpus(*share.node, false);
    for (int local = 0; local < share.workers; ++local) {
      const auto first = gpus.begin() + static_cast<std::ptrdiff_t>(gpus_each) * local;
      placement.ranks.push_back({rank++, share.node->info.name, node_rank, local, {first, first + static_cast<std::ptrdiff_t>(gpus_each)}});
    }
    ++node_rank;
  }
  return placement;
}

void hold(std::vector<NodeView>& nodes, const std::vector<RankPlacement>& ranks, const Resources& per_worker) { change(nodes, ranks, per_worker, 1); }
void release(std::vector<NodeView>& nodes, const std::vector<RankPlacement>& ranks, const Resources& per_worker) {
  change(nodes, ranks, per_worker, -1);
}

}  // namespace rtrain::core
