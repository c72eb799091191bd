// Manual optimization: hooks, counting and values as Lightning 2.6 wrote them (tests/golden/manual), and what
// is refused.
#include "tests/support/catch.h"
#include "tests/support/golden.h"
#include "tests/support/state.h"
#include "tests/support/training.h"

#include <rtrain/schedulers.h>

#include <cmath>

namespace manual_step_test {

using namespace rtrain;
using Catch::Contains;
using rtrain::test::boring_loader;
using rtrain::test::BoringModel;
using rtrain::test::det;
using rtrain::test::Folder;
using rtrain::test::golden_lines;
using rtrain::test::Heard;
using rtrain::test::quiet;
using rtrain::test::same_bits;
using rtrain::test::state_of;

namespace {

DataLoader golden_loader(std::int64_t samples) {
  return {data::TensorDataset(det({samples, 4}, 1), det({samples, 1}, 3)),
          {.batch_size = 4, .num_workers = 0}};
}

/// The first model of tests/golden/manual/g_manual.py.
struct Recorded : LightningModule {
  torch::nn::Linear layer = register_module("layer", torch::nn::Linear(4, 1));
  torch::nn::Linear g = register_module("g", torch::nn::Linear(4, 1));
  std::vector<std::string> events;
  std::vector<double> rates;

  Recorded() {
    set_automatic_optimization(false);
    to(torch::kDouble);
    const torch::NoGradGuard no_grad;
    layer->weight.copy_(det({1, 4}, 0));
    layer->bias.copy_(det({1}, 5));
    g->weight.fill_(0.1);
  }
  void note_requires_grad() {
    std::string text;
    for (const auto& parameter : parameters())
      text += (text.empty() ? "" : ", ") + std::string(parameter.requires_grad() ? "True" : "False");
    events.push_back("requires_grad [" + text + "]");
  }
  StepOutput training_step(const Batch& batch, std::int64_t i) override {
    auto first = optimizer(0), second = optimizer(1);
    events.push_back("step " + std::to_string(i) + " global " + std::to_string(global_step()) +
                     " type Lightning" + first.optimizer().type_name() + " " + lr_scheduler().type_name());
    auto toggled = toggle_optimizer(first);
    note_requires_grad();
    const auto loss = torch::mse_loss(layer(batch.input), batch.target);
    manual_backward(loss);
    clip_gradients(first, 0.5);
    first.step();
    first.zero_grad();
    toggled.untoggle();
    note_requires_grad();
    if (i % 2 == 0) {
      second.zero_grad();
      manual_backward((g(batch.input) - batch.target).square().mean());
      second.step();
    }
    log("l", loss);
    if (trainer().is_last_batch()) lr_scheduler().step();
    rates = {first.lr(), second.lr()};
    return {loss, {{"extra", torch::tensor(i)}}};
  }
  Optimizers configure_optimizers() override {
    auto sgd = optim::SGD(layer->parameters(), {.lr = 0.1});
    return {{sgd, optim::Adam(g->parameters(), {.lr = 0.1})},
            {lr::StepLR(sgd, {.step_size = 1, .gamma = 0.5})}};
  }
  void on_before_zero_grad(Optimizer& o) override {
    events.push_back("on_before_zero_grad " + o.type_name());
  }
  void on_before_backward(const torch::Tensor&) override { events.emplace_back("on_before_backward"); }
  void on_after_backward() override { events.emplace_back("on_after_backward"); }
  void on_before_optimizer_step(Optimizer& o) override {
    events.push_back("on_before_optimizer_step " + o.type_name());
  }
  void optimizer_step(std::int64_t, std::int64_t, LightningOptimizer&, const Closure&) override {
    events.emplace_back("optimizer_step hook");
  }
  void optimizer_zero_grad(std::int64_t, std::int64_t, Optimizer&) override {
    events.emplace_back("optimizer_zero_grad hook");
  }
  void configure_gradient_clipping(Optimizer&, std::optional<double>, const std::string&) override {
    events.emplace_back("configure_gradient_clipping hook");
  }
  void lr_scheduler_step(LRScheduler&, std::optional<double>) override {
    events.emplace_back("lr_scheduler_step hook");
  }
  void on_train_batch_end(const StepOutput& output, const Batch&, std::int64_t) override {
    CHECK_FALSE(output.loss.requires_grad());
    events.push_back("on_train_batch_end outputs ['" + output.extras.begin()->first + "', 'loss'] global " +
                     std::to_string(global_step()));
  }
};

struct Rows : Logger {
  std::vector<std::pair<std::map<std::string, double>, std::int64_t>> rows;
  void log_metrics(const std::map<std::string, double>& metrics, std::int64_t step) override {
    rows.emplace_back(metrics, step);
  }
};

struct Manual : BoringModel {
  Manual() { set_automatic_optimization(false); }
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    optimizer().zero_grad();
    manual_backward(loss_of(batch));
    optimizer().step();
    return std::nullopt;
  }
};

}  // namespace

TEST_CASE("manual: hooks, counts and values are Lightning's", "[unit][step]") {
  const auto lines = golden_lines("manual/manual_optimization.txt");
  const auto rows = std::make_shared<Rows>();
  Recorded model;
  Trainer trainer(quiet({.max_epochs = 1, .log_every_n_steps = 1, .loggers = {rows}}));
  trainer.fit(model, golden_loader(12));
  const auto count = model.events.size();
  REQUIRE(lines.size() > count + 4);
  for (std::size_t i = 0; i < count; ++i) CHECK(model.events[i] == lines[i]);
  // "global_step 5 lrs [0.05, 0.1]", then the rows of the logger: epoch,l,step
  CHECK(lines[count] == "global_step " + std::to_string(trainer.global_step()) + " lrs [0.05, 0.1]");
  CHECK(model.rates == std::vector<double>{0.05, 0.1});
  std::size_t line = count + 2;
  for (const auto& [metrics, step] : rows->rows) {
    if (!metrics.contains("l")) continue;
    std::istringstream in(lines.at(line++));
    std::string epoch, l, x;
    std::getline(in, epoch, ',');
    std::getline(in, l, ',');
    std::getline(in, x);
    CHECK(metrics.at("l") == Approx(std::stod(l)).epsilon(1e-12));
    CHECK(step == std::stoll(x));
  }
  CHECK(line == count + 5);
}

TEST_CASE("manual: what only the Trainer does is refused, all at once", "[unit][step]") {
  Manual model;
  Trainer trainer(quiet({.max_epochs = 1, .accumulate_grad_batches = 2, .gradient_clip_val = 1.0}));
  CHECK_THROWS_WITH(trainer.fit(model, boring_loader(2)),
                    Contains("gradient_clip_val is 1.0: call clip_gradients") &&
                        Contains("a step takes 2 batches") && Contains("no_sync()"));
  struct Scheduled : Manual {
    void on_train_epoch_start() override { trainer().set_accumulate_grad_batches(2); }
  } scheduled;
  Trainer plain(quiet({.max_epochs = 1}));
  CHECK_THROWS_WITH(plain.fit(scheduled, boring_loader(2)), Contains("accumulate in training_step"));
  struct Switches : Manual {
    void on_train_start() override { set_automatic_optimization(true); }
  } switches;
  CHECK_THROWS_WITH(plain.fit(switches, boring_loader(2)), Contains("a fit is going on"));
}

TEST_CASE("manual: automatic optimization and other places have no manual_backward", "[unit][step]") {
  struct Automatic : BoringModel {
    std::function<void(Automatic&, const torch::Tensor&)> does;
    StepOutput training_step(const Batch& batch, std::int64_t) override {
      const auto loss = loss_of(batch);
      does(*this, loss);
      return loss;
    }
  } model;
  Trainer trainer(quiet({.max_epochs = 1}));
  model.does = [](Automatic& m, const torch::Tensor& loss) { m.manual_backward(loss); };
  CHECK_THROWS_WITH(trainer.fit(model, boring_loader(1)), Contains("set_automatic_optimization(false)"));
  model.does = [](Automatic& m, const torch::Tensor&) { const auto unsynced = m.no_sync(); };
  CHECK_THROWS_WITH(trainer.fit(model, boring_loader(1)), Contains("accumulate_grad_batches"));
  model.does = [](Automatic& m, const torch::Tensor&) { (void)m.optimizer(1); };
  CHECK_THROWS_WITH(trainer.fit(model, boring_loader(1)),
                    Contains("optimizer(1): configure_optimizers() returned 1"));
  model.does = [](Automatic& m, const torch::Tensor&) { (void)m.lr_scheduler(); };
  CHECK_THROWS_WITH(trainer.fit(model, boring_loader(1)),
                    Contains("lr_scheduler(0): configure_optimizers() returned 0"));
  CHECK_THROWS_WITH(model.optimizer(), Contains("only within fit()"));
  CHECK_THROWS_WITH(BoringModel().optimizer(), Contains("not attached to a Trainer"));

  std::optional<LightningOptimizer> kept;
  model.does = [&](Automatic& m, const torch::Tensor&) { kept = m.optimizer(); };
  trainer.fit(model, boring_loader(1));
  CHECK_THROWS_WITH(kept->step(), Contains("SGD: the fit that this optimizer belongs to is over"));
}

TEST_CASE("manual: losses that cannot be learned from are said", "[unit][step]") {
  struct Loss : Manual {
    torch::Tensor loss;
    StepOutput training_step(const Batch&, std::int64_t) override {
      return manual_backward(loss), std::nullopt;
    }
  } model;
  Trainer trainer(quiet({.max_epochs = 1}));
  CHECK_THROWS_WITH(trainer.fit(model, boring_loader(1)), Contains("manual_backward: the loss is undefined"));
  model.loss = torch::ones({});
  CHECK_THROWS_WITH(trainer.fit(model, boring_loader(1)),
                    Contains("manual_backward got a loss that does not"));
  model.loss = torch::ones({2}).requires_grad_();
  CHECK_THROWS_WITH(trainer.fit(model, boring_loader(1)),
                    Contains("manual_backward got a tensor of 2 elements"));
}

TEST_CASE("manual: backward takes a gradient and keeps the graph", "[unit][step]") {
  struct Twice : Manual {
    torch::Tensor seen;
    StepOutput training_step(const Batch& batch, std::int64_t) override {
      const auto outputs = layer(batch.input).sum(0);
      manual_backward(outputs, {.gradient = torch::ones({2}), .retain_graph = true});
      manual_backward(outputs.sum());
      seen = layer->bias.grad().clone();
      optimizer().zero_grad();
      return {};
    }
  } model;
  Trainer trainer(quiet({.max_epochs = 1}));
  trainer.fit(model, boring_loader(3, 3));
  CHECK(torch::equal(model.seen, torch::full({2}, 6.0F)));
  CHECK(trainer.global_step() == 0);
}

TEST_CASE("manual: toggling gives each parameter back what it had", "[unit][step]") {
  struct Toggles : BoringModel {
    torch::nn::Linear other = register_module("other", torch::nn::Linear(2, 2));
    std::vector<bool> within, after;
    Toggles() { set_automatic_optimization(false); }
    std::vector<bool> flags() {
      std::vector<bool> all;
      for (const auto& parameter : parameters()) all.push_back(parameter.requires_grad());
      return all;
    }
    StepOutput training_step(const Batch&, std::int64_t) override {
      {
        const auto one = toggle_optimizer(optimizer(1));
        const auto again = toggle_optimizer(optimizer(0));  // of those left, none is of the first
        within = flags();
      }
      after = flags();
      return {};
    }
    Optimizers configure_optimizers() override {
      layer->bias.set_requires_grad(false);
      return {optim::SGD(layer->parameters(), {.lr = 0.1}), optim::SGD(other->parameters(), {.lr = 0.1})};
    }
  } model;
  Trainer trainer(quiet({.max_epochs = 1}));
  trainer.fit(model, boring_loader(1));
  CHECK(model.within == std::vector<bool>{false, false, false, false});
  CHECK(model.after == std::vector<bool>{true, false, true, true});
}

TEST_CASE("manual: a plateau needs no monitor, and what is not read is said", "[unit][step]") {
  struct Plateau : Manual {
    Optimizers configure_optimizers() override {
      const auto sgd = optim::SGD(parameters(), {.lr = 0.1});
      return {sgd,
              LRSchedulerConfig{.scheduler = lr::ReduceLROnPlateau(sgd, {.patience = 0}), .frequency = 2}};
    }
    void on_train_epoch_end() override { lr_scheduler().step(1.0); }
  } model;
  const Heard heard;
  Trainer trainer(quiet({.max_epochs = 3}));
  trainer.fit(model, boring_loader(2));
  CHECK_THAT(heard.text(), Contains("scheduler 0 (ReduceLROnPlateau) has an interval, a frequency"));
}

TEST_CASE("manual: LBFGS steps with a closure", "[unit][step]") {
  struct Curved : BoringModel {
    std::vector<double> losses;
    Curved() { set_automatic_optimization(false); }
    StepOutput training_step(const Batch& batch, std::int64_t) override {
      const auto loss = optimizer().step([&] {
        optimizer().zero_grad();
        auto own = loss_of(batch);
        manual_backward(own);
        return own;
      });
      losses.push_back(loss.item<double>());
      return loss;
    }
    Optimizers configure_optimizers() override { return optim::LBFGS(parameters(), {.max_iter = 5}); }
  } model;
  torch::manual_seed(3);
  Trainer trainer(quiet({.max_epochs = 3}));
  trainer.fit(model, boring_loader(16, 16));
  REQUIRE(model.losses.size() == 3);
  CHECK(model.losses[2] < 0.2 * model.losses[0]);
  CHECK(trainer.global_step() == 3);
}

namespace {

/// A generator and a critic, Adam both, a scheduler each; gradients of two batches add up for the critic.
struct Pair : LightningModule {
  torch::nn::Linear generator = register_module("generator", torch::nn::Linear(3, 4));
  torch::nn::Linear critic = register_module("critic", torch::nn::Linear(4, 1));
  Pair() { set_automatic_optimization(false); }
  StepOutput training_step(const Batch& batch, std::int64_t i) override {
    auto g = optimizer(0), c = optimizer(1);
    {
      const auto toggled = toggle_optimizer(g);
      const auto fake = torch::tanh(generator(torch::randn({batch.size(), 3})));
      manual_backward(-critic(fake).mean());
      g.step();
      g.zero_grad();
    }
    const auto toggled = toggle_optimizer(c);
    const auto fake = torch::tanh(generator(torch::randn({batch.size(), 3}))).detach();
    const auto loss = (critic(fake) - 1).square().mean() + (critic(batch.input) + 1).square().mean();
    manual_backward(loss);
    if (i % 2 == 1) {
      c.step();
      c.zero_grad();
    }
    if (trainer().is_last_batch()) {
      for (const auto& scheduler : lr_schedulers()) scheduler->step();
    }
    log("loss", loss, {.on_epoch = true});
    return loss;
  }
  Optimizers configure_optimizers() override {
    auto g = optim::Adam(generator->parameters(), {.lr = 0.01});
    auto c = optim::AdamW(critic->parameters(), {.lr = 0.02});
    return {WithScheduler{g, lr::ExponentialLR(g, 0.9)},
            WithScheduler{c, lr::StepLR(c, {.step_size = 1, .gamma = 0.5})}};
  }
};

}  // namespace

TEST_CASE("manual: a resumed run has the bits of one that never ended", "[unit][step]") {
  const Folder folder;
  torch::manual_seed(4);
  const DataLoader loader(data::TensorDataset(torch::randn({28, 4})), {.batch_size = 4, .shuffle = true});
  // 7 batches an epoch: 7 steps of the generator, 3 of the critic, whose gradients stay over its end.
  // Saved after batches with and without pending gradients, and at the end of an epoch.
  const std::vector<std::int64_t> places{1, 3, 10, 11, 13};
  torch::manual_seed(5);
  Pair whole;
  const auto save = [&](Trainer& t, LightningModule&, const StepOutput&, const Batch&, std::int64_t) {
    for (const auto step : places)
      if (t.global_step() == step) t.save_checkpoint(folder / std::to_string(step));
  };
  const auto save_end = [&](Trainer& t, LightningModule&) {
    if (t.current_epoch() == 0) t.save_checkpoint(folder / "end");
  };
  Trainer trainer(
      quiet({.max_epochs = 3,
             .callbacks = {LambdaCallback({.on_train_batch_end = save, .on_train_epoch_end = save_end})}}));
  trainer.fit(whole, loader);
  trainer.save_checkpoint(folder / "whole");
  REQUIRE(trainer.global_step() == 3 * (7 + 3));
  const auto wanted = state_of(whole);

  std::vector<std::string> names{"end"};
  for (const auto step : places) names.push_back(std::to_string(step));
  for (const auto& name : names) {
    INFO("from " << name);
    torch::manual_seed(99);
    Pair resumed;
    Trainer again(quiet({.max_epochs = 3}));
    again.fit(resumed, loader, {}, folder / name);
    CHECK(again.global_step() == trainer.global_step());
    CHECK(same_bits(state_of(resumed), wanted));
  }
  const auto saved = load_safetensors(folder / "whole" / "optimizer.safetensors").tensors;
  CHECK(saved.contains("0.generator.weight.exp_avg"));
  CHECK(saved.contains("1.critic.bias.exp_avg_sq"));
  // The generator's gradients are used and cleared; the critic's are pending after an odd number of batches.
  const auto pending = load_safetensors(folder / "1" / "rng-rank0.safetensors").tensors;
  CHECK(pending.contains("gradient.critic.weight"));
  CHECK_FALSE(pending.contains("gradient.generator.weight"));
  CHECK_FALSE(
      load_safetensors(folder / "3" / "rng-rank0.safetensors").tensors.contains("gradient.critic.weight"));
}

TEST_CASE("manual: a checkpoint of other optimizers is refused by number and name", "[unit][step]") {
  struct Swapped : Pair {
    Optimizers configure_optimizers() override {
      return {optim::AdamW(critic->parameters(), {.lr = 0.02}),
              optim::SGD(generator->parameters(), {.lr = 1})};
    }
  } swapped;
  const Folder folder;
  const DataLoader loader(data::TensorDataset(torch::randn({8, 4})), {.batch_size = 4});
  Pair pair;
  Trainer trainer(quiet({.max_epochs = 1}));
  trainer.fit(pair, loader);
  trainer.save_checkpoint(folder / "c");
  Trainer again(quiet({.max_epochs = 2}));
  CHECK_THROWS_WITH(again.fit(swapped, loader, {}, folder / "c"),
                    Contains("AdamW (optimizer 0): it is the state of Adam, this is AdamW"));
}

TEST_CASE(
    "manual optimization: a precision scales each loss, unscales before clipping and updates once a batch") {
  struct Recording : Precision {
    std::vector<std::string> calls;
    torch::Tensor scale(const torch::Tensor& loss) override {
      calls.emplace_back("scale");
      return loss * 8;
    }
    void unscale(Optimizer& optimizer) override {
      if (calls.back() == "unscale") return;
      calls.emplace_back("unscale");
      for (const auto& parameter : optimizer.parameters())
        if (parameter.grad().defined()) parameter.mutable_grad().div_(8);
    }
    void step(Plan& plan, Optimizer& optimizer) override {
      calls.emplace_back("step");
      Precision::step(plan, optimizer);
    }
    void update() override { calls.emplace_back("update"); }
  };
  struct Net : LightningModule {
    torch::nn::Linear layer = register_module("layer", torch::nn::Linear(4, 1));
    double norm = 0;
    Net() {
      set_automatic_optimization(false);
      to(torch::kDouble);
    }
    StepOutput training_step(const Batch& batch, std::int64_t) override {
      auto sgd = optimizer();
      for (int critic = 0; critic < 2; ++critic) {
        sgd.zero_grad();
        manual_backward((layer(batch.input) * 1000).sum());
        clip_gradients(sgd.optimizer(), 0.5);
        norm = torch::cat({layer->weight.grad().view(-1), layer->bias.grad().view(-1)}).norm().item<double>();
        sgd.step();
      }
      return std::nullopt;
    }
    Optimizers configure_optimizers() override { return optim::SGD(parameters(), {.lr = 0.1}); }
  } net;
  const auto precision = std::make_shared<Recording>();
  Trainer(quiet({.max_epochs = 1, .limit_train_batches = 1, .precision = precision}))
      .fit(net, golden_loader(4));
  const std::vector<std::string> step{"scale", "unscale", "step"};
  std::vector<std::string> expected(step);
  expected.insert(expected.end(), step.begin(), step.end());
  expected.emplace_back("update");
  CHECK(precision->calls == expected);
  CHECK(net.norm == Approx(0.5).epsilon(1e-4));
}

}  // namespace manual_step_test
