#include "worker/run/read_together.h"

#include "tests/support/catch.h"

#include <torch/torch.h>

namespace read_together_test {

using namespace rtrain;

TEST_CASE("read_together: the values in their order, of any type and shape", "[unit][trainer]") {
  CHECK(read_together({}).empty());
  CHECK(read_together({torch::tensor(1.5F), torch::tensor({2.0}), torch::tensor({{3}}, torch::kInt64),
                       torch::tensor(true)}) == std::vector<double>{1.5, 2, 3, 1});
  CHECK(read_together({torch::tensor(0.1, torch::kFloat64)}) == std::vector<double>{0.1});
  CHECK_THROWS_AS(read_together({torch::tensor({1.0, 2.0})}), c10::Error);
}

}  // namespace read_together_test
