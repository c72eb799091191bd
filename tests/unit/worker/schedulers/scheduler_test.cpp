// What schedulers refuse, and what torch.optim.lr_scheduler does not have.
#include "tests/support/catch.h"

#include <rtrain/optim.h>
#include <rtrain/schedulers.h>

#include <cmath>
#include <numbers>

namespace schedulers_scheduler_test {

using namespace rtrain;
using Catch::Matchers::Contains;

namespace {

std::shared_ptr<Optimizer> sgd(double rate = 1) {
  return optim::SGD({torch::ones({1}).set_requires_grad(true)}, {.lr = rate, .momentum = 0.9});
}

}  // namespace

TEST_CASE("schedulers: wrong arguments are refused by name", "[unit][worker][schedulers]") {
  const auto o = sgd();
  CHECK_THROWS_WITH(lr::StepLR(nullptr, {.step_size = 1}), Contains("StepLR: the optimizer is null"));
  CHECK_THROWS_WITH(lr::StepLR(o, {}), Contains("StepLR: step_size must be 1 or more"));
  CHECK_THROWS_WITH(lr::ConstantLR(o, {.factor = 1.5}), Contains("factor must be in [0, 1]"));
  CHECK_THROWS_WITH(lr::LinearLR(o, {.start_factor = 0}), Contains("start_factor must be above 0"));
  CHECK_THROWS_WITH(lr::LinearLR(o, {.end_factor = 2}), Contains("end_factor"));
  CHECK_THROWS_WITH(lr::CosineAnnealingLR(o, {}), Contains("t_max must be 1 or more"));
  CHECK_THROWS_WITH(lr::CosineAnnealingWarmRestarts(o, {}), Contains("t_0 must be 1 or more"));
  CHECK_THROWS_WITH(lr::OneCycleLR(o, {.total_steps = 5}), Contains("max_lr must be above 0"));
  CHECK_THROWS_WITH(lr::OneCycleLR(o, {.max_lr = 1.0}),
                    Contains("total_steps, or epochs and steps_per_epoch"));
  CHECK_THROWS_WITH(lr::OneCycleLR(o, {.max_lr = {1, 2}, .total_steps = 5}),
                    Contains("expected a number for each of 1 parameter group(s), found 2"));
  CHECK_THROWS_WITH(lr::ReduceLROnPlateau(o, {.factor = 1}), Contains("factor must be below 1"));
  CHECK_THROWS_WITH(lr::LambdaLR(o, lr::Factor()), Contains("a function is empty"));
  CHECK_THROWS_WITH(lr::SequentialLR(o, {lr::LinearLR(o)}, {3}),
                    Contains("one milestone less than schedulers"));
  CHECK_THROWS_WITH(lr::SequentialLR(o, {lr::LinearLR(o), lr::LinearLR(sgd())}, {3}),
                    Contains("scheduler 1"));
  CHECK_THROWS_WITH(lr::ChainedScheduler({}), Contains("got no schedulers"));
  CHECK_THROWS_WITH(lr::ChainedScheduler({lr::ReduceLROnPlateau(o)}), Contains("needs a metric"));
  const auto no_momentum = optim::Adagrad({torch::ones({1}).set_requires_grad(true)});
  CHECK_THROWS_WITH(lr::OneCycleLR(no_momentum, {.max_lr = 1.0, .total_steps = 5}),
                    Contains("cycle_momentum = false"));
}

TEST_CASE("schedulers: a metric goes to ReduceLROnPlateau and to no other", "[unit][worker][schedulers]") {
  const auto o = sgd();
  CHECK_THROWS_WITH(lr::StepLR(o, {.step_size = 1})->step(0.5), Contains("StepLR takes no metric"));
  CHECK_THROWS_WITH(lr::ReduceLROnPlateau(o)->step(), Contains("call step(metric)"));
  CHECK(lr::ReduceLROnPlateau(o)->needs_metric());
  CHECK(lr::CyclicLR(o, {.base_lr = 0.1, .max_lr = 1.0})->counts_steps());
}

TEST_CASE("schedulers: Adam's beta1 cycles in the place of a momentum", "[unit][worker][schedulers]") {
  const auto adam = optim::Adam({torch::ones({1}).set_requires_grad(true)});
  const auto scheduler = lr::OneCycleLR(adam, {.max_lr = 1.0, .total_steps = 10});
  CHECK(adam->groups()[0].options.at("beta1") == 0.95);
  for (int i = 0; i < 2; ++i) scheduler->step();
  CHECK(adam->groups()[0].options.at("beta1") == 0.85);
  CHECK(adam->lr() == 1.0);
}

TEST_CASE("schedulers: a state that does not fit is refused and changes nothing",
          "[unit][worker][schedulers]") {
  const auto o = sgd();
  const auto step = lr::StepLR(o, {.step_size = 2});
  step->step();
  const auto good = step->state();
  const auto refuse = [&](auto change, const std::string& fault) {
    auto state = good;
    change(state);
    CHECK_THROWS_WITH(step->load_state(state), Contains(fault));
    CHECK(step->state() == good);
  };
  refuse([](auto& s) { s["type"] = "LinearLR"; }, "StepLR: the saved state is of LinearLR");
  refuse([](auto& s) { s.erase("last_epoch"); }, "has no \"last_epoch\"");
  refuse([](auto& s) { s["last_epoch"] = "x"; }, "no whole number \"last_epoch\"");
  refuse([](auto& s) { s["base_lrs"] = {1.0, 2.0}; },
         "has 2 \"base_lrs\", the optimizer has 1 parameter group(s)");
  refuse([](auto& s) { s = 1; }, "is no JSON object");
  const auto chained = lr::ChainedScheduler({lr::ExponentialLR(o, 0.5), lr::StepLR(o, {.step_size = 2})});
  chained->step();
  const auto before = chained->state();
  auto state = before;
  state["schedulers"][0]["last_epoch"] = 7;
  state["schedulers"][1].erase("base_lrs");
  CHECK_THROWS_WITH(chained->load_state(state), Contains("base_lrs"));
  CHECK(chained->state() == before);
  const auto plateau = lr::ReduceLROnPlateau(o);
  CHECK(plateau->state().at("best").is_null());
}

TEST_CASE("schedulers: a group that comes later wants a new scheduler", "[unit][worker][schedulers]") {
  const auto o = sgd();
  const auto step = lr::StepLR(o, {.step_size = 2});
  o->add_param_group({.params = {torch::ones({1}).set_requires_grad(true)}});
  CHECK_THROWS_WITH(step->step(), Contains("had 1 parameter groups") && Contains("make a new scheduler"));
}

TEST_CASE("schedulers: warmup_cosine rises linearly and falls along a cosine", "[unit][worker][schedulers]") {
  const auto factor = lr::warmup_cosine(4, 12, 0.1);
  CHECK(factor(0) == 0);
  CHECK(factor(2) == 0.5);
  CHECK(factor(4) == 1);
  CHECK(factor(8) == Approx(0.55));
  CHECK(factor(12) == Approx(0.1));
  CHECK(factor(100) == factor(12));
  CHECK_THROWS_WITH(lr::warmup_cosine(5, 5), Contains("0 <= warmup_steps < total_steps, found 5 and 5"));
  const auto o = sgd(2);
  const auto scheduler = lr::LambdaLR(o, lr::warmup_cosine(4, 12));
  CHECK(o->lr() == 0);
  for (int i = 0; i < 4; ++i) scheduler->step();
  CHECK(o->lr() == 2);
}

TEST_CASE("schedulers: closed forms and recursions agree", "[unit][worker][schedulers]") {
  using Make = lr::SharedScheduler (*)(std::shared_ptr<Optimizer>);
  const std::vector<Make> all{
      [](auto o) { return lr::StepLR(o, {.step_size = 3}); },
      [](auto o) { return lr::MultiStepLR(o, {.milestones = {2, 5, 5}, .gamma = 0.5}); },
      [](auto o) { return lr::ConstantLR(o); },
      [](auto o) { return lr::LinearLR(o); },
      [](auto o) { return lr::ExponentialLR(o, 0.9); },
      [](auto o) { return lr::PolynomialLR(o); },
      [](auto o) { return lr::CosineAnnealingLR(o, {.t_max = 20}); },
      [](auto o) { return lr::CosineAnnealingWarmRestarts(o, {.t_0 = 3, .t_mult = 2}); }};
  for (const auto make : all) {
    const auto stepped = sgd(), sent = sgd();
    const auto one = make(stepped), other = make(sent);
    INFO(one->type_name());
    for (int e = 1; e < 9; ++e) {
      one->step();
      other->step_to(e);
      CHECK(stepped->lr() == Approx(sent->lr()).margin(1e-14));
    }
    CHECK_THROWS_AS(other->step_to(-1), std::invalid_argument);
  }
}

}  // namespace schedulers_scheduler_test
