// Automatic optimization: what training_step may return, and the hooks of a step as Lightning 2.6 calls them
// (the last block of tests/golden/manual).
#include "tests/support/catch.h"
#include "tests/support/golden.h"
#include "tests/support/state.h"
#include "tests/support/training.h"

#include <rtrain/schedulers.h>

namespace training_step_test {

using namespace rtrain;
using Catch::Contains;
using rtrain::test::boring_loader;
using rtrain::test::BoringModel;
using rtrain::test::golden_lines;
using rtrain::test::Heard;
using rtrain::test::quiet;
using rtrain::test::same_bits;
using rtrain::test::State;
using rtrain::test::state_of;

namespace {

/// Each hook of a step, then what its base does.
struct Ordered : BoringModel {
  std::vector<std::string> events;
  void note(std::string name) { events.push_back(std::move(name)); }

  StepOutput training_step(const Batch& batch, std::int64_t) override {
    return note("training_step"), loss_of(batch);
  }
  Optimizers configure_optimizers() override {
    auto sgd = optim::SGD(parameters(), {.lr = 0.1});
    return {sgd,
            LRSchedulerConfig{.scheduler = lr::StepLR(sgd, {.step_size = 1}), .interval = Interval::kStep}};
  }
  Batch on_before_batch_transfer(Batch batch) override { return note("on_before_batch_transfer"), batch; }
  Batch transfer_batch_to_device(Batch batch, torch::Device device) override {
    return note("transfer_batch_to_device"),
           LightningModule::transfer_batch_to_device(std::move(batch), device);
  }
  Batch on_after_batch_transfer(Batch batch) override { return note("on_after_batch_transfer"), batch; }
  void on_train_epoch_start() override { note("on_train_epoch_start"); }
  void on_train_epoch_end() override { note("on_train_epoch_end"); }
  int on_train_batch_start(const Batch&, std::int64_t) override { return note("on_train_batch_start"), 0; }
  void on_train_batch_end(const StepOutput&, const Batch&, std::int64_t) override {
    note("on_train_batch_end");
  }
  void on_before_zero_grad(Optimizer&) override { note("on_before_zero_grad"); }
  void on_before_backward(const torch::Tensor&) override { note("on_before_backward"); }
  void on_after_backward() override { note("on_after_backward"); }
  void on_before_optimizer_step(Optimizer&) override { note("on_before_optimizer_step"); }
  void optimizer_step(std::int64_t epoch, std::int64_t batch_idx, LightningOptimizer& optimizer,
                      const Closure& closure) override {
    note("optimizer_step");
    LightningModule::optimizer_step(epoch, batch_idx, optimizer, closure);
  }
  void optimizer_zero_grad(std::int64_t epoch, std::int64_t batch_idx, Optimizer& optimizer) override {
    note("optimizer_zero_grad");
    LightningModule::optimizer_zero_grad(epoch, batch_idx, optimizer);
  }
  void backward(const torch::Tensor& loss, const BackwardOptions& options) override {
    note("backward");
    LightningModule::backward(loss, options);
  }
  void configure_gradient_clipping(Optimizer& optimizer, std::optional<double> limit,
                                   const std::string& algorithm) override {
    // Lightning's Trainer has None where ours has "norm", which is what it means.
    note("configure_gradient_clipping gradient_clip_val=" + nlohmann::json(*limit).dump() +
         " gradient_clip_algorithm=" + (algorithm == "norm" ? "None" : algorithm));
    LightningModule::configure_gradient_clipping(optimizer, limit, algorithm);
  }
  void lr_scheduler_step(LRScheduler& scheduler, std::optional<double> metric) override {
    note("lr_scheduler_step");
    LightningModule::lr_scheduler_step(scheduler, metric);
  }
};

/// @return the parameters after two epochs of 4 batches.
template <class Model>
State trained(Model& model, TrainerOptions options = {}) {
  torch::manual_seed(7);
  const auto loader = boring_loader(8, 2);
  {
    const torch::NoGradGuard no_grad;
    for (auto& parameter : model.parameters()) parameter.copy_(torch::randn_like(parameter));
  }
  options.max_epochs = 2;
  Trainer trainer(quiet(std::move(options)));
  trainer.fit(model, loader);
  return state_of(model);
}

}  // namespace

TEST_CASE("step: hooks come in Lightning's order", "[unit][step]") {
  Ordered model;
  Trainer trainer(quiet({.max_epochs = 1, .accumulate_grad_batches = 2, .gradient_clip_val = 0.5}));
  trainer.fit(model, boring_loader(12, 4));
  CHECK(model.events == golden_lines("manual/manual_optimization.txt", "== automatic, accumulate 2"));
}

TEST_CASE("step: hooks that only call their base change no bit", "[unit][step]") {
  const TrainerOptions options{.accumulate_grad_batches = 2, .gradient_clip_val = 0.01};
  struct Plain : BoringModel {
    Optimizers configure_optimizers() override {
      auto sgd = optim::SGD(parameters(), {.lr = 0.1});
      return {sgd,
              LRSchedulerConfig{.scheduler = lr::StepLR(sgd, {.step_size = 1}), .interval = Interval::kStep}};
    }
  } plain;
  Ordered hooked;
  CHECK(same_bits(trained(plain, options), trained(hooked, options)));
}

TEST_CASE("step: on_train_batch_end gets what training_step returned", "[unit][step]") {
  struct Outputs : BoringModel {
    std::vector<StepOutput> seen;
    torch::Tensor loss;
    StepOutput training_step(const Batch& batch, std::int64_t i) override {
      if (i == 1) return std::nullopt;
      loss = loss_of(batch);
      return {loss, {{"logits", layer(batch.input)}}};
    }
    void on_train_batch_end(const StepOutput& output, const Batch&, std::int64_t i) override {
      seen.push_back(output);
      if (i == 0) CHECK(output.loss.item<float>() == loss.item<float>() / 2);  // of two batches a step
    }
  } model;
  Trainer trainer(quiet({.max_epochs = 1, .accumulate_grad_batches = 2}));
  trainer.fit(model, boring_loader(2));
  REQUIRE(model.seen.size() == 2);
  CHECK_FALSE(model.seen[0].loss.requires_grad());
  CHECK(model.seen[0].extras.at("logits").sizes() == std::vector<std::int64_t>{1, 2});
  CHECK_FALSE(model.seen[1].loss.defined());
  CHECK(trainer.global_step() == 1);

  struct NoLoss : BoringModel {
    StepOutput training_step(const Batch& batch, std::int64_t) override {
      return {torch::Tensor(), {{"nolos", loss_of(batch)}}};
    }
  } without;
  CHECK_THROWS_WITH(trainer.fit(without, boring_loader(2)),
                    Contains("training_step returned \"nolos\" without a loss"));
}

TEST_CASE("step: optimizer_step may leave out the step, and counts anyway", "[unit][step]") {
  struct EverySecond : BoringModel {
    int steps = 0;
    void optimizer_step(std::int64_t, std::int64_t batch_idx, LightningOptimizer& optimizer,
                        const Closure& closure) override {
      if (batch_idx % 2 == 0) return (void)closure();
      (void)optimizer.step(closure);
      ++steps;
    }
  } model;
  Trainer trainer(quiet({.max_epochs = 1}));
  trainer.fit(model, boring_loader(4));
  CHECK(model.steps == 2);
  CHECK(trainer.global_step() == 4);

  struct Warmup : BoringModel {  // Lightning's example: the learning rate by hand
    void optimizer_step(std::int64_t, std::int64_t, LightningOptimizer& optimizer,
                        const Closure& closure) override {
      (void)closure();
      optimizer.optimizer().set_lr(0.1);
      optimizer.step();
    }
  } warmup;
  BoringModel plain;
  CHECK(same_bits(trained(plain), trained(warmup)));

  struct Never : BoringModel {
    void optimizer_step(std::int64_t, std::int64_t, LightningOptimizer&, const Closure&) override {}
  } never;
  CHECK_THROWS_WITH(trainer.fit(never, boring_loader(1)), Contains("without calling its closure"));
}

TEST_CASE("step: gradients that optimizer_zero_grad keeps are stepped", "[unit][step]") {
  struct Keeps : BoringModel {
    void optimizer_zero_grad(std::int64_t, std::int64_t, Optimizer& optimizer) override {
      optimizer.zero_grad(/*set_to_none=*/false);
    }
  } keeps;
  BoringModel plain;
  CHECK(same_bits(trained(plain), trained(keeps)));
}

TEST_CASE("step: clip_gradients is of one mind with the Trainer", "[unit][step]") {
  struct Clips : BoringModel {
    std::optional<double> limit;
    std::optional<std::string> algorithm;
    void configure_gradient_clipping(Optimizer& optimizer, std::optional<double>,
                                     const std::string&) override {
      clip_gradients(optimizer, limit, algorithm);
    }
  } model;
  BoringModel plain;
  model.limit = 0.01;
  CHECK(same_bits(trained(plain, {.gradient_clip_val = 0.01}), trained(model)));
  model.algorithm = "value";
  CHECK(same_bits(trained(plain, {.gradient_clip_val = 0.01, .gradient_clip_algorithm = "value"}),
                  trained(model)));
  CHECK_THROWS_WITH(trained(model, {.gradient_clip_val = 1.0}),
                    Contains("but the Trainer has gradient_clip_val"));
  model.algorithm = "2-norm";
  CHECK_THROWS_WITH(trained(model), Contains("expected \"norm\" or \"value\""));
  model.algorithm = "norm";
  model.limit = -1;
  CHECK_THROWS_WITH(trained(model), Contains("gradient_clip_val is -1.0"));
}

TEST_CASE("step: LBFGS computes the loss as often as it likes", "[unit][step]") {
  struct Curved : BoringModel {
    int evaluations = 0;
    StepOutput training_step(const Batch& batch, std::int64_t) override {
      return ++evaluations, loss_of(batch);
    }
    Optimizers configure_optimizers() override { return optim::LBFGS(parameters(), {.max_iter = 5}); }
  } model;
  Trainer trainer(quiet({.max_epochs = 3}));
  trainer.fit(model, boring_loader(16, 16));
  CHECK(model.evaluations > 5);
  CHECK(trainer.global_step() == 3);
  CHECK_THROWS_WITH(
      Trainer(quiet({.max_epochs = 1, .accumulate_grad_batches = 2})).fit(model, boring_loader(4)),
      Contains("optimizer 0 (LBFGS) computes the loss of a batch several times a step"));
}

TEST_CASE("step: without an optimizer nothing is learned, and steps count", "[unit][step]") {
  struct None : BoringModel {
    Optimizers configure_optimizers() override { return std::nullopt; }
  } none;
  const auto before = state_of(none);
  const Heard heard;
  const test::Folder folder;
  Trainer trainer(quiet({.max_epochs = 1}));
  trainer.fit(none, boring_loader(3));
  CHECK(same_bits(before, state_of(none)));
  CHECK(trainer.global_step() == 3);
  CHECK_THAT(heard.text(), Contains("there is no optimizer: nothing is learned"));
  trainer.save_checkpoint(folder / "c");
  Trainer again(quiet({.max_epochs = 2}));
  again.fit(none, boring_loader(3), {}, folder / "c");
  CHECK(again.global_step() == 6);
}

TEST_CASE("step: modules below a LightningModule log with its Trainer", "[unit][step]") {
  struct Head : LightningModule {
    torch::nn::Linear layer = register_module("layer", torch::nn::Linear(32, 2));
    torch::Tensor forward(const torch::Tensor& x) {
      log("head_mean", layer(x).mean(), {.on_step = false, .on_epoch = true});
      return layer(x);
    }
  };
  struct Body : LightningModule {
    std::shared_ptr<Head> head = register_module("head", std::make_shared<Head>());
    StepOutput training_step(const Batch& batch, std::int64_t) override {
      CHECK(&head->trainer() == &trainer());
      return head->forward(batch.input).square().mean();
    }
    Optimizers configure_optimizers() override { return optim::SGD(parameters(), {.lr = 0.1}); }
  } body;
  {
    Trainer trainer(quiet({.max_epochs = 1}));
    trainer.fit(body, boring_loader(2));
    CHECK(trainer.callback_metrics().contains("head_mean"));
    BoringModel other;
    trainer.fit(other, boring_loader(2));
    CHECK_THROWS(body.head->trainer());
    trainer.fit(body, boring_loader(2));
  }
  CHECK_THROWS(body.head->trainer());
}

TEST_CASE("step: a module knows its rank and its Trainer's loggers", "[unit][step]") {
  BoringModel model;
  CHECK(model.global_rank() == 0);
  CHECK_THROWS_WITH(model.loggers(), Contains("not attached"));
  Trainer trainer(quiet({.max_epochs = 1}));
  trainer.fit(model, boring_loader(1));
  CHECK(model.loggers().empty());
  CHECK(model.local_rank() == 0);
  CHECK(torch::equal(model.all_gather(torch::ones({2})), torch::ones({1, 2})));
}

}  // namespace training_step_test
