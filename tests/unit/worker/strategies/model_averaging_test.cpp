#include "tests/support/catch.h"
#include "tests/support/fake_ranks.h"

#include <rtrain/strategies.h>

#include <array>

namespace model_averaging_test {

using namespace rtrain;

namespace {

/// The value of rank r, which begins with r and adds r + 1 in each step, after each step.
std::vector<double> values_of_rank(int rank, ModelAverager& averager, int steps) {
  auto value = torch::full({3}, static_cast<double>(rank), torch::kFloat64);
  std::vector<double> seen;
  for (int step = 0; step < steps; ++step) {
    value.add_(rank + 1);
    (void)averager.average_parameters({value});
    seen.push_back(value[0].item<double>());
  }
  return seen;
}

}  // namespace

TEST_CASE("PeriodicModelAverager: averages in the first step after the warm-up and each period after it",
          "[unit][strategies]") {
  std::array<std::vector<double>, 2> seen;
  test::run_fake_ranks(2, [&](const std::shared_ptr<Communicator>& ranks) {
    PeriodicModelAverager averager(2, *ranks, 1);
    seen.at(static_cast<std::size_t>(ranks->rank())) = values_of_rank(ranks->rank(), averager, 5);
    if (averager.step() != 5) throw std::runtime_error("steps");
  });
  CHECK(seen[0] == std::vector<double>{1, 3.5, 4.5, 6.5, 7.5});
  CHECK(seen[1] == std::vector<double>{3, 3.5, 5.5, 6.5, 8.5});
}

TEST_CASE("HierarchicalModelAverager: the longest period that divides a step has its way",
          "[unit][strategies]") {
  std::array<std::vector<double>, 4> seen;
  std::array<std::vector<int>, 4> sizes;
  test::run_fake_ranks(4, [&](const std::shared_ptr<Communicator>& ranks) {
    const auto rank = static_cast<std::size_t>(ranks->rank());
    HierarchicalModelAverager averager({{1, 2}, {3, 4}}, *ranks, 1);
    auto value = torch::full({2}, static_cast<double>(rank), torch::kFloat64);
    for (int step = 0; step < 4; ++step) {
      sizes.at(rank).push_back(averager.average_parameters({value}));
      seen.at(rank).push_back(value[1].item<double>());
    }
  });
  for (const auto& own : sizes) CHECK(own == std::vector<int>{0, 2, 2, 4});
  CHECK(seen[0] == std::vector<double>{0, 0.5, 0.5, 1.5});
  CHECK(seen[3] == std::vector<double>{3, 2.5, 2.5, 1.5});
}

TEST_CASE("model averagers: parameters of several types keep theirs, and frozen counts are rank 0's",
          "[unit][strategies]") {
  test::run_fake_ranks(2, [&](const std::shared_ptr<Communicator>& ranks) {
    const double own = ranks->rank();
    const std::vector<torch::Tensor> values{torch::full({2}, own, torch::kFloat32),
                                            torch::full({2, 2}, own, torch::kFloat64),
                                            torch::full({2}, own, torch::kBFloat16),
                                            torch::complex(torch::full({2}, own), torch::full({2}, 2 * own)),
                                            torch::full({1}, ranks->rank() + 5, torch::kInt64)};
    PeriodicModelAverager averager(1, *ranks);
    (void)averager.average_parameters(values);
    for (int i = 0; i < 3; ++i)
      if (!values[static_cast<std::size_t>(i)].to(torch::kFloat64).eq(0.5).all().item<bool>())
        throw std::runtime_error("value " + std::to_string(i));
    if (!torch::real(values[3]).eq(0.5).all().item<bool>() ||
        !torch::imag(values[3]).eq(1).all().item<bool>())
      throw std::runtime_error("complex");
    if (values[4].item<std::int64_t>() != 5) throw std::runtime_error("count");
  });
}

TEST_CASE("model averagers: what does not fit is told at once", "[unit][strategies]") {
  auto alone = Communicator::alone();
  CHECK_THROWS_WITH(
      PeriodicModelAverager(0, *alone, -1),
      "PeriodicModelAverager: these arguments cannot be used:\n  period is 0, expected 1 or more\n"
      "  warmup_steps is -1, expected 0 or more");
  test::FakeCommunicator six(std::make_shared<test::FakeGroup>(6), 0);
  CHECK_THROWS_WITH(
      HierarchicalModelAverager({{2, 4}, {2, 3}}, six),
      Catch::Contains("the group_size of level 0 is 4, expected a divisor of the 6 ranks") &&
          Catch::Contains("the period of level 1 is 2, expected more than 2") &&
          Catch::Contains("the group_size of level 1 is 3, expected a divisor of the 6 ranks above 4") &&
          Catch::Contains("the last group_size is 3, expected all 6 ranks"));
  CHECK_THROWS_WITH(HierarchicalModelAverager({}, six), Catch::Contains("there is no level"));
}

}  // namespace model_averaging_test
