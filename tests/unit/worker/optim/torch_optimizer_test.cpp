// torch::optim's optimizers behind ours, LBFGS included.
#include "tests/support/catch.h"
#include "tests/support/golden.h"

#include <rtrain/optim.h>

#include <torch/torch.h>

#include <functional>

namespace torch_optimizer_test {

using namespace rtrain;
using Catch::Matchers::Contains;
using rtrain::test::det;

namespace {

namespace to = torch::optim;
using Parameters = std::vector<torch::Tensor>;

Parameters parameters() {
  return {det({3, 2}, 2).set_requires_grad(true), det({4}, 9).set_requires_grad(true)};
}
void set_gradients(const Parameters& all, int step) {
  for (std::size_t i = 0; i < all.size(); ++i)
    all[i].mutable_grad() = det(all[i].sizes().vec(), 11 * step + 3 * static_cast<int>(i) + 1);
}

struct Pair {
  std::function<std::shared_ptr<Optimizer>(Parameters)> wrapped, ours;
};

const std::vector<Pair>& pairs() {
  static const std::vector<Pair> all{
      {[](auto p) { return optim::wrap(to::SGD(p, to::SGDOptions(0.1).momentum(0.9))); },
       [](auto p) { return optim::SGD(p, {.lr = 0.1, .momentum = 0.9}); }},
      {[](auto p) { return optim::wrap(std::make_shared<to::SGD>(p, to::SGDOptions(0.1))); },
       [](auto p) { return optim::SGD(p, {.lr = 0.1}); }},
      {[](auto p) { return optim::wrap(to::Adam(p, to::AdamOptions(0.1).amsgrad(true))); },
       [](auto p) { return optim::Adam(p, {.lr = 0.1, .amsgrad = true}); }},
      {[](auto p) { return optim::wrap(to::AdamW(p, to::AdamWOptions(0.1))); },
       [](auto p) { return optim::AdamW(p, {.lr = 0.1}); }},
      {[](auto p) {
         return optim::wrap(to::RMSprop(p, to::RMSpropOptions(0.1).momentum(0.9).centered(true)));
       },
       [](auto p) { return optim::RMSprop(p, {.lr = 0.1, .momentum = 0.9, .centered = true}); }},
      {[](auto p) { return optim::wrap(to::Adagrad(p, to::AdagradOptions(0.1))); },
       [](auto p) { return optim::Adagrad(p, {.lr = 0.1}); }},
  };
  return all;
}

}  // namespace

TEST_CASE("optim: torch::optim's optimizers and ours load each other's states and go on alike",
          "[unit][worker][optim]") {
  for (const auto& [wrapped, ours] : pairs()) {
    const auto straight = parameters(), first = parameters();
    const auto one = ours(straight), before = wrapped(first);
    INFO(one->type_name());
    CHECK(one->type_name() == before->type_name());
    for (int step = 0; step < 3; ++step) {
      set_gradients(straight, step), one->step();
      set_gradients(first, step), before->step();
    }
    auto saved = before->state_dict();
    for (auto& [key, piece] : saved.tensors) piece.tensor = piece.tensor.clone();
    const auto theirs = one->state_dict();
    CHECK(saved.tensors.size() == theirs.tensors.size());
    for (const auto& [key, piece] : theirs.tensors)
      CHECK(torch::allclose(piece.tensor, saved.tensors.at(key).tensor.to(piece.tensor.scalar_type()), 1e-10,
                            1e-12));
    for (const auto& make : {wrapped, ours}) {
      Parameters second;
      for (const auto& p : first) second.push_back(p.detach().clone().set_requires_grad(true));
      const auto after = make(second);
      after->set_lr(7);
      after->load_state_dict(saved);
      CHECK(after->lr() == 0.1);
      const auto copy = parameters();
      auto again = ours(copy);
      for (std::size_t i = 0; i < copy.size(); ++i) {
        const torch::NoGradGuard no_grad;
        copy[i].copy_(straight[i]);
      }
      again->load_state_dict(theirs);
      for (int step = 3; step < 6; ++step) {
        set_gradients(second, step), after->step();
        set_gradients(copy, step), again->step();
      }
      for (std::size_t i = 0; i < copy.size(); ++i) CHECK(torch::allclose(copy[i], second[i], 1e-9, 1e-11));
    }
  }
}

TEST_CASE("optim: options reach a wrapped optimizer, and what does not fit is refused",
          "[unit][worker][optim]") {
  const auto all = parameters();
  const auto sgd = optim::wrap(to::SGD(all, to::SGDOptions(0.1).momentum(0.9)));
  CHECK(sgd->groups()[0].options.at("momentum") == 0.9);
  const auto before = all[1].detach().clone();
  sgd->set_lr(0);
  set_gradients(all, 0), sgd->step();
  CHECK(torch::equal(all[1], before));
  auto state = sgd->state_dict();
  state.tensors.erase("0.momentum_buffer");
  state.tensors["0.exp_avg"] = torch::zeros({3, 2});
  CHECK_THROWS_WITH(sgd->load_state_dict(state),
                    Contains("lacks \"0.momentum_buffer\"") && Contains("unknown entry \"0.exp_avg\""));
  CHECK_THROWS_WITH(optim::wrap(std::shared_ptr<to::Optimizer>()), Contains("the optimizer is null"));
  struct Odd : to::SGD {
    using SGD::SGD;
  };
  CHECK(optim::wrap(std::make_shared<Odd>(all, 0.1))->type_name() == "SGD");
  CHECK_THROWS_AS(sgd->replace_parameter("0", torch::zeros({2})), std::logic_error);
  sgd->add_param_group({{torch::ones({1}).set_requires_grad(true)}, "", {{"lr", 0.5}}});
  CHECK(sgd->lr(1) == 0.5);
}

TEST_CASE("optim: LBFGS goes on from its state, with parameters in another order", "[unit][worker][optim]") {
  const auto closure_of = [](Optimizer& optimizer, const torch::Tensor& a, const torch::Tensor& b) {
    return [&optimizer, a, b] {
      optimizer.zero_grad();
      const auto loss = (a - 1).square().sum() + (b + 2).pow(4).sum();
      loss.backward();
      return loss;
    };
  };
  const auto all = parameters();
  const auto straight = optim::LBFGS(all, {.max_iter = 4});
  CHECK(straight->needs_closure());
  for (int step = 0; step < 2; ++step) straight->step(closure_of(*straight, all[0], all[1]));
  torch::OrderedDict<std::string, torch::Tensor> named;
  named.insert("a", all[0]);
  named.insert("b", all[1]);
  straight->name_parameters(named);
  auto saved = straight->state_dict();
  CHECK(saved.tensors.at("b.old_dirs").whole().sizes() ==
        torch::IntArrayRef{saved.tensors.at("a.ro").whole().size(0), 4});
  for (auto& [key, piece] : saved.tensors) piece.tensor = piece.tensor.clone();

  const Parameters second{all[1].detach().clone().set_requires_grad(true),
                          all[0].detach().clone().set_requires_grad(true)};
  const auto resumed = optim::LBFGS(second, {.lr = 0.5, .max_iter = 4});
  torch::OrderedDict<std::string, torch::Tensor> renamed;
  renamed.insert("b", second[0]);
  renamed.insert("a", second[1]);
  resumed->name_parameters(renamed);
  resumed->load_state_dict(saved);
  CHECK(resumed->lr() == 1);
  straight->step(closure_of(*straight, all[0], all[1]));
  resumed->step(closure_of(*resumed, second[1], second[0]));
  CHECK(torch::allclose(all[0], second[1], 1e-10, 1e-12));
  CHECK(torch::allclose(all[1], second[0], 1e-10, 1e-12));

  auto wrong = saved;
  wrong.tensors.erase("b.old_dirs");
  wrong.tensors["a.d"] = torch::zeros({5});
  CHECK_THROWS_WITH(resumed->load_state_dict(wrong),
                    Contains("some parameters lack \"old_dirs\"") && Contains("\"a.d\" has shape [5]"));
}

}  // namespace torch_optimizer_test
