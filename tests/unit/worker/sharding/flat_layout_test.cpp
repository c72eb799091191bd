#include "worker/sharding/flat_layout.h"
#include "tests/support/catch.h"

namespace flat_layout_test {

using rtrain::sharding::FlatLayout;

TEST_CASE("sharding: every element of every parameter is held by one rank", "[sharding]") {
  const std::vector<std::int64_t> numels{5, 0, 1, 33, 8, 100};
  for (const std::int64_t alignment : {1, 8, 16}) {
    for (int ranks = 1; ranks <= 7; ++ranks) {
      const FlatLayout layout(numels, alignment, ranks);
      CHECK(layout.part() % alignment == 0);
      for (std::size_t i = 0; i < numels.size(); ++i) {
        CHECK(layout.offset(i) % alignment == 0);
        std::int64_t next = 0;
        for (int rank = 0; rank < ranks; ++rank) {
          const auto piece = layout.piece(i, rank);
          if (piece.size == 0) continue;
          CHECK(piece.in_parameter == next);  // in the order of the ranks, without gap or overlap
          CHECK(rank * layout.part() + piece.in_part == layout.offset(i) + piece.in_parameter);
          CHECK(piece.in_part + piece.size <= layout.part());
          next += piece.size;
        }
        CHECK(next == numels[i]);
      }
    }
  }
}

TEST_CASE("sharding: parts are equal, and no larger than they have to be", "[sharding]") {
  const FlatLayout layout({10, 10}, 8, 3);  // 32 elements with the gaps
  CHECK(layout.part() == 16);
  CHECK(layout.whole() == 48);
  CHECK(FlatLayout({}, 16, 4).part() == 0);
}

}  // namespace flat_layout_test
