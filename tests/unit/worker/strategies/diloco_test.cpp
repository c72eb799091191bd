#include "tests/support/catch.h"
#include "tests/support/fake_ranks.h"
#include "tests/support/training.h"

#include <rtrain/names.h>

namespace diloco_test {

using namespace rtrain;

namespace {

/// One parameter, whose gradient on rank r is r + 1.
struct Line : LightningModule {
  torch::Tensor w = register_parameter("w", torch::full({1}, 10.0, torch::kFloat64));
  torch::Tensor mean = register_buffer("mean", torch::zeros({1}, torch::kFloat64));
  torch::Tensor count = register_buffer("count", torch::zeros({1}, torch::kInt64));
};

struct Rank {
  explicit Rank(const std::shared_ptr<Communicator>& ranks, const DiLoCoOptions& options)
      : rank(ranks->rank()), strategy(options), optimizer(optim::SGD(line.parameters(), {.lr = 1.0})) {
    strategy.connect(Mesh(ranks, {.replicate = ranks->world_size()}), torch::kCPU);
    plan = strategy.prepare(line, /*fitting=*/true);
    optimizer->name_parameters(line.named_parameters());
    plan->adopt(*optimizer);
  }
  void step() {
    line.w.mutable_grad() = torch::full({1}, rank + 1.0, torch::kFloat64);
    line.mean.fill_(rank);
    line.count.fill_(7 + rank);
    plan->step(*optimizer);
  }
  [[nodiscard]] double value() const { return line.w.item<double>(); }
  int rank;
  Line line;
  DiLoCoStrategy strategy;
  std::shared_ptr<Optimizer> optimizer;
  std::unique_ptr<Plan> plan;
};

void require(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

}  // namespace

TEST_CASE("DiLoCo: the outer step is Nesterov's SGD on what the ranks have learned together",
          "[unit][strategies]") {
  test::run_fake_ranks(2, [](const std::shared_ptr<Communicator>& ranks) {
    Rank own(ranks, {.sync_every = 2, .outer_lr = 0.5, .outer_momentum = 0.5});
    own.step();
    require(own.value() == 10 - (own.rank + 1), "after one step");
    require(own.plan->ranks_differ(), "within a period");
    own.step();
    // The ranks are at 8 and 6: the pseudo-gradient is 3. 10 - 0.5 (3 + 0.5 * 3)
    require(own.value() == 7.75, "after a period: " + std::to_string(own.value()));
    require(!own.plan->ranks_differ(), "after a period");
    require(own.line.mean.item<double>() == 0.5, "buffers are their mean");
    require(own.line.count.item<std::int64_t>() == 7, "counts are rank 0's");
    own.step();
    own.step();
    // The momentum is 0.5 * 3 + 3: 7.75 - 0.5 (3 + 0.5 * 4.5)
    require(own.value() == 7.75 - 0.5 * 5.25, "after two periods");
  });
}

TEST_CASE("DiLoCo: what is evaluated and saved is the mean, and each rank keeps its own",
          "[unit][strategies]") {
  test::run_fake_ranks(2, [](const std::shared_ptr<Communicator>& ranks) {
    Rank own(ranks, {.sync_every = 3});
    own.step();
    require(own.plan->module_state().at("w").whole().item<double>() == 8.5, "module_state()");
    require(own.value() == 9 - own.rank, "module_state() changes nothing");
    own.plan->hold_equal_parameters();
    own.plan->hold_equal_parameters();
    require(own.value() == 8.5, "held");
    require(own.line.mean.item<double>() == 0.5, "held buffers");
    require(own.plan->module_state().at("w").whole().item<double>() == 8.5, "module_state(), held");
    require(own.plan->step_state().own.at("value.w").item<double>() == 9 - own.rank, "step_state(), held");
    own.plan->hold_own_parameters();
    require(own.value() == 9 - own.rank, "its own again");
    require(own.line.mean.item<double>() == own.rank, "its own buffers again");
  });
}

TEST_CASE("DiLoCo: a plan that takes over the state goes on where it was", "[unit][strategies]") {
  test::run_fake_ranks(2, [](const std::shared_ptr<Communicator>& ranks) {
    const DiLoCoOptions options{.sync_every = 2};
    Rank whole(ranks, options), part(ranks, options);
    for (int i = 0; i < 3; ++i) whole.step(), part.step();
    auto state = part.plan->step_state();
    for (auto* tensors : {&state.tensors, &state.own})
      for (auto& [name, tensor] : *tensors) tensor = tensor.clone();
    Rank resumed(ranks, options);
    resumed.plan->load_step_state(state);
    require(resumed.value() == part.value(), "its own value");
    whole.step();
    resumed.step();
    require(resumed.value() == whole.value(), "the step after it");
    require(resumed.line.mean.item<double>() == whole.line.mean.item<double>(), "buffers");
    state.tensors.at("anchor.0.w") = torch::zeros({2});
    try {
      resumed.plan->load_step_state(state);
    } catch (const std::runtime_error& error) {
      require(std::string(error.what()) == "anchor.0.w has the shape [2], expected [1]", error.what());
      return;
    }
    throw std::runtime_error("a state that does not fit was taken");
  });
}

TEST_CASE("DiLoCo: alone it is the outer optimizer on its own progress", "[unit][strategies]") {
  Rank own(Communicator::alone(), {.sync_every = 2, .outer_lr = 0.5, .outer_momentum = 0, .nesterov = false});
  own.step();
  CHECK_FALSE(own.plan->ranks_differ());
  own.step();
  CHECK(own.value() == 9);
}

TEST_CASE("DiLoCo: wrong options and optimizers are refused", "[unit][strategies]") {
  CHECK_THROWS_WITH(
      DiLoCoStrategy(DiLoCoOptions{
          .sync_every = 0, .outer_lr = -1, .outer_momentum = 0, .timeout = std::chrono::milliseconds(0)}),
      Catch::Contains("sync_every is 0, expected 1 or more") && Catch::Contains("outer_lr is -1") &&
          Catch::Contains("nesterov is true") && Catch::Contains("timeout is 0 ms"));
  DiLoCoStrategy strategy;
  Line line;
  const auto plan = strategy.prepare(line, /*fitting=*/true);
  const std::shared_ptr<Optimizer> closure = optim::LBFGS(line.parameters());
  CHECK_THROWS_WITH(plan->adopt(*closure),
                    Catch::Contains("LBFGS") && Catch::Contains("each rank steps alone"));
  CHECK_THAT(plan->why_not_captured(), Catch::Contains("cuda_graph = false"));
}

TEST_CASE("strategies: options come from JSON", "[unit][strategies]") {
  const auto made = Names<Strategy>::from_json({{"name", "diloco"}, {"sync_every", 100}, {"outer_lr", 0.5}});
  const auto* diloco = dynamic_cast<const DiLoCoStrategy*>(made.get());
  REQUIRE(diloco != nullptr);
  CHECK(diloco->options().sync_every == 100);
  CHECK(diloco->options().outer_lr == 0.5);
  const auto ddp = Names<Strategy>::from_json({{"name", "ddp"}, {"find_unused_parameters", true}});
  CHECK(dynamic_cast<const DDPStrategy&>(*ddp).options().find_unused_parameters);
  CHECK_THROWS_WITH(Names<Strategy>::from_json({{"name", "diloco"}, {"outer_lrr", 1}}),
                    Catch::Contains("outer_lr"));
}

}  // namespace diloco_test
