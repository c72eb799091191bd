// Every optimizer against torch.optim: tests/golden/optim/optimizers.txt, made by scripts/g_optim.py there.
#include "tests/support/golden.h"
#include "tests/support/catch.h"

#include <rtrain/optim.h>

#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <map>
#include <optional>
#include <regex>
#include <set>

namespace optim_golden_test {

using namespace rtrain;
using rtrain::test::det;

namespace {

struct Case {
  std::function<std::shared_ptr<Optimizer>(const torch::Tensor& a, const torch::Tensor& b)> make;
  double tolerance = 1e-12;
  double tolerance_of_state = tolerance;
};

/// Two groups: the second with half the learning rate and a weight decay.
template <class Group, class Options>
Case two(std::shared_ptr<Optimizer> (*make)(optim::Parameters<Group>, Options), Options options) {
  return {[=](const torch::Tensor& a, const torch::Tensor& b) {
    return make({{.params = {a}}, {.params = {b}, .lr = options.lr * 0.5, .weight_decay = 0.3}}, options);
  }};
}

const std::map<std::string, Case>& cases() {
  using namespace optim;
  static const std::map<std::string, Case> all{
      {"SGD lr .1", two(SGD, SGDOptions{.lr = 0.1})},
      {"SGD momentum .9", two(SGD, SGDOptions{.lr = 0.1, .momentum = 0.9})},
      {"SGD momentum .9 dampening .1 wd",
       two(SGD, SGDOptions{.lr = 0.1, .momentum = 0.9, .dampening = 0.1, .weight_decay = 0.01})},
      {"SGD nesterov", two(SGD, SGDOptions{.lr = 0.1, .momentum = 0.9, .nesterov = true})},
      {"SGD maximize", two(SGD, SGDOptions{.lr = 0.1, .maximize = true})},
      {"Adam", two(Adam, AdamOptions{.lr = 0.01})},
      {"Adam wd .1", two(Adam, AdamOptions{.lr = 0.01, .weight_decay = 0.1})},
      {"AdamW", two(AdamW, AdamWOptions{.lr = 0.01})},
      {"AdamW wd .1", two(AdamW, AdamWOptions{.lr = 0.01, .weight_decay = 0.1})},
      {"NAdam", two(NAdam, NAdamOptions{.lr = 0.01})},
      {"NAdam wd .1", two(NAdam, NAdamOptions{.lr = 0.01, .weight_decay = 0.1})},
      {"RAdam", two(RAdam, RAdamOptions{.lr = 0.01})},
      {"RAdam wd .1", two(RAdam, RAdamOptions{.lr = 0.01, .weight_decay = 0.1})},
      {"Adam amsgrad", two(Adam, AdamOptions{.lr = 0.01, .amsgrad = true})},
      {"AdamW amsgrad maximize", two(AdamW, AdamWOptions{.lr = 0.01, .amsgrad = true, .maximize = true})},
      {"Adam decoupled_weight_decay",
       two(Adam, AdamOptions{.lr = 0.01, .weight_decay = 0.1, .decoupled_weight_decay = true})},
      {"NAdam decoupled",
       two(NAdam, NAdamOptions{.lr = 0.01, .weight_decay = 0.1, .decoupled_weight_decay = true})},
      {"RAdam decoupled, 8 steps",
       two(RAdam, RAdamOptions{.lr = 0.01, .weight_decay = 0.1, .decoupled_weight_decay = true})},
      {"Adamax", two(Adamax, AdamaxOptions{.lr = 0.01})},
      {"Adagrad",
       two(Adagrad, AdagradOptions{.lr = 0.1, .lr_decay = 0.01, .initial_accumulator_value = 0.1})},
      {"Adadelta", two(Adadelta, AdadeltaOptions{.lr = 1})},
      {"RMSprop", two(RMSprop, RMSpropOptions{.lr = 0.01})},
      {"RMSprop centered momentum",
       two(RMSprop, RMSpropOptions{.lr = 0.01, .momentum = 0.9, .centered = true})},
      {"ASGD", two(ASGD, ASGDOptions{.lr = 0.01})},
      {"ASGD t0 2", two(ASGD, ASGDOptions{.lr = 0.01, .t0 = 2})},
      {"Rprop", {[](auto& a, auto& b) { return Rprop({a, b}, {.lr = 0.01}); }}},
      {"Adafactor", two(Adafactor, AdafactorOptions{.lr = 0.01})},
      {"Adafactor defaults", {[](auto& a, auto& b) { return Adafactor({a, b}); }}},
      {"LBFGS", {[](auto& a, auto& b) { return LBFGS({a, b}, {.max_iter = 4}); }, 1e-9}},
      // (b + 2)^4 is so flat at its minimum that the last digits depend on the processor, and H_diag, a
      // quotient of differences there, on those.
      {"LBFGS strong_wolfe",
       {[](auto& a, auto& b) { return LBFGS({a, b}, {.strong_wolfe = true}); }, 2e-6, 1e-2}},
      // Its matrix products are in bfloat16, whose kernels differ from machine to machine.
      {"Muon", {[](auto& a, auto&) { return Muon({a}, {.lr = 0.02}); }, 1e-3}},
      {"Muon match_rms_adamw",
       {[](auto& a, auto&) { return Muon({a}, {.lr = 0.02, .adjust_lr = MuonRate::kMatchRmsAdamW}); }, 1e-3}},
  };
  return all;
}

/// "a=[1 2] b=[3]": the numbers of one name.
std::vector<double> numbers_of(const std::string& line, const std::string& name) {
  const auto begin = line.find(name + "=[");
  REQUIRE(begin != std::string::npos);
  const auto end = line.find(']', begin);
  return test::golden_numbers(line.substr(begin + name.size() + 1, end - begin - name.size()));
}

void check_equal(const torch::Tensor& mine, const std::vector<double>& theirs, double tolerance) {
  const auto flat = mine.detach().to(torch::kDouble).reshape({-1});
  REQUIRE(flat.numel() == static_cast<std::int64_t>(theirs.size()));
  for (std::size_t i = 0; i < theirs.size(); ++i) {
    INFO("element " << i);
    const double value = flat[static_cast<std::int64_t>(i)].item<double>();
    CHECK(std::abs(value - theirs[i]) <= tolerance * std::max(1.0, std::abs(theirs[i])));
  }
}

}  // namespace

TEST_CASE("optim: every optimizer does what torch.optim's does, state included", "[unit][worker][optim]") {
  std::set<std::string> seen;
  for (const auto& section : test::golden_sections("optim/optimizers.txt")) {
    INFO(section.title);
    if (section.title == "SparseAdam" || section.title.starts_with("Muon of a vector")) continue;
    REQUIRE(cases().contains(section.title));
    seen.insert(section.title);
    const auto& [make, tolerance, tolerance_of_state] = cases().at(section.title);
    const auto a = det({3, 2}, 2).set_requires_grad(true), b = det({4}, 9).set_requires_grad(true);
    const auto optimizer = make(a, b);
    const auto closure = [&] {
      optimizer->zero_grad();
      const auto loss = (a - 1).square().sum() + (b + 2).pow(4).sum();
      loss.backward();
      return loss;
    };
    int steps = 2;
    for (const int last : {3, 6, 8})
      if (!section.after("step " + std::to_string(last) + ": ").empty()) steps = last;
    for (int k = 0; k < steps; ++k) {
      a.mutable_grad() = det({3, 2}, 11 * k + 1) * 2;
      b.mutable_grad() = det({4}, 11 * k + 4) * 2;
      if (optimizer->needs_closure())
        optimizer->step(closure);
      else
        optimizer->step();
      const auto step = section.after("step " + std::to_string(k + 1) + ": ");
      if (step.empty()) continue;
      INFO("step " << k + 1);
      check_equal(a, numbers_of(step, "a"), tolerance);
      check_equal(b, numbers_of(step, "b"), tolerance);
    }
    const auto state = optimizer->state_dict();
    const std::regex entry("'(\\w+)': '\\[([^']*)\\]'");
    std::size_t compared = 0;
    for (int number = 0; number < 2; ++number) {
      const auto text = section.after("state[" + std::to_string(number) + "]: ");
      for (std::sregex_iterator it(text.begin(), text.end(), entry), end; it != end; ++it, ++compared) {
        const auto key = std::to_string(number) + "." + (*it)[1].str();
        INFO(key);
        REQUIRE(state.tensors.contains(key));
        check_equal(state.tensors.at(key), test::golden_numbers((*it)[2].str()), tolerance_of_state);
      }
    }
    if (!optimizer->needs_closure()) CHECK(compared == state.tensors.size());
  }
  CHECK(seen.size() == cases().size());
}

TEST_CASE("optim: torch.optim's refusals are refused", "[unit][worker][optim]") {
  using Catch::Matchers::Contains;
  const auto p = torch::ones({1}).set_requires_grad(true);
  CHECK_THROWS_WITH(optim::SGD({}, {.lr = 0.1}), Contains("SGD: got no parameters"));
  CHECK_THROWS_WITH(optim::SGD({p}, {.lr = -1}), Contains("lr must be 0 or more, found -1"));
  CHECK_THROWS_WITH(optim::SGD({p}, {.lr = 0.1, .nesterov = true}),
                    Contains("nesterov needs a momentum and no dampening"));
  CHECK_THROWS_WITH(optim::Adam({p}, {.beta1 = 1, .beta2 = 0.9}),
                    Contains("beta1 must be in [0, 1), found 1"));
  CHECK_THROWS_WITH(optim::SGD({{.params = {p}}, {.params = {p}}}),
                    Contains("SGD: group 1: parameter 0 is in an earlier group already"));
  CHECK_THROWS_WITH(optim::SGD({torch::ones({1}).set_requires_grad(true) * 2}), Contains("only leaves"));
  CHECK_THROWS_WITH(optim::Muon({det({4}, 9)}), Contains("has shape [4], only matrices can be optimized"));
  CHECK_THROWS_WITH(optim::Rprop({p}, {.eta_minus = 1.5}), Contains("0 < eta_minus < 1 < eta_plus"));
  CHECK_THROWS_WITH(optim::Adadelta({p}, {.rho = 2}), Contains("Adadelta: rho must be in [0, 1]"));
  CHECK_THROWS_WITH(optim::Adafactor({p}, {.d = 0.5}), Contains("d must be 1 or more"));
  CHECK_THROWS_WITH(optim::Muon({det({2, 2}, 1)}, {.ns_steps = 100}), Contains("ns_steps must be below 100"));
  const auto sparse = optim::NAdam({p});
  p.mutable_grad() = torch::ones({1}).to_sparse();
  CHECK_THROWS_WITH(sparse->step(), Contains("sparse gradients are not supported (parameter \"0\")"));
}

}  // namespace optim_golden_test
