// A strategy that is not the SDK's: what a user writes is one header and one source.
#include "tests/support/averaging_strategy.h"
#include "tests/support/ranks.h"

#include <rtrain/names.h>

using namespace rtrain;
using rtrain::test::AveragingStrategy;
using rtrain::test::Folder;
using rtrain::test::kBothEnded;
using rtrain::test::quiet;
using rtrain::test::run_ranks;

namespace {

struct Line : LightningModule {
  torch::nn::Linear layer = register_module("layer", torch::nn::Linear(3, 1));
  Line() { to(torch::kFloat64); }
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    return (layer(batch.input).squeeze(1) - batch.target).square().mean();
  }
  Optimizers configure_optimizers() override { return optim::SGD(parameters(), {.lr = 0.05}); }
};

std::vector<torch::Tensor> weights(AnyStrategy strategy, std::int64_t steps) {
  const Folder folder;
  const auto codes = run_ranks(2, [&](int rank) {
    torch::manual_seed(7);
    const auto x = torch::randn({32, 3}, torch::kFloat64);
    torch::manual_seed(static_cast<std::uint64_t>(rank));
    Line line;
    Trainer trainer(quiet({.max_steps = steps, .strategy = strategy}));
    trainer.fit(line, DataLoader(data::TensorDataset(x, x.sum(1)), {.batch_size = 4}));
    save_safetensors(folder / std::to_string(rank), {{{"weight", line.layer->weight.detach()}}, {}});
  });
  REQUIRE(codes == kBothEnded);
  return {load_safetensors(folder / "0").tensors.at("weight"),
          load_safetensors(folder / "1").tensors.at("weight")};
}

}  // namespace

TEST_CASE("a strategy of a user's own: averages after every step are DDP with plain SGD",
          "[integration][strategies]") {
  const auto ddp = weights("ddp", 6), own = weights(AveragingStrategy(1), 6), named = weights("averaging", 6);
  CHECK(torch::allclose(own[0], ddp[0], 0, 1e-12));
  CHECK(torch::equal(own[0], own[1]));
  CHECK(torch::equal(named[0], own[0]));
}

TEST_CASE("a strategy of a user's own: between its averages the ranks differ", "[integration][strategies]") {
  const auto between = weights(AveragingStrategy(3), 5), after = weights(AveragingStrategy(3), 6);
  CHECK_FALSE(torch::equal(between[0], between[1]));
  CHECK(torch::equal(after[0], after[1]));
}

TEST_CASE("a strategy's name is found, and one that is none is told with those that are",
          "[integration][strategies]") {
  const auto names = Names<Strategy>::all();
  CHECK(std::find(names.begin(), names.end(), "averaging") != names.end());
  CHECK_THROWS_WITH(
      Trainer({.strategy = "averagng"}),
      Catch::Contains("strategy is \"averagng\", expected \"auto\", \"averaging\", \"ddp\", \"deepspeed\"") &&
          Catch::Contains("\"fsdp\"") &&
          Catch::Contains("\"single_device\" or a strategy such as rtrain::DDPStrategy()"));
}
