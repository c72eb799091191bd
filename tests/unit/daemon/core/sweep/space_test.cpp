#include "daemon/core/sweep/space.h"
#include "tests/support/catch.h"

#include <cmath>
#include <set>

namespace space_test {

using namespace rtrain;
using namespace rtrain::core;
using proto::Domain;
using proto::DomainKind;
using proto::Json;
using proto::SweepParameter;

namespace {

Domain number(DomainKind kind, double low, double high, bool log = false, double step = 0) {
  Domain domain;
  domain.kind = kind, domain.low = low, domain.high = high, domain.log = log, domain.step = step;
  return domain;
}
Domain values(DomainKind kind, std::vector<Json> of) {
  Domain domain;
  domain.kind = kind, domain.values = std::move(of);
  return domain;
}
Domain normal(double mean, double sd) {
  Domain domain;
  domain.kind = DomainKind::kNormal, domain.mean = mean, domain.sd = sd;
  return domain;
}

Space wide() {
  return Space({{"batch", values(DomainKind::kOrdinal, {32, 64, 128}), {}},
                {"constant", values(DomainKind::kConstant, {"x"}), {}},
                {"depth", number(DomainKind::kInt, 1, 9, false, 2), {}},
                {"dropout", number(DomainKind::kFloat, 0, 0.5, false, 0.1), {}},
                {"lr", number(DomainKind::kFloat, 1e-5, 1e-1, true), {}},
                {"momentum", number(DomainKind::kFloat, 0.5, 0.99), proto::When{"optimizer", {"sgd"}}},
                {"noise", normal(3, 2), {}},
                {"optimizer", values(DomainKind::kChoice, {"adam", "sgd"}), {}},
                {"width", number(DomainKind::kInt, 8, 1024, true), {}}});
}

}  // namespace

TEST_CASE("space: a random point is in its domains and survives the way to JSON and back") {
  const auto space = wide();
  int with_momentum = 0;
  for (int trial = 0; trial < 300; ++trial) {
    const auto point = space.random(5, trial);
    CHECK((point[0] == 0 || point[0] == 1 || point[0] == 2));
    CHECK((point[2] >= 1 && point[2] <= 9 && std::fmod(point[2], 2) == 1));
    CHECK((point[4] >= 1e-5 && point[4] <= 1e-1));
    CHECK(std::isnan(point[5]) == (point[7] == 0));
    CHECK((point[8] >= 8 && point[8] <= 1024 && point[8] == std::floor(point[8])));
    with_momentum += std::isnan(point[5]) ? 0 : 1;
    const auto json = space.to_json(point);
    CHECK(json.at("constant") == "x");
    CHECK(json.contains("momentum") == (json.at("optimizer") == "sgd"));
    const auto again = space.point_of(json);
    REQUIRE(again.has_value());
    for (std::size_t i = 0; i < point.size(); ++i)
      if (!std::isnan(point[i])) CHECK((*again)[i] == Approx(point[i]).epsilon(1e-9));
  }
  CHECK((with_momentum > 100 && with_momentum < 200));
}

TEST_CASE("space: a trial draws the same whatever other trials there are") {
  const auto space = wide();
  const auto late = space.to_json(space.random(5, 9'999));
  CHECK(space.to_json(space.random(5, 9'999)) == late);
  CHECK(space.to_json(space.random(6, 9'999)) != late);
}

TEST_CASE("space: unit numbers cover a domain by its own measure") {
  const auto space = wide();
  CHECK(space[4].from_unit(0.5) == Approx(1e-3));
  CHECK(space[4].to_unit(1e-3) == Approx(0.5));
  // five values of equal width
  CHECK(space[2].count == 5);
  CHECK(space[2].from_unit(0.19) == 1);
  CHECK(space[2].from_unit(0.21) == 3);
  CHECK(space[2].from_unit(0.999999) == 9);
  CHECK(space[3].count == 6);
  CHECK(space[3].high == Approx(0.5));
  for (const std::size_t i : {2u, 3u, 4u, 6u, 8u})
    for (const double u : {0.05, 0.33, 0.71, 0.95})
      CHECK(space[i].from_unit(space[i].to_unit(space[i].from_unit(u))) ==
            Approx(space[i].from_unit(u)).epsilon(1e-12));
}

TEST_CASE("space: what is no point says why") {
  const auto space = wide();
  const Json good{{"batch", 64}, {"depth", 3},          {"dropout", 0.3}, {"lr", 0.01},
                  {"noise", 2},  {"optimizer", "adam"}, {"width", 100}};
  REQUIRE(space.point_of(good).has_value());
  const auto refusal = [&](const char* key, const Json& value) {
    Json bad = good;
    value.is_null() ? void(bad.erase(key)) : void(bad[key] = value);
    const auto point = space.point_of(bad);
    return point ? std::string("taken") : point.error().message();
  };
  CHECK(refusal("batch", 65) == "batch: 65 is not one of 32, 64, 128");
  CHECK(refusal("depth", 4) == "depth: 4 is no multiple of 2 from 1");
  CHECK(refusal("lr", 1) == "lr: 1 is not in [1e-05, 0.1]");
  CHECK(refusal("width", 9.5) == "width: 9.5 is no whole number");
  CHECK(refusal("width", nullptr) == "width: missing");
  CHECK(refusal("lrr", 1) == "lrr: no parameter of the sweep; did you mean lr?");
  CHECK(refusal("momentum", 0.9) == "momentum: is part of a trial only with another optimizer");
}

TEST_CASE("grid: every point exactly once, the first parameter slowest") {
  const Space space({{"a", values(DomainKind::kGrid, {"x", "y", "z"}), {}},
                     {"b", number(DomainKind::kInt, 1, 2), proto::When{"a", {"y", "z"}}},
                     {"c", values(DomainKind::kConstant, {7}), {}},
                     {"d", values(DomainKind::kChoice, {false, true}), {}}});
  const auto grid = Grid::of(space);
  REQUIRE(grid.has_value());
  CHECK(grid->size() == 2 + 4 + 4);
  std::vector<Json> points;
  for (std::int64_t i = 0; i < grid->size(); ++i) points.push_back(space.to_json(grid->point(i)));
  CHECK(std::set<Json>(points.begin(), points.end()).size() == points.size());
  CHECK(points[0] == Json{{"a", "x"}, {"c", 7}, {"d", false}});
  CHECK(points[2] == Json{{"a", "y"}, {"b", 1}, {"c", 7}, {"d", false}});
  CHECK(points[9] == Json{{"a", "z"}, {"b", 2}, {"c", 7}, {"d", true}});
}

TEST_CASE("grid: a continuous parameter and too many points are refused") {
  const auto refused = [](std::vector<SweepParameter> parameters) {
    const auto grid = Grid::of(Space(std::move(parameters)));
    return grid ? std::string("taken") : grid.error().message();
  };
  CHECK(refused({{"lr", number(DomainKind::kFloat, 0, 1), {}}}) ==
        "lr: a grid needs values; give it a step, or write choice or grid");
  CHECK(
      refused({{"a", number(DomainKind::kInt, 1, 1000), {}}, {"b", number(DomainKind::kInt, 1, 101), {}}}) ==
      "the grid has more than 100000 points; use random, sobol or tpe");
  CHECK(refused({{"a", number(DomainKind::kInt, 1, 1000), {}},
                 {"b", number(DomainKind::kInt, 1, 100), {}}}) == "taken");
}

TEST_CASE("sobol: a seed shifts it, and every 2^k points fill 2^k cells") {
  const Space space(
      {{"x", number(DomainKind::kFloat, 0, 1), {}}, {"y", number(DomainKind::kFloat, 0, 1), {}}});
  for (const std::uint64_t seed : {0ull, 1ull, 99ull}) {
    std::set<int> in_x, in_y;
    std::set<std::pair<int, int>> boxes;
    for (int i = 0; i < 64; ++i) {
      const auto point = sobol_point(space, seed, i);
      in_x.insert(static_cast<int>(point[0] * 64));
      in_y.insert(static_cast<int>(point[1] * 64));
      boxes.insert({static_cast<int>(point[0] * 8), static_cast<int>(point[1] * 8)});
    }
    CHECK(in_x.size() == 64);
    CHECK(in_y.size() == 64);
    CHECK(boxes.size() == 64);  // the two first dimensions are a (0, m, 2)-net
  }
  CHECK(sobol_point(space, 1, 5) == sobol_point(space, 1, 5));
  CHECK(sobol_point(space, 1, 5) != sobol_point(space, 2, 5));
}

}  // namespace space_test
