// Parameter names and what a checkpoint holds of an optimizer.
#include "tests/support/catch.h"

#include <rtrain/optim.h>

#include <torch/torch.h>

namespace state_test {

using namespace rtrain;
using Catch::Matchers::Contains;

namespace {

struct Net : torch::nn::Module {
  torch::nn::Linear first = register_module("first", torch::nn::Linear(3, 4));
  torch::nn::Linear second = register_module("second", torch::nn::Linear(4, 1));
  void learn() {
    zero_grad();
    second(torch::tanh(first(torch::ones({2, 3})))).sum().backward();
  }
};

std::vector<std::string> keys_of(const OptimizerState& state) {
  std::vector<std::string> keys;
  for (const auto& [key, tensor] : state.tensors) keys.push_back(key);
  return keys;
}

}  // namespace

TEST_CASE("optim: state is by parameter name, options by group", "[unit][worker][optim]") {
  Net net;
  net.learn();
  const auto adam = optim::Adam(
      {{.params = net.first->parameters(), .name = "body", .lr = 0.5}, {.params = {net.second->weight}}},
      {.lr = 0.1});
  adam->step();
  CHECK(adam->parameter_name(2) == "2");
  CHECK(adam->state_dict().tensors.contains("2.exp_avg"));
  adam->name_parameters(net.named_parameters());
  const auto state = adam->state_dict();
  CHECK(keys_of(state) ==
        std::vector<std::string>{"first.bias.exp_avg", "first.bias.exp_avg_sq", "first.bias.step",
                                 "first.weight.exp_avg", "first.weight.exp_avg_sq", "first.weight.step",
                                 "second.weight.exp_avg", "second.weight.exp_avg_sq", "second.weight.step"});
  CHECK(state.tensors.at("first.bias.step").whole().item<double>() == 1);
  CHECK(state.type == "Adam");
  REQUIRE(state.groups.size() == 2);
  CHECK(state.groups[0].at("name") == "body");
  CHECK(state.groups[0].at("parameters") == nlohmann::json::array({"first.weight", "first.bias"}));
  CHECK(state.groups[0].at("lr") == 0.5);
  CHECK(state.groups[1].at("lr") == 0.1);
  CHECK(state.groups[1].at("beta2") == 0.999);
}

TEST_CASE("optim: a state fits parameters in another order, and brings its options",
          "[unit][worker][optim]") {
  Net net;
  net.learn();
  const auto before = optim::Adam(net.parameters(), {.lr = 0.1, .amsgrad = true});
  before->name_parameters(net.named_parameters());
  before->step();
  auto reversed = net.parameters();
  std::reverse(reversed.begin(), reversed.end());
  const auto after = optim::Adam(reversed, {.lr = 7, .beta1 = 0.5});
  after->name_parameters(net.named_parameters());
  after->load_state_dict(before->state_dict());
  CHECK(after->groups()[0].options == before->groups()[0].options);
  const auto mine = before->state_dict().tensors, theirs = after->state_dict().tensors;
  REQUIRE(keys_of(before->state_dict()) == keys_of(after->state_dict()));
  for (const auto& [key, tensor] : mine) CHECK(torch::equal(tensor, theirs.at(key)));
}

TEST_CASE("optim: a state that does not fit is refused with all that is wrong, and changes nothing",
          "[unit][worker][optim]") {
  Net net;
  net.learn();
  const auto adam = optim::Adam(net.parameters());
  adam->name_parameters(net.named_parameters());
  adam->step();
  const auto good = adam->state_dict();
  const auto refuse = [&](auto change, const std::string& fault) {
    auto state = good;
    change(state);
    CHECK_THROWS_WITH(adam->load_state_dict(state), Contains(fault));
    CHECK(adam->state_dict()
              .tensors.at("first.bias.exp_avg")
              .tensor.is_same(good.tensors.at("first.bias.exp_avg")));
    CHECK(adam->lr() == 1e-3);
  };
  refuse([](auto& s) { s.type = "SGD"; }, "it is the state of SGD, this is Adam");
  refuse([](auto& s) { s.groups.push_back(s.groups[0]); }, "has 2 parameter group(s), the optimizer has 1");
  refuse([](auto& s) { s.groups[0]["lr"] = -1; }, "lr must be 0 or more");
  refuse([](auto& s) { s.groups[0]["parameters"] = nlohmann::json::array({"first.weight", "other"}); },
         "had the parameter \"other\", which is none of this optimizer");
  refuse([](auto& s) { s.groups[0]["parameters"] = nlohmann::json::array({"first.weight"}); },
         "had no parameter \"second.bias\"");
  refuse([](auto& s) { s.tensors.erase("first.bias.exp_avg"); }, "lacks \"first.bias.exp_avg\"");
  refuse([](auto& s) { s.tensors["first.bias.exp_avg"] = torch::zeros({6}); },
         "\"first.bias.exp_avg\" has shape [6], the parameter has [4]");
  refuse([](auto& s) { s.tensors["first.bias.step"] = torch::zeros({6}); }, "no single number");
  refuse([](auto& s) { s.tensors["third.exp_avg"] = torch::zeros({6}); }, "unknown entry \"third.exp_avg\"");
  refuse([](auto& s) { s.tensors["nonsense"] = torch::zeros({6}); }, "unknown entry \"nonsense\"");
  refuse([](auto& s) { s.tensors["first.bias.momentum_buffer"] = torch::zeros({4}); }, "unknown entry");
  refuse([](auto& s) { s.tensors["first.bias.exp_avg"] = torch::Tensor(); }, "undefined");
  auto twice = good;
  twice.tensors.erase("first.bias.exp_avg");
  twice.tensors.erase("second.bias.step");
  CHECK_THROWS_WITH(adam->load_state_dict(twice),
                    Contains("lacks \"first.bias.exp_avg\"") && Contains("lacks \"second.bias.step\""));
}

TEST_CASE("optim: names that clash are refused", "[unit][worker][optim]") {
  const auto a = torch::ones({1}).set_requires_grad(true), b = torch::ones({1}).set_requires_grad(true);
  const auto sgd = optim::SGD({a, b});
  torch::OrderedDict<std::string, torch::Tensor> named;
  named.insert("1", a);
  CHECK_THROWS_WITH(sgd->name_parameters(named), Contains("parameters 0 and 1 would both be called \"1\""));
  CHECK(sgd->parameter_name(0) == "0");
}

TEST_CASE("optim: a strategy puts another tensor in the place of a parameter", "[unit][worker][optim]") {
  Net net;
  const auto make = [&]() { return optim::SGD(net.parameters(), {.lr = 1, .momentum = 0.9}); };
  for (const bool chained : {false, true}) {
    const auto sgd = chained ? optim::Chain({make()}) : make();
    sgd->name_parameters(net.named_parameters());
    const auto shard = torch::zeros({2}).set_requires_grad(true);
    sgd->replace_parameter("first.bias", shard);
    CHECK(sgd->parameters()[1].is_same(shard));
    CHECK(sgd->groups()[0].params[1].is_same(shard));
    shard.mutable_grad() = torch::ones({2});
    sgd->step();
    CHECK(torch::equal(shard, -torch::ones({2})));
    CHECK(sgd->state_dict().tensors.at("first.bias.momentum_buffer").whole().sizes() ==
          torch::IntArrayRef{2});
    CHECK_THROWS_AS(sgd->replace_parameter("first.bias", torch::zeros({2})), std::logic_error);
    CHECK_THROWS_WITH(sgd->replace_parameter("first", shard), Contains("none of that name"));
    CHECK_THROWS_WITH(sgd->replace_parameter("second.bias", shard), Contains("by parameter \"first.bias\""));
  }
}

TEST_CASE("optim: a class of one's own has its state in checkpoints", "[unit][worker][optim]") {
  struct Heavy : Optimizer {
    using Optimizer::Optimizer;
    void step(const StepInputs&) override {
      const torch::NoGradGuard no_grad;
      for (std::size_t i = 0; i < parameters_.size(); ++i) {
        auto& velocity = state_[i]["velocity"];
        if (!velocity.defined()) velocity = torch::zeros_like(parameters_[i]);
        velocity.mul_(0.9).add_(parameters_[i].grad());
        parameters_[i].sub_(velocity * lr());
      }
    }
  };
  Net net;
  net.learn();
  Heavy one({ParamGroup{net.parameters(), "", {{"lr", 0.1}}}}),
      other({ParamGroup{net.parameters(), "", {{"lr", 0.2}}}});
  CHECK_THAT(one.type_name(), Contains("Heavy"));
  one.step({});
  other.load_state_dict(one.state_dict());
  CHECK(other.lr() == 0.1);
  CHECK(torch::equal(other.state_dict().tensors.at("0.velocity"), one.state_dict().tensors.at("0.velocity")));
  CHECK_THROWS_WITH(Heavy(net.parameters()).lr(), Contains("has no option \"lr\""));
}

TEST_CASE("optim: the state of a part of a parameter is that part of the state", "[optim]") {
  Net net;
  const auto& name = "first.weight";
  const auto whole = net.named_parameters()[name];
  const auto make = [&] {
    auto adam = optim::Adam(net.parameters(), {.lr = 0.1});
    adam->name_parameters(net.named_parameters());
    return adam;
  };
  const auto straight = make();
  const auto gradient = torch::randn_like(whole);
  whole.mutable_grad() = gradient;
  straight->step();
  const auto of_whole = straight->state_dict();

  const std::int64_t first = 2, count = whole.numel() - 3;
  const auto sharded = make();
  const auto part = torch::zeros({count}).set_requires_grad(true);
  sharded->replace_parameter(name, StatePiece(part, whole.sizes().vec(), first));
  CHECK(sharded->module_parameters()[0].is_same(whole));
  part.mutable_grad() = gradient.flatten().narrow(0, first, count);
  sharded->step();
  const auto state = sharded->state_dict();
  const auto& average = state.tensors.at("first.weight.exp_avg");
  CHECK(average.is_part);
  CHECK(average.shape == whole.sizes().vec());
  CHECK(average.offset == first);
  CHECK(torch::equal(average.tensor, of_whole.tensors.at("first.weight.exp_avg").range(first, count)));
  CHECK_FALSE(state.tensors.at("first.weight.step").is_part);

  const auto loaded = make();
  loaded->replace_parameter(
      name, StatePiece(torch::zeros({count}).set_requires_grad(true), whole.sizes().vec(), first));
  loaded->load_state_dict(of_whole);
  CHECK(torch::equal(loaded->state_dict().tensors.at("first.weight.exp_avg").tensor, average.tensor));
  auto other = of_whole;
  other.tensors["first.weight.exp_avg"] = torch::zeros({1, 2});
  CHECK_THROWS_WITH(loaded->load_state_dict(other), Contains("has shape [1, 2], the parameter has"));
}

}  // namespace state_test
