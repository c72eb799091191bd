#include "tests/support/catch.h"

#include <rtrain/optim.h>

#include <torch/torch.h>

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
    {"plain SGD", [](auto p) { return optim::SGD(p, {.lr = 0.1}); }},
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
    std::map<std::string, torch::Tensor> saved;
    for (const auto& [key, tensor] : before->state_dict()) saved.emplace(key, tensor.clone());

    std::vector<torch::Tensor> second;
    for (const auto& p : first) second.push_back(p.detach().clone().set_requires_grad(true));
    const auto after = make(second);
    after->set_lr(7);
    after->load_state_dict(saved);
    CHECK(after->lr() == 0.1);
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
    CHECK(optimizer->state_dict().size() == 1);
    all[0].mutable_grad() = torch::ones_like(all[0]);
    optimizer->step();
    optimizer->step();
    CHECK(torch::equal(all[1], untouched));
    for (const auto& [key, tensor] : optimizer->state_dict())
      CHECK((key == "lr" || key.substr(0, 2) == "0."));
    all[1].mutable_grad() = torch::ones_like(all[1]);  // the first gradient comes late
    optimizer->step();
    CHECK_FALSE(torch::equal(all[1], untouched));
    CHECK(all[1].isfinite().all().item<bool>());
  }
}

TEST_CASE("optim: state has PyTorch's names", "[unit][worker][optim]") {
  const auto all = parameters();
  set_gradients(all, 0);
  const auto adam = optim::Adam({all[0]}, {.amsgrad = true});
  adam->step();
  std::vector<std::string> names;
  for (const auto& [key, tensor] : adam->state_dict()) names.push_back(key);
  CHECK(names == std::vector<std::string>{"0.exp_avg", "0.exp_avg_sq", "0.max_exp_avg_sq", "0.step", "lr"});
  CHECK(adam->state_dict().at("0.step").item<double>() == 1);
  const auto sgd = optim::SGD({all[0]}, {.momentum = 0.9});
  sgd->step();
  CHECK(sgd->state_dict().contains("0.momentum_buffer"));
}

TEST_CASE("optim: a state that does not fit is refused and changes nothing", "[unit][worker][optim]") {
  const auto all = parameters();
  const auto adam = optim::Adam(all);
  set_gradients(all, 0);
  adam->step();
  const auto good = adam->state_dict();
  const auto refuse = [&](auto change, const std::string& fault) {
    auto state = good;
    change(state);
    CHECK_THROWS_WITH(adam->load_state_dict(state), Contains(fault));
  };
  refuse([](auto& s) { s.erase("lr"); }, "\"lr\"");
  refuse([](auto& s) { s.erase("1.exp_avg"); }, "lacks \"1.exp_avg\"");
  refuse([](auto& s) { s["1.exp_avg"] = torch::zeros({6}); },
         "\"1.exp_avg\" has shape [6], the parameter has [5]");
  refuse([](auto& s) { s["1.step"] = torch::zeros({6}); }, "no single number");
  refuse([](auto& s) { s["3.exp_avg"] = torch::zeros({6}); }, "unknown entry \"3.exp_avg\"");
  refuse([](auto& s) { s["1.momentum_buffer"] = torch::zeros({5}); }, "unknown entry");
  refuse([](auto& s) { s["1.exp_avg"] = torch::Tensor(); }, "undefined");
  CHECK(adam->state_dict().at("1.exp_avg").is_same(good.at("1.exp_avg")));
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
}
