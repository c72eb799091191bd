#include "worker/runtime/yield_point.h"

#include "tests/support/catch.h"

#include <map>
#include <memory>
#include <vector>

namespace yield_point_test {

using namespace rtrain;
using runtime::YieldPoint;

namespace {

class Store : public runtime::KeyValueStore {
 public:
  void set(const std::string& key, const std::string& value) override { values[key] = value; }
  std::optional<std::string> get(const std::string& key) override {
    return values.contains(key) ? std::optional(values[key]) : std::nullopt;
  }
  void remove(const std::string& key) override { values.erase(key); }
  std::map<std::string, std::string> values;
};

/// All ranks say where they are, then each learns where to stop.
void agree(Store& store, std::vector<std::unique_ptr<YieldPoint>>& ranks) {
  std::vector<YieldPoint::Place> places;
  for (auto& point : ranks) places.push_back(point->freeze());
  const auto world = static_cast<int>(ranks.size());
  const auto no_wait = [] { return false; };
  for (int rank = 1; rank < world; ++rank)
    CHECK_FALSE(runtime::agree_to_yield(store, rank, world, places[static_cast<std::size_t>(rank)], no_wait));
  for (int rank = 0; rank < world; ++rank) {
    const auto place =
        runtime::agree_to_yield(store, rank, world, places[static_cast<std::size_t>(rank)], no_wait);
    REQUIRE(place);
    ranks[static_cast<std::size_t>(rank)]->settle(*place);
  }
}

std::vector<std::unique_ptr<YieldPoint>> points(int count) {
  std::vector<std::unique_ptr<YieldPoint>> result;
  for (int i = 0; i < count; ++i) result.push_back(std::make_unique<YieldPoint>());
  return result;
}

}  // namespace

TEST_CASE("yield point: nobody stops before somebody asks", "[unit][runtime]") {
  YieldPoint point;
  for (int step = 0; step < 1000; ++step) CHECK_FALSE((point.next_step() || point.next_part()));
  CHECK_FALSE(point.asked());
  CHECK_FALSE(point.stopped());
}

TEST_CASE("yield point: ranks that are apart stop at the same step, the first that none has left",
          "[unit][runtime]") {
  auto ranks = points(3);
  const int ahead[] = {5, 9, 0};
  for (std::size_t rank = 0; rank < 3; ++rank)
    for (int step = 0; step < ahead[rank]; ++step) REQUIRE_FALSE(ranks[rank]->next_step());
  Store store;
  agree(store, ranks);
  for (std::size_t rank = 0; rank < 3; ++rank) {
    int steps = ahead[rank];
    while (!ranks[rank]->next_step()) ++steps;
    CHECK(steps == 9);
    CHECK(ranks[rank]->stopped());
    CHECK(ranks[rank]->next_step());  // and for good
  }
}

TEST_CASE("yield point: within a step that goes through parts, they stop at the same part",
          "[unit][runtime]") {
  auto ranks = points(2);
  for (auto& point : ranks) REQUIRE_FALSE(point->next_step());
  for (int part = 0; part < 3; ++part) REQUIRE_FALSE(ranks[0]->next_part());
  Store store;
  agree(store, ranks);
  int parts = 0;
  while (!ranks[1]->next_part()) ++parts;
  CHECK(parts == 3);
  CHECK(ranks[0]->next_part());
}

TEST_CASE("yield point: a rank in the parts of a step is behind one that has begun the next",
          "[unit][runtime]") {
  auto ranks = points(2);
  for (int part = 0; part < 7; ++part) REQUIRE_FALSE(ranks[0]->next_part());
  for (int part = 0; part < 8; ++part) REQUIRE_FALSE(ranks[1]->next_part());
  REQUIRE_FALSE(ranks[1]->next_step());
  Store store;
  agree(store, ranks);
  CHECK_FALSE(ranks[0]->next_part());
  CHECK_FALSE(ranks[0]->next_step());
  CHECK(ranks[0]->next_step());
  CHECK(ranks[1]->next_step());
}

TEST_CASE("yield point: a rank alone stops where it is", "[unit][runtime]") {
  YieldPoint point;
  REQUIRE_FALSE(point.next_step());
  point.settle(point.freeze());
  CHECK(point.next_step());
}

TEST_CASE("yield point: as long as a rank has not said where it is there is no agreement",
          "[unit][runtime]") {
  Store store;
  int looks = 0;
  CHECK_FALSE(runtime::agree_to_yield(store, 0, 2, 3, [&] { return ++looks < 5; }));
  CHECK(looks == 5);
  CHECK_FALSE(store.values.contains("yield/at"));
}

}  // namespace yield_point_test
