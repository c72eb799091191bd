#include "daemon/core/sweep/philox.h"
#include "daemon/core/sweep/normal.h"
#include "tests/support/catch.h"

#include <cmath>
#include <set>

namespace philox_test {

using namespace rtrain::core;

TEST_CASE("philox: the known answers of Random123") {
  CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) == PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  constexpr std::uint32_t kOnes = 0xffffffff;
  CHECK(philox4x32({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}) ==
        PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("draws: each key has a sequence of its own, the same every time") {
  std::set<double> seen;
  for (const std::uint64_t seed : {1ull, 2ull, 1ull << 40})
    for (const std::int64_t trial : {0, 1})
      for (const std::size_t parameter : {0u, 1u})
        for (const auto purpose : {Purpose::kPoint, Purpose::kKernel}) {
          Draws draws(seed, trial, parameter, purpose), again(seed, trial, parameter, purpose);
          for (int i = 0; i < 3; ++i) {
            const double u = draws.uniform();
            CHECK(u == again.uniform());
            CHECK((u >= 0 && u < 1));
            seen.insert(u);
          }
        }
  CHECK(seen.size() == 3 * 2 * 2 * 2 * 3);
}

TEST_CASE("draws: moments of uniform and normal numbers") {
  Draws uniform(7, 0, 0, Purpose::kPoint), normal(7, 0, 1, Purpose::kPoint);
  constexpr int kCount = 20'000;
  double sum = 0, squares = 0, normal_sum = 0, normal_squares = 0;
  for (int i = 0; i < kCount; ++i) {
    const double u = uniform.uniform(), z = normal.normal();
    sum += u, squares += u * u, normal_sum += z, normal_squares += z * z;
  }
  // five standard errors
  CHECK(sum / kCount == Approx(0.5).margin(5 * std::sqrt(1.0 / 12 / kCount)));
  CHECK(squares / kCount == Approx(1.0 / 3).margin(5 * std::sqrt(4.0 / 45 / kCount)));
  CHECK(normal_sum / kCount == Approx(0).margin(5 / std::sqrt(kCount)));
  CHECK(normal_squares / kCount == Approx(1).margin(5 * std::sqrt(2.0 / kCount)));
}

TEST_CASE("normal: masses and quantiles in the middle and in the tails") {
  CHECK(normal_cdf(0) == 0.5);
  CHECK(normal_cdf(1.959963984540054) == Approx(0.975).epsilon(1e-14));
  for (const double p : {1e-300, 1e-20, 0.01, 0.3, 0.5, 0.9, 0.999999})
    CHECK(normal_cdf(normal_quantile(p)) == Approx(p).epsilon(1e-12));
  // Mills' ratio: log P(Z < -x) = -x^2/2 - log(x sqrt(2 pi)) + log(1 - 1/x^2 + 3/x^4 - 15/x^6 + ...)
  CHECK(log_normal_cdf(-30) ==
        Approx(-450 - std::log(30 * std::sqrt(2 * 3.14159265358979323846)) +
               std::log(1 - 1 / 900.0 + 3 / 810000.0 - 15 / 729000000.0 + 105 / 656100000000.0))
            .epsilon(1e-14));
  CHECK(log_normal_cdf(-20.0000001) == Approx(log_normal_cdf(-19.9999999)).epsilon(1e-7));
  CHECK(log_normal_mass(-1, 1) == Approx(std::log(std::erf(1 / std::sqrt(2.0)))).epsilon(1e-14));
  CHECK(log_normal_mass(40, 41) == log_normal_mass(-41, -40));
  CHECK(log_normal_mass(40, 41) == Approx(log_normal_cdf(-40)).epsilon(1e-14));
}

}  // namespace philox_test
