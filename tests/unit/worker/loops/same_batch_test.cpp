#include "worker/loops/same_batch.h"

#include "tests/support/catch.h"

#include <torch/torch.h>

namespace same_batch_test {

using namespace rtrain;

TEST_CASE("same batch: a checksum tells elements, shapes and types apart", "[unit][loops]") {
  const auto x = torch::arange(6), y = torch::ones({3});
  const auto sum = checksum_of(Batch(x, y));
  CHECK(sum == checksum_of(Batch(x.clone(), y.clone())));
  CHECK(sum == checksum_of(Batch(x.view({2, 3}).t().contiguous().t().reshape({6}), y)));
  CHECK(sum != checksum_of(Batch(x.view({2, 3}), y)));
  CHECK(sum != checksum_of(Batch(x, torch::zeros({3}))));
  CHECK(sum != checksum_of(Batch(x)));
  CHECK(checksum_of(Batch(torch::zeros({2}, torch::kInt32))) !=
        checksum_of(Batch(torch::zeros({2}, torch::kFloat32))));
}

}  // namespace same_batch_test
