// Manual optimization over two ranks trains what one process trains on the joined batches.
#include "tests/support/ranks.h"
#include "tests/support/state.h"

#include <map>

using namespace rtrain;
using Catch::Contains;
using rtrain::test::Folder;
using rtrain::test::kBothEnded;
using rtrain::test::quiet;
using rtrain::test::run_ranks;
using rtrain::test::state_of;

namespace {

using Tensors = std::map<std::string, torch::Tensor>;

/// Columns 0 to 2 of a sample are the generator's noise, the others are real.
struct Pair : LightningModule {
  torch::nn::Linear generator = register_module("generator", torch::nn::Linear(3, 4));
  torch::nn::Linear hidden = register_module("hidden", torch::nn::Linear(4, 5));
  torch::nn::Linear critic = register_module("critic", torch::nn::Linear(5, 1));
  bool toggles = true;
  int accumulate = 1;  ///< batches a step of the critic

  Pair() {
    set_automatic_optimization(false);
    to(torch::kFloat64);
  }
  torch::Tensor fake(const Batch& batch) { return torch::tanh(generator(batch.input.slice(1, 0, 3))); }
  torch::Tensor verdict(const torch::Tensor& x) { return critic(torch::tanh(hidden(x))); }
  std::optional<ToggledOptimizer> toggle(const Optimizer& optimizer) {
    std::optional<ToggledOptimizer> toggled;
    if (toggles) toggled.emplace(toggle_optimizer(optimizer));
    return toggled;
  }
  StepOutput training_step(const Batch& batch, std::int64_t i) override {
    auto g = optimizer(0), c = optimizer(1);
    {
      const auto toggled = toggle(g);
      g.zero_grad();
      manual_backward(-verdict(fake(batch)).mean());
      g.step();
    }
    const auto toggled = toggle(c);
    if (i % accumulate == 0) c.zero_grad();
    const bool last = i % accumulate == accumulate - 1;
    {
      std::optional<NoSync> unsynced;
      if (!last) unsynced.emplace(no_sync());
      manual_backward((verdict(fake(batch).detach()) - 1).square().mean() +
                      (verdict(batch.input.slice(1, 3)) + 1).square().mean());
    }
    if (last) c.step();
    return std::nullopt;
  }
  Optimizers configure_optimizers() override {
    std::vector<torch::Tensor> of_critic = hidden->parameters();
    for (const auto& parameter : critic->parameters()) of_critic.push_back(parameter);
    return {optim::SGD(generator->parameters(), {.lr = 0.1}),
            optim::SGD(of_critic, {.lr = 0.2, .momentum = 0.9})};
  }
};

std::shared_ptr<Dataset> samples() {
  torch::manual_seed(4);
  return data::TensorDataset(torch::randn({48, 7}, torch::kFloat64));
}

using Change = std::function<void(Pair&)>;

Tensors train(const Change& change, AnyStrategy strategy, const DataLoader& loader) {
  torch::manual_seed(100);
  Pair pair;
  change(pair);
  Trainer trainer(quiet({.max_epochs = 2, .strategy = std::move(strategy)}));
  trainer.fit(pair, loader);
  auto end = state_of(pair);
  end.emplace("steps", torch::tensor(trainer.global_step(), torch::kFloat64));
  return end;
}

void check_against_alone(const DDPOptions& ddp, const Change& change) {
  const Folder folder;
  const auto data = samples();
  REQUIRE(run_ranks(2, [&](int rank) {
            save_safetensors(
                folder / std::to_string(rank),
                {train(change, DDPStrategy(ddp), DataLoader(data, {.batch_size = 4, .shuffle = true})), {}});
          }) == kBothEnded);
  const auto sampler = std::make_shared<DistributedSampler>(
      data->size(), DistributedSamplerOptions{.num_replicas = 1, .rank = 0});
  const auto alone = train(change, "single_device", DataLoader(data, {.batch_size = 8, .sampler = sampler}));
  for (const std::string rank : {"0", "1"}) {
    const auto ours = load_safetensors(folder / rank).tensors;
    for (const auto& [name, tensor] : alone) {
      INFO("rank " << rank << " " << name);
      CHECK((ours.at(name) - tensor).abs().max().item<double>() < 1e-10);
    }
  }
}

std::vector<std::string> failures_of(const std::function<void()>& body) {
  std::vector<std::string> failures;
  CHECK(run_ranks(2, [&](int) { body(); }, &failures) == std::vector<int>{3, 3});
  return failures;
}

}  // namespace

TEST_CASE("ddp: each manual_backward averages the gradients", "[integration][ddp]") {
  const Change none = [](Pair&) {};
  check_against_alone({}, none);
  check_against_alone({.gradient_as_bucket_view = true}, none);
  check_against_alone({.bucket_cap_mb = 0.0005}, none);
  check_against_alone({.find_unused_parameters = true}, none);
}

TEST_CASE("ddp: optimizers that are not toggled need find_unused_parameters", "[integration][ddp]") {
  const Change untoggled = [](Pair& pair) { pair.toggles = false; };
  check_against_alone({.find_unused_parameters = true}, untoggled);
  const auto data = samples();
  const auto failures =
      failures_of([&] { (void)train(untoggled, DDPStrategy(), DataLoader(data, {.batch_size = 4})); });
  for (const auto& text : failures)
    CHECK_THAT(text,
               Contains("find_unused_parameters = true") && Contains("toggle_optimizer() leaves them out"));
}

TEST_CASE("ddp: no_sync accumulates, and the next backward averages all", "[integration][ddp]") {
  const Change accumulates = [](Pair& pair) { pair.accumulate = 3; };
  check_against_alone({}, accumulates);
  check_against_alone({.gradient_as_bucket_view = true}, accumulates);
}

TEST_CASE("ddp: a backward() that leaves the ranks with their own gradients is refused",
          "[integration][ddp]") {
  struct Own : test::BoringModel {
    void backward(const torch::Tensor& loss, const BackwardOptions&) override { loss.backward(); }
  };
  const auto failures = failures_of([] {
    Own model;
    Trainer trainer(quiet({.max_epochs = 1, .strategy = DDPStrategy()}));
    trainer.fit(model, test::boring_loader(4));
  });
  for (const auto& text : failures) CHECK_THAT(text, Contains("does not call LightningModule::backward"));
}

TEST_CASE("ddp: LBFGS takes the same way on every rank", "[integration][ddp]") {
  struct Curved : test::BoringModel {
    Optimizers configure_optimizers() override { return optim::LBFGS(parameters(), {.max_iter = 6}); }
  };
  const Folder folder;
  REQUIRE(run_ranks(2, [&](int rank) {
            torch::manual_seed(1);
            Curved model;
            Trainer trainer(quiet({.max_epochs = 2, .strategy = DDPStrategy()}));
            trainer.fit(model, test::boring_loader(16, 4));
            save_safetensors(folder / std::to_string(rank), {{{"weight", model.layer->weight.detach()}}, {}});
          }) == kBothEnded);
  CHECK(torch::equal(load_safetensors(folder / "0").tensors.at("weight"),
                     load_safetensors(folder / "1").tensors.at("weight")));
}
