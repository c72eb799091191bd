#include "daemon/core/gang.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace rtrain::core {
namespace {

using proto::PlacementStrategy;
using proto::TopologyLevel;
using proto::TopologyMode;

/// The first of those with room for `workers` at least.
auto first_with(const std::set<Room>& rooms, int workers) {
  return rooms.lower_bound(
      {workers, std::numeric_limits<double>::infinity(), std::numeric_limits<std::int64_t>::min(), 0});
}
auto first_with(const std::vector<Room>& rooms, int workers) {
  return std::ranges::lower_bound(rooms, workers, {}, &Room::capacity);
}

bool is_on(const Ask& ask, TopologyLevel level, TopologyMode mode) {
  return ask.topology && ask.topology->level == level && ask.topology->mode == mode;
}

/// The strategy once a required topology of one node is taken into account.
PlacementStrategy strategy_of(const Ask& ask) {
  return is_on(ask, TopologyLevel::kNode, TopologyMode::kRequired) ? PlacementStrategy::kStrictPack
                                                                   : ask.strategy;
}

template <class Rooms>
int most_anywhere(const Rooms& rooms, PlacementStrategy strategy, int enough) {
  if (rooms.empty()) return 0;
  if (strategy == PlacementStrategy::kStrictPack) return std::min(enough, rooms.rbegin()->capacity);
  if (strategy == PlacementStrategy::kStrictSpread)
    return static_cast<int>(std::min<std::size_t>(static_cast<std::size_t>(enough), rooms.size()));
  int sum = 0;
  for (auto room = rooms.rbegin(); room != rooms.rend() && sum < enough; ++room) sum += room->capacity;
  return std::min(enough, sum);
}

template <class Rooms>
std::vector<Share> pack(const Rooms& rooms, int workers) {
  std::vector<Share> shares;
  // [group, group_end): those with the most room of all that are left
  auto group_end = rooms.end(), group = rooms.end(), next = rooms.end();
  for (int left = workers; left > 0;) {
    if (next == group_end) {
      if (group == rooms.begin()) return {};
      group_end = group;
      next = group = first_with(rooms, std::prev(group)->capacity);
    }
    if (left > next->capacity) {  // a whole node
      shares.push_back({next->node, next->capacity});
      left -= next->capacity;
      ++next;
      continue;
    }
    auto tightest = first_with(rooms, left);
    if (tightest->capacity == next->capacity) tightest = next;
    shares.push_back({tightest->node, left});
    left = 0;
  }
  return shares;
}

template <class Rooms>
std::vector<Share> spread(const Rooms& rooms, int workers) {
  std::vector<Room> emptiest(rooms.begin(), rooms.end());
  const auto emptier = [](const Room& a, const Room& b) {
    return a.busy != b.busy ? a.busy < b.busy : a.order < b.order;
  };
  if (emptiest.size() > static_cast<std::size_t>(workers)) {
    std::ranges::nth_element(emptiest, emptiest.begin() + workers, emptier);
    emptiest.resize(static_cast<std::size_t>(workers));
  }
  std::ranges::sort(emptiest, emptier);
  std::vector<Share> shares;
  for (const auto& room : emptiest) shares.push_back({room.node, 0});
  for (int left = workers, round = 0; left > 0; ++round) {
    const int before = left;
    for (std::size_t i = 0; i < shares.size() && left > 0; ++i)
      if (shares[i].workers == round && round < emptiest[i].capacity) {
        ++shares[i].workers;
        --left;
      }
    if (left == before) return {};
  }
  return shares;
}

template <class Rooms>
std::vector<Share> choose_anywhere(const Rooms& rooms, PlacementStrategy strategy, int workers) {
  if (most_anywhere(rooms, strategy, workers) < workers) return {};
  switch (strategy) {
    case PlacementStrategy::kStrictPack: return {{first_with(rooms, workers)->node, workers}};
    case PlacementStrategy::kPack: return pack(rooms, workers);
    case PlacementStrategy::kSpread:
    case PlacementStrategy::kStrictSpread: return spread(rooms, workers);
  }
  return {};
}

template <class Rooms>
std::map<int, std::vector<Room>> by_rack(const Rooms& rooms, const NodeIndex& nodes) {
  std::map<int, std::vector<Room>> racks;
  for (const auto& room : rooms) racks[nodes[room.node].rack].push_back(room);
  return racks;
}

/// What one rack holds. As a Room its racks are packed like nodes; ties go to the rack with the first name.
template <class Rooms>
std::vector<Room> racks_of(const std::map<int, Rooms>& racks, PlacementStrategy strategy, int enough) {
  std::vector<Room> found;
  for (const auto& [rack, rooms] : racks) {
    std::int64_t first = std::numeric_limits<std::int64_t>::max();
    for (const auto& room : rooms) first = std::min(first, room.order);
    found.push_back({most_anywhere(rooms, strategy, enough), 0, first, rack});
  }
  std::sort(found.begin(), found.end());
  return found;
}

template <class Rooms>
std::vector<Share> choose_in_racks(const Rooms& rooms, const Ask& ask, int workers, const NodeIndex& nodes) {
  const auto strategy = strategy_of(ask);
  const auto racks = by_rack(rooms, nodes);
  const auto counted = racks_of(racks, strategy, workers);
  if (const auto rack = first_with(counted, workers); rack != counted.end())
    return choose_anywhere(racks.at(rack->node), strategy, workers);
  if (ask.topology->mode == TopologyMode::kRequired) return {};
  if (strategy != PlacementStrategy::kPack) return choose_anywhere(rooms, strategy, workers);
  std::vector<Share> shares;
  for (const auto& part : choose_anywhere(counted, PlacementStrategy::kPack, workers))
    for (const auto& share : pack(racks.at(part.node), part.workers)) shares.push_back(share);
  return shares;
}

template <class Rooms>
int most_of(const Rooms& rooms, const Ask& ask, int enough, const NodeIndex& nodes) {
  if (!is_on(ask, TopologyLevel::kRack, TopologyMode::kRequired))
    return most_anywhere(rooms, strategy_of(ask), enough);
  const auto racks = racks_of(by_rack(rooms, nodes), strategy_of(ask), enough);
  return racks.empty() ? 0 : racks.back().capacity;
}

template <class Rooms>
std::vector<Share> choose_of(const Rooms& rooms, const Ask& ask, int workers, const NodeIndex& nodes) {
  std::vector<Share> shares;
  if (ask.topology && ask.topology->level == TopologyLevel::kRack)
    shares = choose_in_racks(rooms, ask, workers, nodes);
  else {
    if (is_on(ask, TopologyLevel::kNode, TopologyMode::kPreferred))
      shares = choose_anywhere(rooms, PlacementStrategy::kStrictPack, workers);
    if (shares.empty()) shares = choose_anywhere(rooms, strategy_of(ask), workers);
  }
  if (strategy_of(ask) == PlacementStrategy::kPack)
    std::ranges::sort(shares, [&](const Share& a, const Share& b) {
      return a.workers != b.workers ? a.workers > b.workers : nodes[a.node].order < nodes[b.node].order;
    });
  return shares;
}

}  // namespace

int most(const std::set<Room>& rooms, const Ask& ask, int enough, const NodeIndex& nodes) {
  return most_of(rooms, ask, enough, nodes);
}
int most(const std::vector<Room>& rooms, const Ask& ask, int enough, const NodeIndex& nodes) {
  return most_of(rooms, ask, enough, nodes);
}
std::vector<Share> choose(const std::set<Room>& rooms, const Ask& ask, int workers, const NodeIndex& nodes) {
  return choose_of(rooms, ask, workers, nodes);
}
std::vector<Share> choose(const std::vector<Room>& rooms, const Ask& ask, int workers,
                          const NodeIndex& nodes) {
  return choose_of(rooms, ask, workers, nodes);
}

void keep_order(std::vector<Share>& shares, const std::vector<std::string>& last, const NodeIndex& nodes) {
  if (last.empty()) return;
  const auto place = [&](const Share& share) {
    return std::ranges::find(last, nodes[share.node].info.name) - last.begin();
  };
  std::ranges::stable_sort(shares, {}, place);
}

std::vector<proto::RankPlacement> ranks_of(const std::vector<Share>& shares, const Need& need,
                                           NodeIndex& index) {
  std::vector<proto::RankPlacement> ranks;
  const auto each = static_cast<std::size_t>(std::ceil(need.amounts.gpus));
  int node_rank = 0;
  for (const auto& share : shares) {
    const auto gpus = index.take(share.node, need, share.workers);
    for (int local = 0; local < share.workers; ++local) {
      const auto first = gpus.begin() + static_cast<std::ptrdiff_t>(each) * local;
      ranks.push_back({static_cast<int>(ranks.size()),
                       index[share.node].info.name,
                       node_rank,
                       local,
                       {first, first + static_cast<std::ptrdiff_t>(each)}});
    }
    ++node_rank;
  }
  return ranks;
}

}  // namespace rtrain::core
