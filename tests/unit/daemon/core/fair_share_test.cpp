#include "daemon/core/fair_share.h"

#include "tests/support/catch.h"

namespace fair_share_test {

using namespace rtrain;
using namespace rtrain::core;

TEST_CASE("fair share: what was used counts half after its half-life") {
  FairShare share(100);
  share.charge("q", "ann", {{"GPU", 2}, {"CPU", 4}}, 10, 1'000'000);
  CHECK(share.used().at({"q", "ann"}) == proto::Resources{{"CPU", 40}, {"GPU", 20}});
  share.decay(1'100'000);
  CHECK(share.used().at({"q", "ann"}).at("GPU") == Approx(10));
  share.decay(1'050'000);  // a clock that goes back changes nothing
  CHECK(share.used().at({"q", "ann"}).at("GPU") == Approx(10));
  share.charge("q", "ann", {{"GPU", 1}}, 10, 1'200'000);
  CHECK(share.used().at({"q", "ann"}).at("GPU") == Approx(15));
  share.decay(1'000'000'000);
  CHECK(share.used().empty());
}

TEST_CASE("fair share: the resource counts of which the largest share was used") {
  const FairShare share(100);
  CHECK(share.dominant({{"GPU", 800}, {"CPU", 800}}, {{"GPU", 8}, {"CPU", 64}}) == Approx(1));
  CHECK(share.dominant({{"GPU", 80}, {"CPU", 6400}}, {{"GPU", 8}, {"CPU", 64}}) == Approx(1));
  CHECK(share.dominant({{"licence", 5}}, {{"GPU", 8}}) == 0);
}

TEST_CASE("fair share: it is written and read; what is no record changes nothing") {
  FairShare share(100), other(100);
  share.charge("q", "ann", {{"GPU", 2}}, 10, 1'000'000);
  REQUIRE(other.restore(share.to_json()).has_value());
  CHECK(other.used() == share.used());
  CHECK(other.as_of() == share.as_of());
  for (const char* text :
       {"null", "{}", R"({"as_of_ms": "x", "accounts": []})", R"({"as_of_ms": 1, "accounts": [1]})",
        R"({"as_of_ms": 1, "accounts": [{"queue": "q", "user": "u", "used": {"GPU": -1}}]})"}) {
    INFO(text);
    CHECK_FALSE(other.restore(*proto::parse_json(text)).has_value());
    CHECK(other.used() == share.used());
  }
}

}  // namespace fair_share_test
