#include "tests/support/catch.h"
#include "tests/support/training.h"

namespace strategy_test {

using namespace rtrain;

TEST_CASE("DDPStrategy: wrong options are named at once", "[unit][strategies]") {
  CHECK_THROWS_WITH(DDPStrategy(DDPOptions{.bucket_cap_mb = 0, .timeout = std::chrono::milliseconds(-1)}),
                    Catch::Contains("bucket_cap_mb is 0") && Catch::Contains("timeout is -1 ms"));
}

TEST_CASE("DDPStrategy: hooks and averages that do not go together are named at once", "[unit][strategies]") {
  const auto local = comm_hooks::post_localSGD({.start_localSGD_iter = 5, .subgroup_size = 1});
  CHECK_THROWS_WITH(DDPStrategy({.ddp_comm_hook = local}), Catch::Contains("needs model_averaging_period"));
  CHECK_THROWS_WITH(DDPStrategy({.ddp_comm_hook = comm_hooks::fp16_compress(), .model_averaging_period = 4}),
                    Catch::Contains("set ddp_comm_hook = comm_hooks::post_localSGD"));
  CHECK_THROWS_WITH(
      DDPStrategy(
          {.ddp_comm_hook = local, .model_averaging_period = 0, .model_averaging_hierarchy = {{2, 2}}}),
      Catch::Contains("model_averaging_period is 0") && Catch::Contains("are both set: choose one"));
  CHECK_THROWS_WITH(
      DDPStrategy(
          {.static_graph = true, .ddp_comm_hook = local, .model_averaging_period = 4, .join = JoinOptions{}}),
      Catch::Contains("join and static_graph are both set") &&
          Catch::Contains("a rank without a batch has nothing to step by alone"));
  CHECK(DDPStrategy({.ddp_comm_hook = local, .model_averaging_period = 4}).options().ddp_comm_hook.defined());
}

TEST_CASE("comm_hooks: names, and options that are out of range", "[unit][strategies]") {
  using namespace comm_hooks;
  CHECK(CommHook().name().empty());
  CHECK(bf16_compress().name() == "bf16_compress");
  CHECK(fp16_compress_wrapper(powerSGD()).name() == "fp16_compress_wrapper(powerSGD)");
  CHECK_THROWS_WITH(fp16_compress_wrapper(CommHook()), Catch::Contains("there is no hook in it"));
  CHECK_THROWS_WITH(bf16_compress_wrapper(fp16_compress()),
                    Catch::Contains("the hook fp16_compress in it casts"));
  CHECK_THROWS_WITH(powerSGD({.matrix_approximation_rank = 0,
                              .start_powerSGD_iter = 1,
                              .min_compression_rate = 0,
                              .orthogonalization_epsilon = -1}),
                    Catch::Contains("matrix_approximation_rank is 0") &&
                        Catch::Contains("start_powerSGD_iter is 1, expected 2 or more") &&
                        Catch::Contains("min_compression_rate is 0") &&
                        Catch::Contains("orthogonalization_epsilon is -1"));
  CHECK(powerSGD({.start_powerSGD_iter = 0, .use_error_feedback = false, .warm_start = false}).defined());
  CHECK_THROWS_WITH(post_localSGD({.subgroup_size = -1}),
                    Catch::Contains("start_localSGD_iter is -1, expected 0 or more; it must be given") &&
                        Catch::Contains("subgroup_size is -1"));
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

}  // namespace strategy_test
