#include "tests/support/tensor_files.h"

#include <numeric>

namespace tensor_test {

using namespace rtrain;
using namespace rtrain::tensors;
using Catch::Matchers::Contains;

namespace {

std::vector<std::int32_t> counted(std::size_t count) {
  std::vector<std::int32_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

}  // namespace

TEST_CASE("tensor: views with strides and offsets are read in order", "[unit][proto]") {
  const test::TempDir dir;
  auto tensor = test::make_tensor(dir, "w", "I32", {3, 4}, counted(12));
  CHECK(tensor.is_contiguous());
  CHECK(test::numbers_of(tensor) == test::bytes_of(counted(12)));

  auto turned = tensor;
  turned.shape = {4, 3};
  turned.strides = {1, 4};
  CHECK_FALSE(turned.is_contiguous());
  CHECK(test::numbers_of(turned) == test::bytes_of<std::int32_t>({0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11}));

  auto column = tensor;
  column.shape = {3};
  column.strides = {4};
  column.offset = 2;
  CHECK(fault_of(column).empty());
  CHECK(test::numbers_of(column) == test::bytes_of<std::int32_t>({2, 6, 10}));

  auto expanded = tensor;
  expanded.shape = {2, 3};
  expanded.strides = {0, 1};
  CHECK(test::numbers_of(expanded) == test::bytes_of<std::int32_t>({0, 1, 2, 0, 1, 2}));

  auto scalar = tensor;
  scalar.shape = scalar.strides = {};
  scalar.offset = 11;
  CHECK(fault_of(scalar).empty());
  CHECK(test::numbers_of(scalar) == test::bytes_of<std::int32_t>({11}));

  auto empty = tensor;
  empty.shape = {0, 5};
  empty.strides = {5, 1};
  CHECK(fault_of(empty).empty());
  CHECK(test::numbers_of(empty).empty());
}

TEST_CASE("tensor: pieces join without a seam", "[unit][proto]") {
  const test::TempDir dir;
  const auto numbers = counted(TensorReader::kElements * 2 + 6);
  auto tensor = test::make_tensor(dir, "w", "I32", {static_cast<std::int64_t>(numbers.size())}, numbers);
  CHECK(test::numbers_of(tensor) == test::bytes_of(numbers));
  tensor.shape = {static_cast<std::int64_t>(numbers.size() / 2), 2};
  tensor.strides = {1, static_cast<std::int64_t>(numbers.size() / 2)};
  const auto read = test::numbers_of(tensor);
  std::int32_t last = 0;
  std::memcpy(&last, read.data() + (numbers.size() - 2) * 4, 4);
  CHECK(last == static_cast<std::int32_t>(numbers.size() / 2 - 1));
  CHECK(read.size() == numbers.size() * 4);
}

TEST_CASE("tensor: sizes that cannot be are told", "[unit][proto]") {
  const test::TempDir dir;
  const auto tensor = test::make_tensor(dir, "w", "I32", {12}, counted(12));
  const auto fault = [&](std::vector<std::int64_t> shape, std::vector<std::int64_t> strides,
                         std::uint64_t offset = 0) {
    auto changed = tensor;
    changed.shape = std::move(shape);
    changed.strides = std::move(strides);
    changed.offset = offset;
    return fault_of(changed);
  };
  CHECK(fault({12}, {1}).empty());
  CHECK_THAT(fault({12}, {}), Contains("as many strides"));
  CHECK_THAT(fault({-1}, {1}), Contains("negative"));
  CHECK_THAT(fault({12}, {-1}), Contains("negative"));
  CHECK_THAT(fault({13}, {1}), Contains("element 12 of a storage of 12"));
  CHECK_THAT(fault({12}, {1}, 1), Contains("element 12"));
  CHECK_THAT(fault({INT64_MAX, 2}, {0, 0}), Contains("too large"));
  CHECK_THAT(fault({0, INT64_MAX, 2}, {0, 0, 0}), Contains("too large"));
  CHECK_THAT(fault({3, 3}, {INT64_MAX, INT64_MAX}), Contains("too large"));
  CHECK_THAT(fault({2}, {1}, INT64_MAX), Contains("too large"));

  auto wide = tensor;
  wide.shape = {std::int64_t{1} << 40};
  wide.strides = {0};
  CHECK(fault_of(wide).empty());
  CHECK(check_cost(std::vector{wide}).has_error());
  CHECK(check_cost(std::vector(1000, tensor)).has_value());
  CHECK(check_cost({}).has_value());
}

}  // namespace tensor_test
