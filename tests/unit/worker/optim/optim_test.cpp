#include "tests/support/catch.h"

#include <rtrain/optim.h>

#include <torch/torch.h>

namespace optim_test {

using namespace rtrain;
using Catch::Matchers::Contains;

namespace {

std::vector<torch::Tensor> parameters() {
  torch::manual_seed(1);
  std::vector<torch::Tensor> all{torch::randn({3, 4}), torch::randn({5}, torch::kDouble), torch::randn({})};
  for (auto& p : all) p.set_requires_grad(true);
  return all;
}

void set_gradients(const std::vector<torch::Tensor>& parameters, int step) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    auto p = parameters[i];
    p.mutable_grad() = torch::full_like(p, 0.1 * static_cast<double>(i + 1) * (step % 3 - 1) + 0.05).detach();
  }
}

using Make = std::shared_ptr<Optimizer> (*)(std::vector<torch::Tensor>);
const std::vector<std::pair<std::string, Make>> kAll{
    {"Adam", [](auto p) { return optim::Adam(p, {.lr = 0.1, .weight_decay = 0.01, .amsgrad = true}); }},
    {"AdamW", [](auto p) { return optim::AdamW(p, {.lr = 0.1}); }},
    {"SGD", [](auto p) { return optim::SGD(p, {.lr = 0.1, .momentum = 0.9}); }},
    {"SGD with dampening",
     [](auto p) { return optim::SGD(p, {.lr = 0.1, .momentum = 0.9, .dampening = 0.5}); }},
    {"plain SGD", [](auto p) { return optim::SGD(p, {.lr = 0.1}); }},
    {"NAdam", [](auto p) { return optim::NAdam(p); }},
    {"RAdam", [](auto p) { return optim::RAdam(p, {.lr = 0.1, .weight_decay = 0.1}); }},
    {"Adamax", [](auto p) { return optim::Adamax(p); }},
    {"Adagrad", [](auto p) { return optim::Adagrad(p, {.initial_accumulator_value = 0.1}); }},
    {"Adadelta", [](auto p) { return optim::Adadelta(p); }},
    {"RMSprop", [](auto p) { return optim::RMSprop(p, {.momentum = 0.9, .centered = true}); }},
    {"ASGD", [](auto p) { return optim::ASGD(p, {.t0 = 1}); }},
    {"Rprop", [](auto p) { return optim::Rprop(p); }},
    {"Adafactor", [](auto p) { return optim::Adafactor(p); }},
    {"Chain",
     [](auto p) {
       return optim::Chain({optim::SGD({p[0]}, {.lr = 0.1, .momentum = 0.9}), optim::Adam({p[1], p[2]})});
     }},
};

}  // namespace

TEST_CASE("optim: saved and loaded after some steps, it goes on as if never interrupted",
          "[unit][worker][optim]") {
  for (const auto& [name, make] : kAll) {
    INFO(name);
    const auto straight = parameters();
    const auto optimizer = make(straight);
    for (int step = 0; step < 6; ++step) set_gradients(straight, step), optimizer->step();

    const auto first = parameters();
    const auto before = make(first);
    for (int step = 0; step < 3; ++step) set_gradients(first, step), before->step();
    auto saved = before->state_dict();
    for (auto& [key, piece] : saved.tensors) piece.tensor = piece.tensor.clone();

    std::vector<torch::Tensor> second;
    for (const auto& p : first) second.push_back(p.detach().clone().set_requires_grad(true));
    const auto after = make(second);
    const auto rate = after->lr();
    after->set_lr(7);
    after->load_state_dict(saved);
    CHECK(after->lr() == rate);
    for (int step = 3; step < 6; ++step) set_gradients(second, step), after->step();
    for (std::size_t i = 0; i < straight.size(); ++i) CHECK(torch::equal(straight[i], second[i]));
  }
}

TEST_CASE("optim: parameters without a gradient are left alone and have no state", "[unit][worker][optim]") {
  for (const auto& [name, make] : kAll) {
    INFO(name);
    const auto all = parameters();
    const auto untouched = all[1].detach().clone();
    const auto optimizer = make(all);
    optimizer->step();  // none has a gradient
    CHECK(optimizer->state_dict().tensors.empty());
    all[0].mutable_grad() = torch::ones_like(all[0]);
    optimizer->step();
    optimizer->step();
    CHECK(torch::equal(all[1], untouched));
    for (const auto& [key, tensor] : optimizer->state_dict().tensors) CHECK(key.substr(0, 2) == "0.");
    all[1].mutable_grad() = torch::ones_like(all[1]);  // the first gradient comes late
    optimizer->step();
    CHECK_FALSE(torch::equal(all[1], untouched));
    CHECK(all[1].isfinite().all().item<bool>());
  }
}

TEST_CASE("optim: a step whose gradients overflowed is left out, and scaled gradients are unscaled",
          "[unit][worker][optim]") {
  for (const auto& [name, make] : kAll) {
    INFO(name);
    const auto plain = parameters(), scaled = parameters();
    const auto one = make(plain), other = make(scaled);
    for (int step = 0; step < 3; ++step) {
      for (const auto& p : scaled) p.mutable_grad() = torch::full_like(p, INFINITY).detach();
      other->step({torch::full({}, 4.f), torch::ones({})});
      set_gradients(plain, step);
      set_gradients(scaled, step);
      for (const auto& p : scaled) p.mutable_grad() = p.grad() * 4;
      one->step();
      other->step({torch::full({}, 4.f), torch::zeros({})});
    }
    for (std::size_t i = 0; i < plain.size(); ++i) CHECK(torch::allclose(plain[i], scaled[i], 1e-6, 1e-7));
    const auto mine = one->state_dict().tensors, theirs = other->state_dict().tensors;
    REQUIRE(mine.size() == theirs.size());
    for (const auto& [key, tensor] : mine) CHECK(torch::allclose(tensor, theirs.at(key), 1e-6, 1e-7));
  }
}

TEST_CASE("optim: zero_grad takes gradients away, or fills them with 0", "[unit][worker][optim]") {
  const auto p = torch::ones({2}).set_requires_grad(true);
  const auto sgd = optim::SGD({p});
  p.mutable_grad() = torch::ones({2});
  const auto gradient = p.grad();
  sgd->zero_grad(false);
  CHECK((p.grad().is_same(gradient) && p.grad().sum().item<float>() == 0));
  sgd->zero_grad();
  CHECK_FALSE(p.grad().defined());
}

TEST_CASE("optim: step(closure) computes the loss with gradients, then steps", "[unit][worker][optim]") {
  const auto p = torch::ones({2}).set_requires_grad(true);
  const auto sgd = optim::SGD({p}, {.lr = 0.5});
  const torch::NoGradGuard no_grad;
  const auto loss = sgd->step([&] {
    auto value = p.square().sum();
    value.backward();
    return value;
  });
  CHECK(loss.item<float>() == 2);
  CHECK(torch::equal(p, torch::zeros({2})));
  CHECK_THROWS_WITH(optim::LBFGS({torch::ones({1}).set_requires_grad(true)})->step(),
                    Contains("call step(closure)"));
}

TEST_CASE("optim: gradients laid out otherwise in memory are understood", "[unit][worker][optim]") {
  auto p = torch::zeros({2, 3}).set_requires_grad(true);
  p.mutable_grad() = torch::arange(6.0).view({3, 2}).t();
  optim::SGD({p}, {.lr = 1})->step();
  CHECK(torch::equal(p, -torch::arange(6.0).view({3, 2}).t()));
}

TEST_CASE("optim: wrong arguments are refused by name", "[unit][worker][optim]") {
  const auto p = parameters();
  CHECK_THROWS_WITH(optim::Adam({}), Contains("Adam: got no parameters"));
  CHECK_THROWS_WITH(optim::Adam(p, {.lr = -1}), Contains("lr must be 0 or more"));
  CHECK_THROWS_WITH(optim::Adam(p, {.beta1 = 1}), Contains("beta1"));
  CHECK_THROWS_WITH(optim::AdamW(p, {.beta2 = -0.1}), Contains("AdamW: beta2"));
  CHECK_THROWS_WITH(optim::Adam(p, {.eps = -1}), Contains("eps"));
  CHECK_THROWS_WITH(optim::SGD(p, {.nesterov = true}), Contains("nesterov"));
  CHECK_THROWS_WITH(optim::SGD(p, {.momentum = -1}), Contains("momentum"));
  CHECK_THROWS_WITH(optim::SGD({p[0] * 2}), Contains("only leaves"));
  CHECK_THROWS_WITH(optim::SGD({torch::arange(3)}), Contains("floating-point"));
  CHECK_THROWS_WITH(optim::SGD({torch::zeros({3}).expand({2, 3})}), Contains("not dense"));
  CHECK_THROWS_AS(optim::SGD(p)->set_lr(-1), std::invalid_argument);
  CHECK_THROWS_AS(optim::SGD(p)->set_lr(NAN), std::invalid_argument);
}

}  // namespace optim_test
