// Against cmaes 0.13.1: tests/golden/sweep/trace_cmaes.py wrote its states.
#include "daemon/core/sweep/cmaes.h"
#include "tests/support/catch.h"
#include "tests/unit/daemon/core/sweep/golden.h"

#include <cmath>

namespace cmaes_test {

using namespace rtrain;
using namespace rtrain::core;
using proto::Json;

TEST_CASE("symmetric: eigenvectors rebuild the matrix") {
  constexpr std::size_t n = 7;
  Matrix a(n);
  Draws draws(1, 0, 0, Purpose::kPoint);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j <= i; ++j)
      a(i, j) = a(j, i) = draws.normal() * std::pow(10.0, -static_cast<double>(j));
  const auto eigen = eigen_of(a);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j) {
      double rebuilt = 0, product = 0;
      for (std::size_t k = 0; k < n; ++k) {
        rebuilt += eigen.vectors(i, k) * eigen.values[k] * eigen.vectors(j, k);
        product += eigen.vectors(k, i) * eigen.vectors(k, j);
      }
      CHECK(rebuilt == Approx(a(i, j)).margin(1e-13));
      CHECK(product == Approx(i == j ? 1 : 0).margin(1e-14));
    }
}

TEST_CASE("cmaes: mean, sigma and C of told generations are cmaes's") {
  const auto file = golden_file("cmaes.json");
  for (const auto& golden : file.at("cases")) {
    const auto dim = golden.at("dim").get<std::size_t>();
    const auto popsize = golden.at("popsize").get<int>();
    INFO(dim << " dimensions, " << popsize << " a generation");
    CmaEs strategy(dim, 0, dim == 3 ? popsize : 0);
    CHECK(strategy.popsize() == static_cast<std::size_t>(popsize));
    for (const auto& told : golden.at("generations")) {
      std::vector<std::pair<std::vector<double>, double>> solutions;
      for (std::size_t i = 0; i < strategy.popsize(); ++i)
        solutions.emplace_back(told.at("points")[i].get<std::vector<double>>(),
                               told.at("values")[i].get<double>());
      strategy.tell(solutions);
      constexpr double kClose = 1e-10;
      CHECK(strategy.sigma() == Approx(told.at("sigma").get<double>()).epsilon(kClose));
      for (std::size_t i = 0; i < dim; ++i) {
        CHECK(std::abs(strategy.mean()[i] - told.at("mean")[i].get<double>()) < kClose);
        CHECK(std::abs(strategy.sigma_path()[i] - told.at("p_sigma")[i].get<double>()) < kClose);
        CHECK(std::abs(strategy.c_path()[i] - told.at("pc")[i].get<double>()) < kClose);
        for (std::size_t j = 0; j < dim; ++j)
          CHECK(std::abs(strategy.covariance()(i, j) - told.at("C")[i][j].get<double>()) < kClose);
      }
    }
  }
}

TEST_CASE("cmaes: losses that are all alike leave its numbers finite") {
  CmaEs strategy(2, 1e-300, 6);
  for (int generation = 0; generation < 300; ++generation) {
    std::vector<std::pair<std::vector<double>, double>> solutions(6, {strategy.mean(), 0.0});
    strategy.tell(std::move(solutions));
    CHECK(strategy.sigma() >= 1e-12);
    for (const double x : strategy.ask(1, generation)) CHECK(std::isfinite(x));
  }
}

TEST_CASE("cmaes: the first results of a generation make the next, late ones count in none") {
  const auto space = space_of(Json{{"x", {{"float", {0, 10}}}}, {"k", {{"int", {1, 64}}, {"log", true}}}});
  CmaEsSearch search(space, {});
  const auto popsize = search.strategy().popsize();
  std::vector<Point> first;
  for (std::size_t i = 0; i < popsize + 3; ++i)
    first.push_back(search.suggest(space, 1, static_cast<int>(i)));
  for (const auto& point : first) CHECK(space.point_of(space.to_json(point)).has_value());
  for (std::size_t i = 0; i < popsize; ++i) {
    CHECK(search.generation() == 0);
    search.on_loss(space, first[i], 0, first[i][1]);
  }
  CHECK(search.generation() == 1);
  const auto mean = search.strategy().mean();
  for (std::size_t i = popsize; i < first.size(); ++i) search.on_loss(space, first[i], 0, -100);
  CHECK(search.generation() == 1);
  CHECK(search.strategy().mean() == mean);
}

}  // namespace cmaes_test
