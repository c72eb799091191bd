#include "cli/rank_list.h"
#include "tests/support/catch.h"

namespace rank_list_test {

using namespace rtrain;
using rtrain::cli::parse_ranks;

TEST_CASE("rank list: single ranks, ranges, and all", "[unit][cli]") {
  CHECK(*parse_ranks("0") == std::vector<int>{0});
  CHECK(*parse_ranks("7,0,2-4,3") == std::vector<int>{0, 2, 3, 4, 7});
  CHECK(parse_ranks("all")->empty());
  CHECK(parse_ranks("0-1023")->size() == 1024);
}

TEST_CASE("rank list: what names no ranks is refused with its text", "[unit][cli]") {
  for (const char* odd : {"", ",", "0,", "-1", "4-2", "x", "1 2", "0x1", "99999999999", "1-", "2000000"}) {
    INFO(odd);
    const auto ranks = parse_ranks(odd);
    REQUIRE(!ranks);
    CHECK(ranks.error().message() == "\"" + std::string(odd) + "\" names no ranks: write 0, 0,2-4 or all");
  }
  CHECK(parse_ranks("0-1024").error().message().find("more than 1024") != std::string::npos);
}

}  // namespace rank_list_test
