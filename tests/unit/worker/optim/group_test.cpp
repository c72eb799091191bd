// Parameter groups, split_decay and Chain.
#include "tests/support/catch.h"

#include <rtrain/optim.h>

#include <torch/torch.h>

namespace group_test {

using namespace rtrain;
using Catch::Matchers::Contains;

namespace {

torch::Tensor parameter(std::vector<std::int64_t> shape = {2}) {
  return torch::ones(shape).set_requires_grad(true);
}

}  // namespace

TEST_CASE("optim: groups have their own options and take the rest from the optimizer",
          "[unit][worker][optim]") {
  const auto a = parameter(), b = parameter(), c = parameter();
  const auto adamw =
      optim::AdamW({{.params = {a}, .name = "decay"}, {.params = {b}, .lr = 0.5, .weight_decay = 0}},
                   {.lr = 0.1, .weight_decay = 0.2});
  REQUIRE(adamw->groups().size() == 2);
  CHECK(adamw->groups()[0].name == "decay");
  CHECK(adamw->groups()[0].options.at("weight_decay") == 0.2);
  CHECK(adamw->groups()[1].options.at("weight_decay") == 0);
  CHECK((adamw->lr() == 0.1 && adamw->lr(1) == 0.5));
  adamw->set_lr(0.3, 1);
  CHECK((adamw->lr() == 0.1 && adamw->lr(1) == 0.3));
  adamw->set_lr(0.7);
  CHECK((adamw->lr() == 0.7 && adamw->lr(1) == 0.7));
  CHECK_THROWS_AS(adamw->lr(2), std::out_of_range);
  adamw->add_param_group({{c}, "late", {{"lr", 0.9}}});
  CHECK(adamw->parameters().size() == 3);
  CHECK((adamw->lr(2) == 0.9 && adamw->groups()[2].options.at("weight_decay") == 0.2));
  CHECK_THROWS_WITH(adamw->add_param_group({{c}}),
                    Contains("the new group: parameter 0 is in an earlier group"));
  CHECK_THROWS_WITH(adamw->add_param_group({}), Contains("has no parameters"));
  CHECK_THROWS_WITH(adamw->add_param_group({{parameter()}, "", {{"lrr", 1}}}),
                    Contains("there is no option \"lrr\"; there are lr, beta1"));
  CHECK_THROWS_WITH(adamw->add_param_group({{parameter()}, "", {{"beta1", 1}}}),
                    Contains("the new group: beta1"));
  CHECK(adamw->parameters().size() == 3);
  CHECK_THROWS_WITH(optim::SGD({{.params = {a}}, {.params = {b}, .name = "head", .momentum = -1}}),
                    Contains("SGD: group 1 (head): momentum must be 0 or more"));
}

TEST_CASE("optim: the options of a group hold from the next step on", "[unit][worker][optim]") {
  const auto p = parameter();
  const auto sgd = optim::SGD({p}, {.lr = 1});
  p.mutable_grad() = torch::ones({2});
  sgd->groups()[0].options["lr"] = 0.25;
  sgd->step();
  CHECK(torch::equal(p, torch::full({2}, 0.75)));
}

TEST_CASE("optim: split_decay leaves vectors without weight decay, and frozen parameters out",
          "[unit][worker][optim]") {
  struct Net : torch::nn::Module {
    torch::nn::Linear layer = register_module("layer", torch::nn::Linear(2, 3));
    torch::nn::LayerNorm norm =
        register_module("norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({3})));
    torch::nn::Linear frozen = register_module("frozen", torch::nn::Linear(2, 3));
  } net;
  for (auto& p : net.frozen->parameters()) p.set_requires_grad(false);
  const auto adamw = optim::AdamW(optim::split_decay(net, 0.3), {.lr = 0.1});
  REQUIRE(adamw->groups().size() == 2);
  CHECK((adamw->groups()[0].name == "decay" && adamw->groups()[0].params.size() == 1));
  CHECK((adamw->groups()[1].name == "no_decay" && adamw->groups()[1].params.size() == 3));
  CHECK(adamw->groups()[0].options.at("weight_decay") == 0.3);
  CHECK(adamw->groups()[1].options.at("weight_decay") == 0);
}

TEST_CASE("optim: a chain steps its members with the options of its groups", "[unit][worker][optim]") {
  const auto matrix = parameter({3, 2}), vector = parameter();
  const auto muon = optim::Muon({matrix}, {.lr = 0.02});
  const auto chain = optim::Chain({muon, optim::SGD({vector}, {.lr = 1})});
  CHECK(chain->type_name() == "Chain");
  REQUIRE(chain->groups().size() == 2);
  CHECK((chain->lr(0) == 0.02 && chain->lr(1) == 1));
  matrix.mutable_grad() = torch::rand({3, 2});
  vector.mutable_grad() = torch::ones({2});
  chain->set_lr(0.5, 1);
  chain->step();
  CHECK(torch::equal(vector, torch::full({2}, 0.5)));
  CHECK_FALSE(torch::equal(matrix, torch::ones({3, 2})));
  const auto state = chain->state_dict();
  CHECK(state.tensors.contains("0.momentum_buffer"));
  CHECK(state.groups[0].at("type") == "Muon");
  CHECK(state.groups[1].at("parameters") == nlohmann::json::array({"1"}));

  const auto other = optim::Chain({optim::Muon({matrix}), optim::SGD({vector})});
  other->load_state_dict(state);
  CHECK((other->lr(0) == 0.02 && other->lr(1) == 0.5));
  auto wrong = state;
  wrong.tensors.erase("0.momentum_buffer");
  wrong.tensors["0.exp_avg"] = torch::zeros({3, 2});
  wrong.groups[1]["type"] = "Adam";
  CHECK_THROWS_WITH(other->load_state_dict(wrong),
                    Contains("optimizer 0 (Muon): the state lacks \"0.momentum_buffer\"") &&
                        Contains("optimizer 1 (SGD): it is the state of Adam"));
  CHECK(other->lr(1) == 0.5);

  CHECK_THROWS_WITH(optim::Chain({}), Contains("Chain: got no parameters"));
  CHECK_THROWS_WITH(optim::Chain({nullptr}), Contains("optimizer 0 is null"));
  CHECK_THROWS_WITH(optim::Chain({muon, optim::SGD({matrix})}), Contains("is in an earlier group already"));
  CHECK_THROWS_WITH(optim::Chain({optim::LBFGS({vector})}), Contains("wants a closure"));
  CHECK_THROWS_AS(chain->add_param_group({{parameter()}}), std::logic_error);
}

}  // namespace group_test
