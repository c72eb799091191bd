#include "daemon/agent/bystanders.h"

#include "tests/support/catch.h"

namespace bystanders_test {

using rtrain::agent::Bystanders;
using rtrain::os::GpuProcess;

TEST_CASE("bystanders: what was on a GPU before its first rank") {
  Bystanders bystanders;
  const GpuProcess early{0, 4711, 1}, late{0, 4712, 1}, elsewhere{1, 4712, 1};
  CHECK(bystanders.are_all({early, late, elsewhere}));  // no rank has had a GPU
  bystanders.taken({0}, {early});
  CHECK(bystanders.is_one(early));
  CHECK_FALSE(bystanders.is_one(late));
  CHECK(bystanders.is_one(elsewhere));
  CHECK_FALSE(bystanders.are_all({early, late}));
  // The next rank has waited in vain for it.
  bystanders.taken({0}, {late});
  CHECK(bystanders.is_one(late));
  CHECK_FALSE(bystanders.is_one(early));
}

TEST_CASE("bystanders: a rank that the agent found running") {
  Bystanders bystanders;
  bystanders.taken({1}, {{1, 7, 1}});
  bystanders.taken(1);
  bystanders.taken(2);
  CHECK(bystanders.is_one({1, 7, 1}));
  CHECK_FALSE(bystanders.is_one({2, 7, 1}));
}

}  // namespace bystanders_test
