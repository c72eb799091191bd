#include "daemon/core/placement.h"

#include "tests/support/catch.h"
#include "tests/support/jobs.h"

#include <algorithm>
#include <map>
#include <random>

namespace placement_test {

using namespace rtrain;
using namespace rtrain::core;
using namespace rtrain::test;
using proto::PlacementStrategy;
using proto::Resources;

namespace {

proto::ScalingConfig workers(int count, Resources each = {{"CPU", 1}},
                             PlacementStrategy strategy = PlacementStrategy::kPack) {
  proto::ScalingConfig scaling;
  scaling.num_workers = count;
  scaling.use_gpu = each.contains("GPU");
  scaling.resources_per_worker = std::move(each);
  scaling.placement_strategy = strategy;
  return scaling;
}

NodeView with_used(NodeView view, Resources used, std::set<int> gpus = {}) {
  view.used = std::move(used);
  view.gpus_used = std::move(gpus);
  return view;
}

/// "a a b": the node of each rank.
std::string where(const Placement& placement) {
  std::string text;
  for (const auto& rank : placement.ranks) text += (text.empty() ? "" : " ") + rank.node;
  return text;
}

bool mentions(const Placement& placement, const std::string& text) {
  UNSCOPED_INFO(placement.reason);
  return placement.reason.find(text) != std::string::npos;
}

constexpr auto kPack = PlacementStrategy::kPack, kSpread = PlacementStrategy::kSpread,
               kStrictPack = PlacementStrategy::kStrictPack, kStrictSpread = PlacementStrategy::kStrictSpread;

}  // namespace

TEST_CASE("placement: the four strategies on the same nodes") {
  struct Row {
    const char* name;
    PlacementStrategy strategy;
    int count;
    Resources each;
    std::vector<NodeView> nodes;
    const char* where;
  };
  const std::vector<NodeView> three{node("a", 2), node("b", 4), node("c", 3)};
  const std::vector<NodeView> equal{node("c", 2), node("a", 2), node("b", 2)};
  const std::vector<Row> rows{
      {"pack: the node it fills best", kPack, 3, {{"CPU", 1}}, three, "c c c"},
      {"pack: all of one", kPack, 4, {{"CPU", 1}}, three, "b b b b"},
      {"pack: fewest nodes, largest share first", kPack, 6, {{"CPU", 1}}, three, "b b b b a a"},
      {"pack: everything", kPack, 9, {{"CPU", 1}}, three, "b b b b c c c a a"},
      {"pack: too many", kPack, 10, {{"CPU", 1}}, three, ""},
      {"pack: ties go to the name", kPack, 2, {{"CPU", 1}}, equal, "a a"},
      {"pack: the busier of two that fit as well",
       kPack,
       1,
       {{"CPU", 1}},
       {node("a", 2), with_used(node("b", 3), {{"CPU", 1}})},
       "b"},
      {"spread: even counts", kSpread, 3, {{"CPU", 1}}, equal, "a b c"},
      {"spread: more than one round", kSpread, 5, {{"CPU", 1}}, equal, "a a b b c"},
      {"spread: the small node is full, the others take more",
       kSpread,
       8,
       {{"CPU", 1}},
       three,
       "a a b b b c c c"},
      {"spread: the emptiest first",
       kSpread,
       1,
       {{"CPU", 1}},
       {with_used(node("a", 4), {{"CPU", 2}}), node("b", 1)},
       "b"},
      {"spread: too many", kSpread, 10, {{"CPU", 1}}, three, ""},
      {"strict pack: one node", kStrictPack, 4, {{"CPU", 1}}, three, "b b b b"},
      {"strict pack: the tightest", kStrictPack, 2, {{"CPU", 1}}, three, "a a"},
      {"strict pack: no node is large enough", kStrictPack, 5, {{"CPU", 1}}, three, ""},
      {"strict spread: each its own", kStrictSpread, 3, {{"CPU", 1}}, three, "a b c"},
      {"strict spread: more workers than nodes", kStrictSpread, 4, {{"CPU", 1}}, three, ""},
      {"fractions of a CPU", kPack, 4, {{"CPU", 0.5}}, {node("a", 2)}, "a a a a"},
      {"fractions that do not fit", kPack, 5, {{"CPU", 0.5}}, {node("a", 2)}, ""},
      {"ten times a tenth", kPack, 10, {{"CPU", 0.1}}, {node("a", 1)}, "a a a a a a a a a a"},
      {"memory counts",
       kPack,
       2,
       {{"CPU", 1}, {"memory", 1e9}},
       {node("a", 8, 0, {{"memory", 1.5e9}}), node("b", 8, 0, {{"memory", 2e9}})},
       "b b"},
      {"a custom resource",
       kPack,
       2,
       {{"CPU", 1}, {"licence", 1}},
       {node("a", 8), node("b", 8, 0, {{"licence", 2}})},
       "b b"},
      {"nobody has the custom resource", kPack, 1, {{"CPU", 1}, {"licence", 1}}, {node("a", 8)}, ""},
      {"no nodes", kPack, 1, {{"CPU", 1}}, {}, ""},
      {"a GPU without a CPU", kPack, 2, {{"CPU", 0}, {"GPU", 1}}, {node("a", 64), node("b", 1, 2)}, "b b"},
  };
  for (const auto& row : rows) {
    INFO(row.name);
    const auto placement = place(workers(row.count, row.each, row.strategy), row.nodes);
    CHECK(where(placement) == row.where);
    CHECK(placement.reason.empty() == placement.placed());
    // The same nodes in another order: the same places.
    auto turned = row.nodes;
    std::ranges::reverse(turned);
    CHECK(where(place(workers(row.count, row.each, row.strategy), turned)) == row.where);
  }
}

TEST_CASE("placement: ranks are numbered node by node, GPUs by index") {
  const auto placement = place(workers(3, {{"GPU", 2}}),
                               {node("small", 8, 2), with_used(node("large", 8, 6), {{"GPU", 2}}, {0, 3})});
  REQUIRE(placement.ranks.size() == 3);
  const auto check = [&](std::size_t i, const char* name, int node_rank, int local_rank,
                         std::vector<int> gpus) {
    const auto& rank = placement.ranks[i];
    CHECK(rank.rank == static_cast<int>(i));
    CHECK(rank.node == name);
    CHECK(rank.node_rank == node_rank);
    CHECK(rank.local_rank == local_rank);
    CHECK(rank.gpus == gpus);
  };
  check(0, "large", 0, 0, {1, 2});
  check(1, "large", 0, 1, {4, 5});
  check(2, "small", 1, 0, {0, 1});
}

TEST_CASE("placement: GPUs are taken by their NVML index, whatever order the node told them in") {
  auto view = node("a", 8);
  view.info.resources["GPU"] = 2;
  view.info.gpus = {{7, "GPU-7", "x", 1}, {3, "GPU-3", "x", 1}};
  const auto placement = place(workers(2, {{"GPU", 1}}), {view});
  REQUIRE(placement.ranks.size() == 2);
  CHECK(placement.ranks[0].gpus == std::vector<int>{3});
  CHECK(placement.ranks[1].gpus == std::vector<int>{7});
}

TEST_CASE("placement: the reason names what is missing and where") {
  const auto busy = with_used(node("a", 4, 2), {{"CPU", 1}, {"GPU", 1}}, {0});
  auto lost = node("b", 8, 8), away = node("c", 8, 8);
  lost.alive = false;
  away.away = true;

  const auto gpus = place(workers(2, {{"CPU", 1}, {"GPU", 1}}), {busy, lost});
  CHECK_FALSE(gpus.placed());
  CHECK(gpus.feasible);
  CHECK(mentions(gpus, "needs 2 x {CPU: 1, GPU: 1}"));
  CHECK(mentions(gpus, "1 fits now"));
  CHECK(mentions(gpus, "node a has 1 of 2 GPU free"));
  CHECK(mentions(gpus, "node b is lost"));
  CHECK_FALSE(mentions(gpus, "of 4 CPU"));  // there are enough of those

  const auto waits = place(workers(8, {{"GPU", 1}}), {away});
  CHECK(waits.feasible);
  CHECK(mentions(waits, "node c is not connected at the moment"));

  const auto never = place(workers(3, {{"GPU", 1}}), {busy});
  CHECK_FALSE(never.feasible);
  CHECK(mentions(never, "more than the nodes in service have"));
  CHECK(mentions(never, "node a has 2 GPU"));

  const auto memory =
      place(workers(1, {{"memory", 2.0 * (1 << 30)}}), {node("m", 1, 0, {{"memory", 1.0 * (1 << 30)}})});
  CHECK_FALSE(memory.feasible);
  CHECK(mentions(memory, "memory: 2048 MiB"));
  CHECK(mentions(memory, "1024 MiB memory"));

  const auto custom = place(workers(1, {{"licence", 1}}), {node("a", 4)});
  CHECK(mentions(custom, "licence"));
  CHECK(mentions(place(workers(5, {{"CPU", 1}}, kStrictPack), {node("a", 4), node("b", 4)}),
                 "on one node (STRICT_PACK)"));
  CHECK(mentions(place(workers(2, {{"CPU", 1}}, kStrictSpread), {node("a", 4)}),
                 "each on its own node (STRICT_SPREAD)"));
  CHECK(mentions(place(workers(1), {}), "no node is connected"));

  std::vector<NodeView> many;
  for (int i = 10; i < 30; ++i) many.push_back(node("n" + std::to_string(i), 1));
  CHECK(mentions(place(workers(1, {{"CPU", 2}}), many), "and 12 more nodes"));
}

TEST_CASE("placement: a cordoned node takes nothing, and a GPU that is out of service is given to nobody") {
  auto cordoned = node("a", 4), ill = node("b", 4, 2);
  cordoned.cordoned = true;
  const auto refused = place(workers(1), {cordoned});
  CHECK_FALSE(refused.feasible);  // it blocks nobody who fits elsewhere
  CHECK(mentions(refused, "node a is cordoned"));
  ill.gpus_out = {0};
  const auto one = place(workers(1, {{"CPU", 1}, {"GPU", 1}}), {cordoned, ill});
  REQUIRE(one.placed());
  CHECK(one.ranks[0].gpus == std::vector{1});
  const auto two = place(workers(2, {{"CPU", 1}, {"GPU", 1}}), {cordoned, ill});
  CHECK_FALSE(two.placed());
  CHECK_FALSE(two.feasible);
}

TEST_CASE("placement: a lost node takes nothing and counts for nothing; one that is away may come back") {
  auto gone = node("a", 4);
  gone.alive = false;
  CHECK_FALSE(place(workers(1), {gone}).placed());
  CHECK_FALSE(place(workers(1), {gone}).feasible);
  auto away = node("a", 4);
  away.away = true;
  CHECK_FALSE(place(workers(1), {away}).placed());
  CHECK(place(workers(1), {away}).feasible);
}

TEST_CASE("placement: what is held is given back whole, though its node left") {
  std::vector<NodeView> nodes{node("a", 4, 2), node("b", 4)};
  const Resources each{{"CPU", 0.1}, {"GPU", 1}};
  const auto placement = place(workers(2, each), nodes);
  REQUIRE(placement.placed());
  hold(nodes, placement.ranks, each);
  CHECK(nodes[0].used.at("GPU") == 2);
  CHECK(nodes[0].gpus_used == std::set<int>{0, 1});
  CHECK(nodes[1].used.empty());
  release(nodes, placement.ranks, each);
  CHECK(nodes[0].used.empty());
  CHECK(nodes[0].gpus_used.empty());
  std::vector<NodeView> others{node("b", 4)};
  hold(others, placement.ranks, each);
  CHECK(others[0].used.empty());
}

TEST_CASE("placement: thousands of random arrivals and ends never take what is not there") {
  const unsigned seed = 20240607;
  std::mt19937 random(seed);
  INFO("seed " << seed);
  const auto pick = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  struct Held {
    std::vector<proto::RankPlacement> ranks;
    Resources each;
  };
  for (int cluster = 0; cluster < 40; ++cluster) {
    std::vector<NodeView> nodes;
    const int count = pick(1, 6);
    for (int i = 0; i < count; ++i)
      nodes.push_back(node("n" + std::to_string(i), pick(1, 16), pick(0, 8),
                           {{"memory", pick(1, 64) * 1e9}, {"licence", static_cast<double>(pick(0, 3))}}));
    std::vector<Held> running;
    for (int step = 0; step < 150; ++step) {
      if (!running.empty() && pick(0, 2) == 0) {
        const auto victim = running.begin() + pick(0, static_cast<int>(running.size()) - 1);
        release(nodes, victim->ranks, victim->each);
        running.erase(victim);
      } else {
        Resources each{{"CPU", pick(1, 8) / 4.0}};
        if (pick(0, 1) == 0) each["GPU"] = pick(1, 3);
        if (pick(0, 1) == 0) each["memory"] = pick(1, 16) * 1e9;
        if (pick(0, 3) == 0) each["licence"] = 1;
        const int wanted = pick(1, 8);
        const auto strategy = static_cast<PlacementStrategy>(pick(0, 3));
        const auto placement = place(workers(wanted, each, strategy), nodes);
        if (!placement.placed()) {
          REQUIRE_FALSE(placement.reason.empty());
          continue;
        }
        // All or nothing, each worker with all of its GPUs, on nodes as the strategy says.
        REQUIRE(placement.ranks.size() == static_cast<std::size_t>(wanted));
        std::map<std::string, int> shares;
        for (std::size_t i = 0; i < placement.ranks.size(); ++i) {
          REQUIRE(placement.ranks[i].rank == static_cast<int>(i));
          REQUIRE(placement.ranks[i].local_rank == shares[placement.ranks[i].node]++);
          REQUIRE(placement.ranks[i].gpus.size() ==
                  (each.contains("GPU") ? static_cast<std::size_t>(each["GPU"]) : 0));
        }
        if (strategy == kStrictPack) REQUIRE(shares.size() == 1);
        if (strategy == kStrictSpread) REQUIRE(shares.size() == placement.ranks.size());
        for (const auto& rank : placement.ranks)
          for (const int gpu : rank.gpus) {
            auto& owner = *std::ranges::find(nodes, rank.node, [](const NodeView& n) { return n.info.name; });
            REQUIRE_FALSE(owner.gpus_used.contains(gpu));
          }
        hold(nodes, placement.ranks, each);
        running.push_back({placement.ranks, each});
      }
      for (const auto& n : nodes) {
        std::size_t gpus = 0;
        for (const auto& held : running)
          for (const auto& rank : held.ranks)
            if (rank.node == n.info.name) gpus += rank.gpus.size();
        REQUIRE(n.gpus_used.size() == gpus);  // no GPU twice
        for (const auto& [name, used] : n.used) REQUIRE(used <= n.info.resources.at(name) + 1e-6);
      }
    }
    for (const auto& held : running) release(nodes, held.ranks, held.each);
    for (const auto& n : nodes) {
      REQUIRE(n.used.empty());
      REQUIRE(n.gpus_used.empty());
    }
  }
}

}  // namespace placement_test
