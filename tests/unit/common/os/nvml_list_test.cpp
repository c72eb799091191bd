#include "common/os/nvml_list.h"

#include "tests/support/catch.h"

#include <functional>
#include <numeric>
#include <vector>

namespace nvml_list_test {

using namespace rtrain;

namespace {

/// NVML with a list of `length` rows, which grows by `growth` with each call.
struct FakeNvml {
  unsigned length = 0, growth = 0;
  int calls = 0;
  int operator()(unsigned* count, int* rows) {
    ++calls;
    length += growth;
    const unsigned room = *count;
    *count = length;
    if (length > room) return os::kNvmlInsufficientSize;
    std::iota(rows, rows + length, 0);
    return os::kNvmlSuccess;
  }
};

}  // namespace

TEST_CASE("nvml list: all rows, however many there are") {
  for (const unsigned length : {0u, 1u, 64u, 65u, 81u, 4096u}) {
    INFO(length);
    FakeNvml nvml{.length = length};
    const auto rows = os::nvml_list<int>(std::ref(nvml));
    REQUIRE(rows);
    REQUIRE(rows->size() == length);
    if (length > 0) CHECK(rows->back() == static_cast<int>(length) - 1);
    CHECK(nvml.calls == (length <= 64 ? 1 : 2));
  }
}

TEST_CASE("nvml list: one that grows meanwhile") {
  FakeNvml slowly{.length = 100, .growth = 10};
  CHECK(os::nvml_list<int>(std::ref(slowly))->size() == 120);
  FakeNvml faster{.length = 100, .growth = 50};  // than there is room to spare
  CHECK_FALSE(os::nvml_list<int>(std::ref(faster)));
  CHECK(faster.calls == 5);
}

TEST_CASE("nvml list: answers that cannot be") {
  CHECK_FALSE(os::nvml_list<int>([](unsigned*, int*) { return 15; }));  // NVML_ERROR_GPU_IS_LOST
  FakeNvml endless{.length = 4'000'000'000};
  CHECK_FALSE(os::nvml_list<int>(std::ref(endless)));
  CHECK(endless.calls == 1);
  // Success with more rows than there was room for.
  CHECK(os::nvml_list<int>([](unsigned* count, int*) { return *count = 1000, os::kNvmlSuccess; })->size() ==
        64);
  // Too little room, and fewer rows than that: the room grows all the same.
  std::vector<unsigned> rooms;
  CHECK_FALSE(os::nvml_list<int>([&](unsigned* count, int*) {
    rooms.push_back(*count);
    *count = 0;
    return os::kNvmlInsufficientSize;
  }));
  CHECK(rooms == std::vector<unsigned>{64, 80, 96, 112, 128});
}

}  // namespace nvml_list_test
