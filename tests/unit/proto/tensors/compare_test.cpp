#include "proto/tensors/compare.h"

#include "tests/support/tensor_files.h"

#include <cmath>

namespace compare_test {

using namespace rtrain;
using namespace rtrain::tensors;

namespace {

template <class A, class B>
Distance distance(const std::string& type_a, const std::vector<A>& a, const std::string& type_b,
                  const std::vector<B>& b, const Tolerance& tolerance = {}) {
  const test::TempDir dir;
  const auto count = static_cast<std::int64_t>(a.size());
  const auto found = compare(test::make_tensor(dir, "a", type_a, {count}, a),
                             test::make_tensor(dir, "b", type_b, {count}, b), tolerance);
  REQUIRE(found.has_value());
  return *found;
}

}  // namespace

TEST_CASE("compare: the largest distances", "[unit][proto]") {
  auto found = distance<float, float>("F32", {1, 2, 100}, "F32", {1, 2.5, 101});
  CHECK(found.differing == 2);
  CHECK(found.max_abs == 1);
  CHECK(found.max_rel == Approx(0.2));
  found = distance<float, float>("F32", {1, NAN}, "F32", {1, NAN});
  CHECK(found.differing == 0);
  found = distance<float, float>("F32", {1, NAN}, "F32", {1, 3});
  CHECK(found.differing == 1);
  CHECK(std::isinf(found.max_abs));
  found = distance<float, float>("F32", {0.0F}, "F32", {-0.0F});
  CHECK(found.differing == 0);
}

TEST_CASE("compare: what is within a tolerance is the same, and its distance is told", "[unit][proto]") {
  const std::vector<float> a{1, 200, 0}, b{1.25F, 202, 0.125F};
  auto found = distance<float, float>("F32", a, "F32", b, {.rtol = 0, .atol = 2});
  CHECK(found.differing == 0);
  CHECK(found.max_abs == 2);
  CHECK(found.max_rel == 1);
  CHECK(distance<float, float>("F32", a, "F32", b, {.rtol = 0, .atol = 0.25}).differing == 1);
  CHECK(distance<float, float>("F32", a, "F32", b, {.rtol = 0.01, .atol = 0}).differing == 2);
  // What was found is enough, in either order.
  CHECK(distance<float, float>("F32", a, "F32", b, {.rtol = found.max_rel, .atol = 0}).differing == 0);
  CHECK(distance<float, float>("F32", {1.25F}, "F32", {1}, {.rtol = 0.2, .atol = 0}).differing == 0);
  CHECK(distance<float, float>("F32", {1}, "F32", {1.25F}, {.rtol = 0.2, .atol = 0}).differing == 0);
  CHECK(distance<float, float>("F32", {INFINITY, NAN, INFINITY, NAN}, "F32", {1, 1, -INFINITY, NAN},
                               {.rtol = 1e300, .atol = 1e300})
            .differing == 3);
  CHECK(
      distance<std::int64_t, std::int64_t>("I64", {INT64_MAX}, "I64", {INT64_MAX - 2}, {.rtol = 0, .atol = 1})
          .differing == 1);
}

TEST_CASE("compare: whole numbers of 64 bits are exact", "[unit][proto]") {
  const auto found =
      distance<std::int64_t, std::int64_t>("I64", {INT64_MAX, INT64_MIN}, "I64", {INT64_MAX - 1, INT64_MAX});
  CHECK(found.differing == 2);
  CHECK(found.max_abs == Approx(1.8446744073709552e19));
}

TEST_CASE("compare: numbers of several dtypes", "[unit][proto]") {
  using U16 = std::uint16_t;
  using U8 = std::uint8_t;
  const auto same = [](const Distance& found) { return found.differing == 0; };
  // 1, -2, 0.5, infinity, the smallest one of F16
  CHECK(same(distance<U16, float>("F16", {0x3C00, 0xC000, 0x3800, 0x7C00, 1}, "F32",
                                  {1, -2, 0.5F, INFINITY, std::ldexp(1.0F, -24)})));
  CHECK(same(distance<U16, float>("BF16", {0x3F80, 0xC000, 0x7F80, 0x7FC0}, "F32", {1, -2, INFINITY, NAN})));
  CHECK(same(distance<U8, float>("F8_E5M2", {0x3C, 0xC0, 0x7C, 1}, "F32",
                                 {1, -2, INFINITY, std::ldexp(1.0F, -16)})));
  CHECK(same(distance<U8, float>("F8_E4M3", {0x38, 0xC0, 0x7E, 0x7F, 1}, "F32",
                                 {1, -2, 448, NAN, std::ldexp(1.0F, -9)})));
  CHECK(same(distance<std::int32_t, double>("I32", {-5, 7}, "F64", {-5, 7})));
  CHECK(same(distance<U8, std::int8_t>("BOOL", {0, 1}, "I8", {0, 1})));
}

}  // namespace compare_test
