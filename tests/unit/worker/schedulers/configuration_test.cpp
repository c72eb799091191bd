// The forms of configure_optimizers' result, and what is wrong with one.
#include "worker/schedulers/configuration.h"
#include "tests/support/catch.h"

#include <rtrain/optim.h>
#include <rtrain/schedulers.h>

namespace configuration_test {

using namespace rtrain;
using Catch::Matchers::Contains;

namespace {

std::shared_ptr<Optimizer> adam() { return optim::Adam({torch::ones({1}).set_requires_grad(true)}); }

}  // namespace

TEST_CASE("configure_optimizers: all six forms of Lightning's convert", "[unit][worker][schedulers]") {
  const auto one = adam(), two = adam();
  const auto step = lr::StepLR(one, {.step_size = 1}), plateau = lr::ReduceLROnPlateau(two);
  const auto first = [&]() -> Optimizers { return one; }();
  CHECK((first.all.size() == 1 && first.schedulers.empty()));
  const auto second = [&]() -> Optimizers { return {one, two}; }();
  CHECK((second.all == std::vector{one, two} && second.schedulers.empty()));
  const auto third = [&]() -> Optimizers { return {{one}, {step}}; }();
  CHECK((third.all == std::vector{one} && third.schedulers.at(0).scheduler == step));
  const auto lists = [&]() -> Optimizers {
    return {{one, two}, {step, LRSchedulerConfig{.scheduler = plateau, .monitor = "val_loss"}}};
  }();
  CHECK((lists.all.size() == 2 && lists.schedulers.size() == 2 && lists.schedulers[1].monitor == "val_loss"));
  const auto beside = [&]() -> Optimizers { return {{one, two}, step}; }();
  CHECK((beside.all.size() == 2 && beside.schedulers.size() == 1));
  const auto fourth = [&]() -> Optimizers {
    return WithScheduler{.optimizer = two, .lr_scheduler = plateau, .monitor = "val_loss"};
  }();
  CHECK((fourth.all == std::vector{two} && fourth.schedulers.at(0).monitor == "val_loss"));
  const auto configured = [&]() -> Optimizers {
    return WithScheduler{
        .optimizer = one,
        .lr_scheduler = LRSchedulerConfig{.scheduler = step, .interval = Interval::kStep, .frequency = 3}};
  }();
  CHECK((configured.schedulers.at(0).interval == Interval::kStep && configured.schedulers[0].frequency == 3));
  const auto fifth = [&]() -> Optimizers { return {WithScheduler{one, step}, WithScheduler{two}}; }();
  CHECK((fifth.all.size() == 2 && fifth.schedulers.size() == 1));
  const auto sixth = []() -> Optimizers { return std::nullopt; }();
  CHECK((sixth.all.empty() && sixth.schedulers.empty()));
}

TEST_CASE("configure_optimizers: what cannot be is named by number and type", "[unit][worker][schedulers]") {
  const auto one = adam(), foreign = adam();
  CHECK(schedulers::problems_of({{one}, {lr::StepLR(one, {.step_size = 1})}}).empty());
  Optimizers wrong{
      {one, nullptr, one},
      {lr::StepLR(foreign, {.step_size = 1}), lr::ReduceLROnPlateau(one), LRSchedulerConfig{},
       LRSchedulerConfig{.scheduler = lr::ExponentialLR(one, 0.9), .name = "decay", .frequency = 0}}};
  auto problems = schedulers::problems_of(wrong);
  REQUIRE(problems.size() == 7);
  CHECK_THAT(problems[0], Contains("there are 3 optimizers, and automatic optimization steps one"));
  CHECK(schedulers::problems_of(wrong, /*automatic=*/false).size() ==
        5);  // a plateau needs no monitor either
  problems.erase(problems.begin());
  CHECK_THAT(problems[0], Contains("optimizer 1 is null"));
  CHECK_THAT(problems[1], Contains("optimizer 2 is optimizer 0 again"));
  CHECK_THAT(
      problems[2],
      Contains("scheduler 0 (StepLR) is of an optimizer (Adam) that configure_optimizers did not return"));
  CHECK_THAT(problems[3],
             Contains("scheduler 1 (ReduceLROnPlateau) follows a metric: name it with .monitor"));
  CHECK_THAT(problems[4], Contains("scheduler 2 is null"));
  CHECK_THAT(problems[5], Contains("scheduler 3 (ExponentialLR) \"decay\" has the frequency 0"));
}

TEST_CASE("configure_optimizers: what is hardly meant is doubted", "[unit][worker][schedulers]") {
  const auto one = adam();
  const auto cycle = lr::OneCycleLR(one, {.max_lr = 1.0, .total_steps = 10});
  CHECK_THAT(schedulers::doubts_about({{one}, {cycle}}).at(0), Contains("Interval::kStep"));
  CHECK(
      schedulers::doubts_about({{one}, {LRSchedulerConfig{.scheduler = cycle, .interval = Interval::kStep}}})
          .empty());
  CHECK_THAT(schedulers::doubts_about(
                 {{one}, {LRSchedulerConfig{.scheduler = lr::ExponentialLR(one, 0.9), .monitor = "loss"}}})
                 .at(0),
             Contains("\"loss\" is not read"));
}

}  // namespace configuration_test
