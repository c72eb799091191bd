#include "tests/support/catch.h"
#include "tests/support/training.h"

using namespace rtrain;

TEST_CASE("DDPStrategy: wrong options are named at once", "[unit][strategies]") {
  CHECK_THROWS_WITH(DDPStrategy(DDPOptions{.bucket_cap_mb = 0, .timeout = std::chrono::milliseconds(-1)}),
                    Catch::Contains("bucket_cap_mb is 0") && Catch::Contains("timeout is -1 ms"));
}

TEST_CASE("DDPStrategy: with one rank it is the single device", "[unit][strategies]") {
  const auto trained = [](AnyStrategy strategy) {
    torch::manual_seed(1);
    test::BoringModel model;
    const auto loader = test::boring_loader(6, 2);
    Trainer trainer(test::quiet({.max_epochs = 2, .strategy = std::move(strategy)}));
    trainer.fit(model, loader);
    CHECK_FALSE(trainer.strategy().is_distributed());
    CHECK(trainer.strategy().broadcast("text") == "text");
    CHECK(trainer.strategy().reduce_boolean_decision(true));
    return model.layer->weight.detach().clone();
  };
  CHECK(torch::equal(trained(DDPStrategy()), trained(SingleDeviceStrategy())));
  CHECK(torch::equal(trained(DDPStrategy({.gradient_as_bucket_view = true})), trained("auto")));
}

TEST_CASE("strategies: gradients are cleared by absence, so that an unused parameter is not moved",
          "[unit][strategies]") {
  SingleDeviceStrategy strategy;
  test::BoringModel model;
  const auto plan = strategy.prepare(model, /*fitting=*/true);
  auto parameter = torch::ones({2}).requires_grad_();
  plan->backward((parameter * 2).sum(), true);
  CHECK(torch::equal(parameter.grad(), torch::full({2}, 2.0)));
  plan->zero_grad({parameter});
  CHECK_FALSE(parameter.grad().defined());
}
