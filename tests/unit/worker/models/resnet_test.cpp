#include "tests/support/catch.h"

#include <rtrain/models.h>

#include <torch/torch.h>

namespace resnet_test {

using namespace rtrain;

TEST_CASE("resnet: sizes are the published ones", "[unit][worker][models]") {
  const auto count = [](const torch::nn::Module& module) {
    std::int64_t n = 0;
    for (const auto& p : module.parameters()) n += p.numel();
    return n;
  };
  CHECK(count(*models::resnet18()) == 11'689'512);
  CHECK(count(*models::resnet34()) == 21'797'672);
  CHECK(count(*models::resnet18(10, 1)) == 11'689'512 - 2 * 64 * 49 - 990 * 513);
}

TEST_CASE("resnet: gradients reach every parameter", "[unit][worker][models]") {
  torch::manual_seed(0);
  auto model = models::resnet18(10, 1);
  torch::nn::functional::cross_entropy(model(torch::randn({2, 1, 28, 28})), torch::tensor({1, 7})).backward();
  for (const auto& p : model->named_parameters()) {
    INFO(p.key());
    CHECK(p.value().grad().defined());
    CHECK(p.value().grad().abs().sum().item<double>() > 0);
  }
}

}  // namespace resnet_test
