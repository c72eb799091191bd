// Every scheduler against torch.optim.lr_scheduler, to the last bit: tests/golden/optim/lr_schedulers.txt,
// made by scripts/g_lr.py there.
#include "tests/support/golden.h"
#include "tests/support/catch.h"

#include <rtrain/optim.h>
#include <rtrain/schedulers.h>

#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <set>

namespace schedulers_golden_test {

using namespace rtrain;

namespace {

using lr::SharedScheduler;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct Case {
  std::function<SharedScheduler(std::shared_ptr<Optimizer>)> make;
  std::vector<double> metrics{}, epochs{};
};

const std::map<std::string, Case>& cases() {
  using namespace lr;
  static const std::map<std::string, Case> all{
      {"LambdaLR .95^e, 1/(1+e)", {[](auto o) {
         return LambdaLR(
             o, {[](auto e) { return std::pow(0.95, e); }, [](auto e) { return 1 / (1 + double(e)); }});
       }}},
      {"MultiplicativeLR .95", {[](auto o) { return MultiplicativeLR(o, [](auto) { return 0.95; }); }}},
      {"StepLR 3 .1", {[](auto o) { return StepLR(o, {.step_size = 3}); }}},
      {"MultiStepLR [2,5,5] .5",
       {[](auto o) { return MultiStepLR(o, {.milestones = {2, 5, 5}, .gamma = 0.5}); }}},
      {"ConstantLR 1/3 5", {[](auto o) { return ConstantLR(o); }}},
      {"LinearLR", {[](auto o) { return LinearLR(o); }}},
      {"LinearLR .1 .7 4",
       {[](auto o) { return LinearLR(o, {.start_factor = 0.1, .end_factor = 0.7, .total_iters = 4}); }}},
      {"ExponentialLR .9", {[](auto o) { return ExponentialLR(o, 0.9); }}},
      {"PolynomialLR 5", {[](auto o) { return PolynomialLR(o); }}},
      {"PolynomialLR 6 2", {[](auto o) { return PolynomialLR(o, {.total_iters = 6, .power = 2}); }}},
      {"CosineAnnealingLR 5 .1", {[](auto o) { return CosineAnnealingLR(o, {.t_max = 5, .eta_min = 0.1}); }}},
      {"CosineAnnealingWarmRestarts 3 2 .1",
       {[](auto o) { return CosineAnnealingWarmRestarts(o, {.t_0 = 3, .t_mult = 2, .eta_min = 0.1}); }}},
      {"CosineAnnealingWarmRestarts fractional",
       {[](auto o) { return CosineAnnealingWarmRestarts(o, {.t_0 = 3}); },
        {},
        {0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4}}},
      {"OneCycleLR max 2 total 12",
       {[](auto o) { return OneCycleLR(o, {.max_lr = 2.0, .total_steps = 12}); }}},
      {"OneCycleLR three_phase linear", {[](auto o) {
         return OneCycleLR(o, {.max_lr = 2.0,
                               .total_steps = 12,
                               .pct_start = 0.4,
                               .anneal_strategy = Anneal::kLinear,
                               .three_phase = true});
       }}},
      {"OneCycleLR no momentum", {[](auto o) {
         return OneCycleLR(o, {.max_lr = {2, 1}, .epochs = 2, .steps_per_epoch = 5, .cycle_momentum = false});
       }}},
      {"CyclicLR triangular",
       {[](auto o) { return CyclicLR(o, {.base_lr = 0.1, .max_lr = 1.0, .step_size_up = 4}); }}},
      {"CyclicLR triangular2", {[](auto o) {
         return CyclicLR(o, {.base_lr = 0.1, .max_lr = 1.0, .step_size_up = 2, .mode = Cycle::kTriangular2});
       }}},
      {"CyclicLR exp_range .9", {[](auto o) {
         return CyclicLR(o, {.base_lr = 0.1,
                             .max_lr = 1.0,
                             .step_size_up = 3,
                             .step_size_down = 2,
                             .mode = Cycle::kExpRange,
                             .gamma = 0.9});
       }}},
      {"SequentialLR const 3 then exp", {[](auto o) {
         return SequentialLR(o, {ConstantLR(o, {.factor = 0.1, .total_iters = 3}), ExponentialLR(o, 0.9)},
                             {3});
       }}},
      {"SequentialLR warmup cosine", {[](auto o) {
         return SequentialLR(
             o, {LinearLR(o, {.start_factor = 0.1, .total_iters = 4}), CosineAnnealingLR(o, {.t_max = 8})},
             {4});
       }}},
      {"ChainedScheduler const exp", {[](auto o) {
         return ChainedScheduler({ConstantLR(o, {.factor = 0.1, .total_iters = 3}), ExponentialLR(o, 0.9)});
       }}},
      {"ReduceLROnPlateau .5 patience 1",
       {[](auto o) { return ReduceLROnPlateau(o, {.factor = 0.5, .patience = 1}); },
        {1, 1, 1, 0.9, 0.9, 0.9999, 0.9, 0.9, kNaN, 1, 0.1, 0.1, 0.1, 0.1}}},
      {"ReduceLROnPlateau max abs cooldown min_lr",
       {[](auto o) {
          return ReduceLROnPlateau(o, {.mode = Mode::kMax,
                                       .patience = 0,
                                       .threshold = 0.2,
                                       .threshold_mode = ThresholdMode::kAbsolute,
                                       .cooldown = 2,
                                       .min_lr = {0.01, 0.2}});
        },
        {1, 1.1, 1.3, 1.3, 1.3, 1.3, 1.3, 1.3}}},
      {"ReduceLROnPlateau eps",
       {[](auto o) { return ReduceLROnPlateau(o, {.factor = 0.5, .patience = 0, .eps = 0.3}); }, {1}}},
      {"SWALR .05 5 cos", {[](auto o) { return SWALR(o, {.swa_lr = 0.05, .anneal_epochs = 5}); }}},
      {"SWALR .05 5 linear", {[](auto o) {
         return SWALR(o, {.swa_lr = 0.05, .anneal_epochs = 5, .anneal_strategy = Anneal::kLinear});
       }}},
  };
  return all;
}

std::shared_ptr<Optimizer> two_groups() {
  const auto parameter = [] { return torch::ones({1}).set_requires_grad(true); };
  return optim::SGD({{.params = {parameter()}}, {.params = {parameter()}, .lr = 0.5}},
                    {.lr = 1, .momentum = 0.9});
}

}  // namespace

TEST_CASE("schedulers: every one gives the rates of torch.optim.lr_scheduler to the last bit",
          "[unit][worker][schedulers]") {
  std::set<std::string> seen;
  for (const auto& section : test::golden_sections("optim/lr_schedulers.txt")) {
    INFO(section.title);
    if (section.title == "OneCycleLR over the end" || section.title.starts_with("ReduceLROnPlateau factor 1"))
      continue;
    REQUIRE(cases().contains(section.title));
    seen.insert(section.title);
    const auto& [make, metrics, epochs] = cases().at(section.title);
    const auto optimizer = two_groups();
    const auto scheduler = make(optimizer);
    const auto first = test::golden_numbers(section.after("group0 ")),
               second = test::golden_numbers(section.after("group1 "));
    const auto momenta = test::golden_numbers(section.after("momentum "));
    REQUIRE(first.size() > 9);
    for (std::size_t k = 0; k < first.size(); ++k) {
      INFO("after " << k << " steps");
      CHECK(optimizer->lr(0) == first[k]);
      CHECK(optimizer->lr(1) == second[k]);
      if (!momenta.empty()) CHECK(optimizer->groups()[0].options.at("momentum") == momenta[k]);
      if (momenta.empty()) CHECK(optimizer->groups()[0].options.at("momentum") == 0.9);
      CHECK(scheduler->last_lr() == std::vector{optimizer->lr(0), optimizer->lr(1)});
      if (k + 1 == first.size()) break;
      if (!metrics.empty())
        scheduler->step(metrics[k % metrics.size()]);
      else if (!epochs.empty())
        scheduler->step_to(epochs[k % epochs.size()]);
      else
        scheduler->step();
    }
    const auto state = section.after("state ");
    if (!state.starts_with("last_epoch=None"))
      CHECK(scheduler->last_epoch() == std::stoll(state.substr(std::string("last_epoch=").size())));
    const auto rates = test::golden_numbers(state.substr(state.find('[')));
    CHECK(scheduler->last_lr() == rates);
  }
  CHECK(seen.size() == cases().size());
}

TEST_CASE("schedulers: saved after any step and loaded, each goes on with the same bits",
          "[unit][worker][schedulers]") {
  for (const auto& [title, given] : cases()) {
    INFO(title);
    const auto advance = [&, &metrics = given.metrics, &epochs = given.epochs](LRScheduler& scheduler,
                                                                               std::size_t k) {
      if (!metrics.empty())
        scheduler.step(metrics[k % metrics.size()]);
      else if (!epochs.empty())
        scheduler.step_to(epochs[k % epochs.size()]);
      else
        scheduler.step();
    };
    for (const std::size_t cut : {0u, 1u, 3u, 4u, 7u}) {
      const auto straight = two_groups(), resumed = two_groups();
      const auto one = given.make(straight);
      for (std::size_t k = 0; k < cut; ++k) advance(*one, k);
      const auto saved = straight->state_dict();
      const auto text = one->state().dump();
      const auto other = given.make(resumed);
      resumed->load_state_dict(saved);
      other->load_state(nlohmann::json::parse(text));
      for (std::size_t k = cut; k < 9; ++k) {
        advance(*one, k);
        advance(*other, k);
        CHECK(one->last_lr() == other->last_lr());
        CHECK(straight->groups()[0].options == resumed->groups()[0].options);
      }
    }
  }
}

TEST_CASE("schedulers: OneCycleLR past its end stays where the cycle ended", "[unit][worker][schedulers]") {
  const auto optimizer = two_groups();
  const auto scheduler = lr::OneCycleLR(optimizer, {.max_lr = 2.0, .total_steps = 3});
  for (const auto& section : test::golden_sections("optim/lr_schedulers.txt")) {
    if (section.title != "OneCycleLR over the end") continue;
    const auto theirs = test::golden_numbers(section.after("group0 "));
    for (std::size_t k = 0; k < 3; ++k) {
      CHECK(optimizer->lr() == theirs[k]);
      scheduler->step();
    }
    for (int k = 0; k < 5; ++k) {
      CHECK(optimizer->lr() == theirs[2]);  // PyTorch turns up again, and throws at the step after
      scheduler->step();
    }
  }
}

}  // namespace schedulers_golden_test
