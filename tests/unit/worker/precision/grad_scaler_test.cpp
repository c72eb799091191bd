// torch.amp.GradScaler, step by step: tests/golden/precision/grad_scaler.txt.
#include "tests/support/catch.h"
#include "tests/support/golden.h"

#include <rtrain/amp.h>
#include <rtrain/optim.h>

#include <torch/torch.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <regex>
#include <string>

namespace grad_scaler_test {

using namespace rtrain;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<double> list_of(const torch::Tensor& tensor) {
  std::vector<double> list;
  for (std::int64_t i = 0; i < tensor.numel(); ++i) list.push_back(tensor[i].item<double>());
  return list;
}

}  // namespace

TEST_CASE("GradScaler: steps, scale and tracker are torch's", "[unit][precision]") {
  GradScaler scaler({.init_scale = 8, .growth_interval = 3});
  const auto p = torch::ones({2}).requires_grad_();
  const auto optimizer = optim::SGD({p}, {.lr = 1});
  std::ifstream golden(RTRAIN_SOURCE_DIR "/tests/golden/precision/grad_scaler.txt");
  const std::regex form(R"(step (\d+): unscaled grad (\[.*\]) p (\[.*\]) scale (\S+) tracker (\d+))");
  int steps = 0;
  for (std::string line; std::getline(golden, line);) {
    std::smatch found;
    if (!std::regex_match(line, found, form)) continue;
    INFO(line);
    const int k = std::stoi(found[1]);
    REQUIRE(k == steps++);
    optimizer->zero_grad();
    const auto loss = (p * torch::tensor({1.0F, k == 2 || k == 3 ? kInfinity : 1.0F})).sum();
    scaler.scale(loss).backward();
    scaler.unscale(*optimizer);
    CHECK(list_of(p.grad()) == test::golden_numbers(found[2]));
    optimizer->step(scaler.inputs_for(*optimizer));
    scaler.update();
    CHECK(list_of(p) == test::golden_numbers(found[3]));
    CHECK(scaler.get_scale() == std::stod(found[4]));
    CHECK(scaler.state()["_growth_tracker"] == std::stoi(found[5]));
  }
  CHECK(steps == 10);
  CHECK(scaler.state() == nlohmann::json({{"scale", 8.0},
                                          {"growth_factor", 2.0},
                                          {"backoff_factor", 0.5},
                                          {"growth_interval", 3},
                                          {"_growth_tracker", 0}}));
}

TEST_CASE("GradScaler: an infinity leaves every kind of optimizer where it was", "[unit][precision]") {
  using Made = std::shared_ptr<Optimizer>;
  const std::vector<std::function<Made(const torch::Tensor&)>> kinds{
      [](const torch::Tensor& p) -> Made { return optim::SGD({p}, {.lr = 1, .momentum = 0.9}); },
      [](const torch::Tensor& p) -> Made { return optim::AdamW({p}, {.lr = 1}); },
      [](const torch::Tensor& p) -> Made { return optim::RMSprop({p}, {.lr = 1}); },
      [](const torch::Tensor& p) -> Made { return optim::NAdam({p}, {.lr = 1}); }};
  for (const auto& make : kinds) {
    const auto p = torch::ones({2}).requires_grad_(), q = torch::ones({2}).requires_grad_();
    const auto optimizer = make(p), fresh = make(q);
    INFO(optimizer->type_name());
    GradScaler scaler({.init_scale = 4});
    scaler.scale((p * kInfinity).sum()).backward();
    optimizer->step(scaler.inputs_for(*optimizer));
    scaler.update();
    CHECK(torch::equal(p, torch::ones({2})));
    CHECK(scaler.get_scale() == 2);
    // The next step is the first.
    p.mutable_grad().reset();
    p.square().sum().backward();
    q.square().sum().backward();
    optimizer->step();
    fresh->step();
    CHECK(torch::equal(p, q));
  }
}

TEST_CASE(
    "GradScaler: one infinity among several optimizers lowers the scale, and only its steps are left out",
    "[unit][precision]") {
  GradScaler scaler({.init_scale = 16});
  const auto a = torch::ones({1}).requires_grad_(), b = torch::ones({1}).requires_grad_();
  const auto of_a = optim::SGD({a}, {.lr = 1}), of_b = optim::SGD({b}, {.lr = 1});
  scaler.scale(a.sum() + (b * kInfinity).sum()).backward();
  of_a->step(scaler.inputs_for(*of_a));
  of_b->step(scaler.inputs_for(*of_b));
  scaler.update();
  CHECK(a.item<float>() == 0);
  CHECK(b.item<float>() == 1);
  CHECK(scaler.get_scale() == 8);
}

TEST_CASE("GradScaler: a state taken up goes on as the one that it was", "[unit][precision]") {
  GradScaler scaler({.init_scale = 8, .growth_interval = 2});
  const auto p = torch::ones({1}).requires_grad_();
  const auto optimizer = optim::SGD({p}, {.lr = 0.5});
  const auto step = [&](GradScaler& with) {
    optimizer->zero_grad();
    with.scale(p.sum()).backward();
    optimizer->step(with.inputs_for(*optimizer));
    with.update();
  };
  step(scaler);
  GradScaler other;
  other.load_state(scaler.state());
  CHECK(other.state() == scaler.state());
  step(scaler);
  step(other);
  CHECK(other.state() == scaler.state());
  CHECK(other.get_scale() == 16);
}

TEST_CASE("GradScaler: what cannot be is refused", "[unit][precision]") {
  using Catch::Contains;
  CHECK_THROWS_WITH(
      GradScaler({.init_scale = 0, .growth_factor = 1, .backoff_factor = 1, .growth_interval = 0}),
      Contains("init_scale is 0") && Contains("growth_factor is 1") && Contains("backoff_factor is 1") &&
          Contains("growth_interval is 0, expected 1 or more"));
  GradScaler scaler;
  const auto p = torch::ones({2}, torch::kHalf).requires_grad_();
  const auto optimizer = optim::SGD({p}, {.lr = 1});
  CHECK_THROWS_WITH(scaler.unscale(*optimizer), Contains("no loss was scaled yet"));
  CHECK_THROWS_WITH(scaler.update(), Contains("update() without a step"));
  scaler.scale(p.to(torch::kFloat32).sum()).backward();
  CHECK_THROWS_WITH(scaler.unscale(*optimizer), Contains("the gradient of \"0\" has float16"));
  const auto q = torch::ones({2}).requires_grad_();
  const auto fine = optim::SGD({q}, {.lr = 1});
  scaler.scale(q.sum()).backward();
  scaler.unscale(*fine);
  CHECK_THROWS_WITH(scaler.unscale(*fine), Contains("unscaled already"));
  auto state = scaler.state();
  state["backoff_factor"] = 2;
  CHECK_THROWS_WITH(scaler.load_state(state), Contains("backoff_factor is 2"));
  state.erase("scale");
  CHECK_THROWS_WITH(scaler.load_state(state), Contains("no number \"scale\""));
  CHECK_THROWS_WITH(scaler.load_state(nullptr), Contains("no number"));
}

}  // namespace grad_scaler_test
