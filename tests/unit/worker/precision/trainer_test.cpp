// Precision in a Trainer: where its calls stand, what is refused, and that a resumed run has the same bits.
#include "tests/support/catch.h"
#include "tests/support/state.h"
#include "tests/support/training.h"

#include <ATen/autocast_mode.h>
#include <c10/core/DefaultDtype.h>

#include <limits>
#include <map>
#include <string>

namespace trainer_test {

using namespace rtrain;
using rtrain::test::boring_loader;
using rtrain::test::BoringModel;
using rtrain::test::Folder;
using rtrain::test::quiet;
using rtrain::test::same_bits;
using rtrain::test::State;
using rtrain::test::state_of;

namespace {

struct Net : LightningModule {
  torch::nn::Linear first = register_module("first", torch::nn::Linear(8, 16));
  torch::nn::BatchNorm1d norm = register_module("norm", torch::nn::BatchNorm1d(16));
  torch::nn::Linear second = register_module("second", torch::nn::Linear(16, 3));
  std::int64_t infinite_at = -1;
  StepOutput training_step(const Batch& batch, std::int64_t i) override {
    auto loss =
        torch::nn::functional::cross_entropy(second(torch::relu(norm(first(batch.input)))), batch.target);
    log("loss", loss, {.on_step = true, .on_epoch = true});
    return i == infinite_at ? loss * std::numeric_limits<float>::infinity() : loss;
  }
  Optimizers configure_optimizers() override { return optim::Adam(parameters(), {.lr = 0.01}); }
};

DataLoader samples(std::int64_t count = 24) {
  torch::manual_seed(5);
  return {data::TensorDataset(torch::randn({count, 8}), torch::randint(3, {count})),
          {.batch_size = 4, .shuffle = true, .seed = 2}};
}

/// A scaler whose scale changes within a few steps.
std::shared_ptr<Precision> float16_mixed() {
  return std::make_shared<MixedPrecision>("16-mixed",
                                          GradScalerOptions{.init_scale = 1024, .growth_interval = 2});
}

struct Stopped : std::runtime_error {
  Stopped() : std::runtime_error("stopped") {}
};

}  // namespace

TEST_CASE("AutocastScope: nests, and is undone by an exception", "[unit][precision]") {
  const auto enabled = [] { return at::autocast::is_autocast_enabled(at::kCPU); };
  const auto type_before = at::autocast::get_autocast_dtype(at::kCPU);
  const auto a = torch::ones({2, 2});
  try {
    const AutocastScope outer(torch::kCPU, torch::kBFloat16);
    CHECK(a.matmul(a).scalar_type() == torch::kBFloat16);
    {
      const AutocastScope inner(torch::kCPU, torch::kHalf, /*cache=*/true);
      CHECK(at::autocast::is_autocast_cache_enabled());
      CHECK(at::autocast::get_autocast_dtype(at::kCPU) == torch::kHalf);
    }
    CHECK_FALSE(at::autocast::is_autocast_cache_enabled());
    CHECK(at::autocast::get_autocast_dtype(at::kCPU) == torch::kBFloat16);
    CHECK(enabled());
    throw Stopped();
  } catch (const Stopped&) {
  }
  CHECK_FALSE(enabled());
  CHECK(at::autocast::is_autocast_cache_enabled());
  CHECK(at::autocast::get_autocast_dtype(at::kCPU) == type_before);
  CHECK(at::autocast::increment_nesting() == 1);
  CHECK(at::autocast::decrement_nesting() == 0);
  CHECK(a.matmul(a).scalar_type() == torch::kFloat32);
  CHECK_THROWS_WITH(AutocastScope(torch::kCPU, torch::kInt64), Catch::Contains("dtype is Long"));
}

TEST_CASE("precision: a step that throws leaves the process as it was", "[unit][precision]") {
  struct Throws : BoringModel {
    StepOutput training_step(const Batch&, std::int64_t) override { throw Stopped(); }
  } model;
  for (const std::string precision : {"bf16-mixed", "64-true", "bf16-true"}) {
    Trainer trainer(quiet({.max_epochs = 1, .precision = precision}));
    CHECK_THROWS_AS(trainer.fit(model, boring_loader(2)), Stopped);
    CHECK_FALSE(at::autocast::is_autocast_enabled(at::kCPU));
    CHECK(c10::get_default_dtype_as_scalartype() == torch::kFloat32);
  }
}

TEST_CASE("precision: integers of a module stay, its floats are converted", "[unit][precision]") {
  Net net;
  Trainer trainer(quiet({.max_epochs = 1, .precision = HalfPrecision("bf16-true")}));
  trainer.fit(net, samples());
  CHECK(net.norm->num_batches_tracked.scalar_type() == torch::kInt64);
  CHECK(net.norm->running_mean.scalar_type() == torch::kBFloat16);
  CHECK(net.first->weight.scalar_type() == torch::kBFloat16);
}

TEST_CASE("precision: configure_model makes its layers in the type of the run", "[unit][precision]") {
  struct Late : BoringModel {
    torch::ScalarType made = torch::kFloat32;
    void configure_model() override { made = torch::zeros({1}).scalar_type(); }
  } model;
  Trainer trainer(quiet({.max_epochs = 1, .precision = 64}));
  trainer.fit(model, boring_loader(2));
  CHECK(model.made == torch::kFloat64);
}

TEST_CASE("precision: all that runs without gradients has the types of training", "[unit][precision]") {
  struct Types : BoringModel {
    torch::Tensor validation_step(const Batch& batch, std::int64_t) override { return note(batch); }
    torch::Tensor test_step(const Batch& batch, std::int64_t) override { return note(batch); }
    torch::Tensor predict_step(const Batch& batch, std::int64_t) override { return note(batch); }
    torch::Tensor note(const Batch& batch) {
      const auto y = layer(batch.input);
      seen.push_back(y.scalar_type());
      return y;
    }
    std::vector<torch::ScalarType> seen;
  } model;
  Trainer trainer(quiet({.precision = "bf16-mixed"}));
  (void)trainer.validate(model, boring_loader(1));
  (void)trainer.test(model, boring_loader(1));
  CHECK(trainer.predict(model, boring_loader(1)).front().scalar_type() == torch::kBFloat16);
  CHECK(model.seen == std::vector<torch::ScalarType>(3, torch::kBFloat16));
}

TEST_CASE("precision: a step with an infinity changes nothing but the scale, and is counted",
          "[unit][precision]") {
  Net net;
  net.infinite_at = 1;
  const auto precision = float16_mixed();
  std::vector<double> scales;
  std::vector<torch::Tensor> weights;
  std::vector<bool> finite;
  Trainer trainer(
      quiet({.max_epochs = 1,
             .gradient_clip_val = 1.0,
             .precision = precision,
             .callbacks = {LambdaCallback(
                 {.on_before_optimizer_step =
                      [&](Trainer&, LightningModule&, Optimizer&) {
                        finite.push_back(net.first->weight.grad().isfinite().all().item<bool>());
                        if (finite.back())
                          CHECK(net.second->bias.grad().norm().item<double>() < 10);  // not scaled
                      },
                  .on_train_batch_end =
                      [&](Trainer&, LightningModule&, const StepOutput&, const Batch&, std::int64_t) {
                        scales.push_back(precision->state().at("scale").get<double>());
                        weights.push_back(net.first->weight.detach().clone());
                      }})}}));
  const test::Heard heard;  // the loss is not finite
  trainer.fit(net, samples(20));
  CHECK(trainer.global_step() == 5);
  CHECK(finite == std::vector<bool>{true, false, true, true, true});
  CHECK(scales == std::vector<double>{1024, 512, 512, 1024, 1024});
  CHECK(torch::equal(weights[0], weights[1]));
  CHECK_FALSE(torch::equal(weights[1], weights[2]));
}

TEST_CASE("precision: a resumed run has the bits of one that never ended", "[unit][precision]") {
  for (const std::string name : {"bf16-mixed", "16-mixed", "64-true", "bf16-true"}) {
    INFO(name);
    const auto precision = [&]() -> AnyPrecision {
      if (name == "16-mixed") return float16_mixed();
      return name;
    };
    for (const std::int64_t at_batch :
         {1, 2, 5}) {  // within an accumulation, after one, at the end of an epoch
      INFO(at_batch);
      const Folder folder;
      const auto run = [&](std::uint64_t seed, const CheckpointPath& from, bool saves) {
        const auto data = samples();
        torch::manual_seed(seed);
        Net net;
        Trainer trainer(quiet({.max_epochs = 2,
                               .accumulate_grad_batches = 2,
                               .precision = precision(),
                               .callbacks = {LambdaCallback(
                                   {.on_train_batch_end = [&](Trainer& t, LightningModule&, const StepOutput&,
                                                              const Batch&, std::int64_t i) {
                                     if (saves && t.current_epoch() == 0 && i == at_batch)
                                       t.save_checkpoint(folder / "c");
                                   }})}}));
        trainer.fit(net, data, {}, from);
        auto state = state_of(net);
        if (const auto scaler = trainer.precision_plugin().state(); !scaler.is_null())
          state.emplace("scale", torch::tensor(scaler.at("scale").get<double>()));
        return state;
      };
      const auto whole = run(1, {}, true);
      CHECK(same_bits(whole, run(99, folder / "c", false)));
    }
  }
}

TEST_CASE("precision: a checkpoint of another precision is taken with a warning", "[unit][precision]") {
  const Folder folder;
  Net net;
  const auto fit = [&](AnyPrecision precision, const CheckpointPath& from, std::int64_t epochs) {
    Trainer trainer(quiet({.max_epochs = epochs, .precision = std::move(precision)}));
    trainer.fit(net, samples(), {}, from);
    trainer.save_checkpoint(folder / "c");
  };
  fit(float16_mixed(), {}, 1);
  const test::Heard heard;
  fit("bf16-mixed", folder / "c", 2);
  CHECK_THAT(heard.text(), Catch::Contains("had precision \"16-mixed\", this one has \"bf16-mixed\""));
}

TEST_CASE("precision: a class of one's own, by value, by name and as a plugin", "[unit][precision]") {
  struct Scaled : Precision {
    [[nodiscard]] std::string name() const override { return "scaled"; }
    [[nodiscard]] torch::Tensor scale(const torch::Tensor& loss) override { return ++*scaled, loss * 2; }
    void unscale(Optimizer& optimizer) override {
      for (const auto& p : optimizer.parameters()) p.grad().div_(2);
    }
    std::shared_ptr<int> scaled = std::make_shared<int>(0);
  };
  const auto trained = [](TrainerOptions options) {
    torch::manual_seed(1);
    BoringModel model;
    const auto loader = boring_loader(4, 2);
    options.max_epochs = 1;
    Trainer trainer(quiet(std::move(options)));
    trainer.fit(model, loader);
    return model.layer->weight.detach().clone();
  };
  const auto plain = trained({});
  const Scaled mine;
  CHECK(torch::equal(plain, trained({.precision = mine})));
  CHECK(*mine.scaled == 2);
  CHECK(torch::equal(plain, trained({.plugins = {mine}})));
  CHECK(*mine.scaled == 4);
  Names<Precision>::add<Scaled>("scaled");
  CHECK(torch::equal(plain, trained({.precision = "scaled"})));
}

TEST_CASE("precision: what cannot be used is refused by name", "[unit][precision]") {
  using Catch::Contains;
  CHECK_THROWS_WITH(Trainer(quiet({.precision = "transformer-engine-float16"})),
                    Contains("\"transformer-engine-float16\"") && Contains("take \"bf16-mixed\""));
  CHECK_THROWS_WITH(
      Trainer(quiet({.precision = "bf16-mix"})),
      Contains("precision is \"bf16-mix\", expected \"16\", \"16-mixed\", \"16-true\", \"32\", ") &&
          Contains("\"bf16-true\""));
  CHECK_THROWS_WITH(Trainer(quiet({.precision = 8})), Contains("precision is \"8\""));
  CHECK_THROWS_WITH(Trainer(quiet({.precision = std::shared_ptr<Precision>()})),
                    Contains("precision is \"null\""));
  CHECK_THROWS_WITH(Trainer(quiet({.precision = 32, .plugins = {DoublePrecision()}})),
                    Contains("precision is set, and plugins holds the precision \"64-true\""));
  CHECK_THROWS_WITH(Trainer(quiet({.plugins = {DoublePrecision(), HalfPrecision()}})),
                    Contains("more than one Precision"));
  CHECK_THROWS_WITH(MixedPrecision("16-true"), Contains("expected \"bf16-mixed\" or \"16-mixed\""));
  CHECK_THROWS_WITH(MixedPrecision("bf16-mixed", GradScalerOptions{}), Contains("leave the scaler out"));
  CHECK_THROWS_WITH(HalfPrecision("16"), Contains("expected \"bf16-true\" or \"16-true\""));

  struct WithLbfgs : BoringModel {
    Optimizers configure_optimizers() override { return optim::LBFGS(parameters(), {}); }
  } model;
  Trainer trainer(quiet({.max_epochs = 1, .precision = float16_mixed()}));
  CHECK_THROWS_WITH(trainer.fit(model, boring_loader(2)),
                    Contains("LBFGS cannot be used with precision \"16-mixed\""));
}

}  // namespace trainer_test
