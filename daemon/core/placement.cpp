#include "daemon/core/placement.h"

#include "daemon/core/shortage.h"

#include <algorithm>
#include <cmath>

namespace rtrain::core {

Placement place(const proto::ScalingConfig& scaling, const std::vector<NodeView>& nodes) {
  RequestBook book;
  NodeIndex index;
  Fit fit;
  for (const auto& node : nodes) index.set(node, book.resources());
  const auto& ask = book.ask(book.ask_of(scaling, {}, kNever));
  const auto& need = book.need(ask.need);
  fit.follow(index, need);
  auto rooms = std::vector<Room>(fit.rooms().begin(), fit.rooms().end());
  if (most(rooms, ask, ask.workers, index) < ask.workers) rooms = all_rooms(fit);
  const int workers = most(rooms, ask, ask.workers, index);
  Placement placement;
  if (workers < ask.least) {
    placement.feasible = most(idle_rooms(fit, index), ask, ask.least, index) >= ask.least;
    placement.reason = shortage(ask, book, fit, index, placement.feasible, 0);
    return placement;
  }
  placement.ranks = ranks_of(choose(rooms, ask, workers, index), need, index);
  return placement;
}

namespace {

void change(NodeView& node, const proto::RankPlacement& rank, const proto::Resources& per_worker,
            double sign) {
  for (const auto& [name, amount] : per_worker) {
    auto& used = node.used[name];
    used += sign * amount;
    if (std::abs(used) < kSlack) node.used.erase(name);
  }
  const auto wanted = per_worker.find("GPU");
  const bool shared = wanted != per_worker.end() && wanted->second < 1;
  for (const int gpu : rank.gpus) {
    if (!shared) {
      if (sign > 0)
        node.gpus_used.insert(gpu);
      else
        node.gpus_used.erase(gpu);
      continue;
    }
    auto& share = node.gpu_shares[gpu];
    share += sign * wanted->second;
    if (share >= kSlack) {
      node.gpus_used.insert(gpu);
      continue;
    }
    node.gpu_shares.erase(gpu);
    node.gpus_used.erase(gpu);
  }
}

void change(std::vector<NodeView>& nodes, const std::vector<proto::RankPlacement>& ranks,
            const proto::Resources& per_worker, double sign) {
  for (const auto& rank : ranks) {
    const auto node = std::ranges::find(nodes, rank.node, [](const NodeView& n) { return n.info.name; });
    // else the node left the cluster while its ranks were held
    if (node != nodes.end()) change(*node, rank, per_worker, sign);
  }
}

}  // namespace

void hold(NodeView& node, const proto::RankPlacement& rank, const proto::Resources& per_worker) {
  change(node, rank, per_worker, 1);
}
void release(NodeView& node, const proto::RankPlacement& rank, const proto::Resources& per_worker) {
  change(node, rank, per_worker, -1);
}
void hold(std::vector<NodeView>& nodes, const std::vector<proto::RankPlacement>& ranks,
          const proto::Resources& per_worker) {
  change(nodes, ranks, per_worker, 1);
}
void release(std::vector<NodeView>& nodes, const std::vector<proto::RankPlacement>& ranks,
             const proto::Resources& per_worker) {
  change(nodes, ranks, per_worker, -1);
}

}  // namespace rtrain::core
