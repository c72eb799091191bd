#include "common/base/runs.h"

#include "tests/support/catch.h"

namespace runs_test {

using namespace rtrain;

TEST_CASE("runs: three and more that follow each other are a run", "[unit][common]") {
  CHECK(runs_text({}).empty());
  CHECK(runs_text({3}) == "3");
  CHECK(runs_text({0, 1}) == "0, 1");
  CHECK(runs_text({0, 2, 3, 4, 9, 10}) == "0, 2-4, 9, 10");
  CHECK(runs_text({0, 2, 3, 4, 9, 10}, ",") == "0,2-4,9,10");
}

}  // namespace runs_test
