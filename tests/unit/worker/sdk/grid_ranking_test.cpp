#include "worker/sdk/grid_ranking.h"

#include "tests/support/catch.h"

#include <limits>
#include <stdexcept>

namespace grid_ranking_test {

using namespace rtrain::sdk;

namespace {

const double kNan = std::numeric_limits<double>::quiet_NaN();
const double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("grid ranking: best is the last value of those that came furthest, last that of all",
          "[unit][sdk]") {
  const std::vector<GridEntry> entries{{true, 0, {0.9, 0.1}},
                                       {true, 2, {0.05, 0.3}},
                                       {true, 2, {0.5, 0.2}},
                                       {false, 2, {0.01}},
                                       {true, 1, {}}};
  CHECK(best_entry(entries, GridScope::kBest, false) == 2);
  CHECK(best_entry(entries, GridScope::kBest, true) == 1);
  CHECK(best_entry(entries, GridScope::kLast, false) == 0);
  CHECK(best_entry(entries, GridScope::kAll, false) == 1);
  CHECK(best_entry(entries, GridScope::kAll, true) == 0);
}

TEST_CASE("grid ranking: what is no finite number is no value, and of equals the first is best",
          "[unit][sdk]") {
  const std::vector<GridEntry> entries{
      {true, -1, {0.1, kNan}}, {true, -1, {kInfinity}}, {true, -1, {0.5}}, {true, -1, {0.5}}};
  for (const auto scope : {GridScope::kBest, GridScope::kLast})
    for (const bool maximize : {false, true}) CHECK(best_entry(entries, scope, maximize) == 2);
  CHECK(best_entry(entries, GridScope::kAll, false) == 0);
  CHECK_FALSE(best_entry(std::span(entries).subspan(1, 1), GridScope::kAll, true).has_value());
  CHECK_FALSE(best_entry({}, GridScope::kBest, false).has_value());
}

TEST_CASE("grid ranking: names of scopes and modes", "[unit][sdk]") {
  CHECK(grid_scope("all") == GridScope::kAll);
  CHECK_THROWS_WITH(grid_scope("avg"), "get_best_result: scope \"avg\", expected best, last or all");
  CHECK(grid_maximizes("max"));
  CHECK_THROWS_WITH(grid_maximizes("least"), "get_best_result: mode \"least\", expected max or min");
}

}  // namespace grid_ranking_test
