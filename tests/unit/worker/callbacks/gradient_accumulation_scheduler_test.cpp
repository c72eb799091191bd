#include "tests/support/catch.h"
#include "tests/support/training.h"

namespace gradient_accumulation_scheduler_test {

using namespace rtrain;
using rtrain::test::boring_loader;
using rtrain::test::quiet;

TEST_CASE("GradientAccumulationScheduler: steps a different number of batches in each epoch",
          "[unit][callbacks]") {
  const GradientAccumulationScheduler scheduler({{1, 2}, {3, 4}});
  CHECK(scheduler.factor(0) == 1);
  CHECK(scheduler.factor(2) == 2);
  CHECK(scheduler.factor(9) == 4);

  std::vector<std::int64_t> steps;
  test::BoringModel model;
  Trainer trainer(
      quiet({.max_epochs = 4,
             .callbacks = {GradientAccumulationScheduler({{1, 2}, {3, 4}}),
                           LambdaCallback({.on_train_epoch_end = [&](Trainer& t, LightningModule&) {
                             steps.push_back(t.global_step());
                           }})}}));
  trainer.fit(model, boring_loader(5));
  // 5 batches: one by one, then 2 + 2 + 1 twice, then 4 + 1.
  CHECK(steps == std::vector<std::int64_t>{5, 8, 11, 13});
}

TEST_CASE("GradientAccumulationScheduler: what cannot be used is told", "[unit][callbacks]") {
  CHECK_THROWS_WITH(GradientAccumulationScheduler({{-1, 2}, {3, 0}}),
                    Catch::Contains("epoch -1") && Catch::Contains("0 batches a step from epoch 3 on"));
  test::BoringModel model;
  Trainer trainer(quiet({.max_epochs = 1,
                         .accumulate_grad_batches = 2,
                         .callbacks = {GradientAccumulationScheduler({{0, 2}})}}));
  CHECK_THROWS_WITH(trainer.fit(model, boring_loader(2)), Catch::Contains("accumulate_grad_batches is 2"));
}

}  // namespace gradient_accumulation_scheduler_test
