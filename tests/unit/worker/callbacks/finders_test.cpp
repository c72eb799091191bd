// LearningRateFinder against Lightning (tests/golden/callbacks/averaging.txt), BatchSizeFinder's search, and
// that a trial leaves no trace.
#include "tests/support/catch.h"
#include "tests/support/golden.h"
#include "tests/support/state.h"
#include "tests/support/training.h"

#include <rtrain/callbacks.h>

#include <c10/util/Exception.h>

#include <cmath>
#include <set>
#include <sstream>

namespace finders_test {

using namespace rtrain;
using Catch::Contains;
using rtrain::test::det;
using rtrain::test::quiet;
using rtrain::test::same_bits;
using rtrain::test::state_of;

namespace {

struct Swept : LightningModule {
  torch::nn::Linear layer = register_module("layer", torch::nn::Linear(4, 1));
  Swept() {
    to(torch::kDouble);
    const torch::NoGradGuard no_grad;
    layer->weight.copy_(det({1, 4}, 0));
    layer->bias.copy_(det({1}, 5));
  }
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    const auto loss = torch::mse_loss(layer(batch.input), batch.target);
    log("loss", loss);
    return loss;
  }
  Optimizers configure_optimizers() override { return optim::SGD(parameters(), {.lr = 0.1}); }
};

DataLoader swept_data() {
  return {data::TensorDataset(det({20, 4}, 1), det({20, 1}, 3)), {.batch_size = 4, .num_workers = 0}};
}

std::vector<double> numbers_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<double> all;
  for (double value = 0; in >> value;) all.push_back(value);
  return all;
}

void require_close(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    INFO(i);
    CHECK(a[i] == Approx(b[i]).epsilon(1e-9));
  }
}

}  // namespace

TEST_CASE("LearningRateFinder: Lightning's rates, losses and suggestion", "[unit][callbacks]") {
  const std::map<std::string, LearningRateFinderOptions> cases{
      {"finder 40 to 1",
       {.min_lr = 1e-4, .max_lr = 1, .num_training_steps = 40, .early_stop_threshold = std::nullopt}},
      {"finder linear 25",
       {.min_lr = 1e-3,
        .max_lr = 0.5,
        .num_training_steps = 25,
        .mode = "linear",
        .early_stop_threshold = std::nullopt}},
      {"finder stops early", {.min_lr = 1e-3, .max_lr = 1e3, .num_training_steps = 60}}};
  std::size_t met = 0;
  for (const auto& section : rtrain::test::golden_sections("callbacks/averaging.txt")) {
    const auto found = cases.find(section.title);
    if (found == cases.end()) continue;
    ++met;
    INFO(section.title);
    auto options = found->second;
    options.update_attr = false;
    const auto finder = std::make_shared<LearningRateFinder>(options);
    Swept net;
    Trainer trainer(quiet({.max_epochs = 1, .callbacks = {finder}}));
    trainer.fit(net, swept_data());
    require_close(finder->optimal_lr().lr, numbers_of(section.after("lr ")));
    require_close(finder->optimal_lr().loss, numbers_of(section.after("loss ")));
    const auto suggestion = section.after("suggestion ");
    if (suggestion == "None")
      CHECK_FALSE(finder->optimal_lr().suggestion());
    else
      CHECK(finder->optimal_lr().suggestion().value() == Approx(std::stod(suggestion)));
  }
  CHECK(met == cases.size());
}

TEST_CASE("LearningRateFinder: a step of an accumulation is one of the joined batch", "[unit][callbacks]") {
  const auto sweep = [](std::int64_t batch_size, std::int64_t accumulate) {
    const LearningRateFinderOptions options{.min_lr = 1e-4,
                                            .max_lr = 1,
                                            .num_training_steps = 12,
                                            .early_stop_threshold = std::nullopt,
                                            .update_attr = false};
    const auto finder = std::make_shared<LearningRateFinder>(options);
    Swept net;
    Trainer trainer(quiet({.max_epochs = 1, .accumulate_grad_batches = accumulate, .callbacks = {finder}}));
    trainer.fit(net, {data::TensorDataset(det({24, 4}, 1), det({24, 1}, 3)),
                      {.batch_size = batch_size, .num_workers = 0}});
    return finder->optimal_lr();
  };
  const auto joined = sweep(8, 1), parts = sweep(4, 2);
  CHECK(joined.lr.size() == 12);
  require_close(parts.lr, joined.lr);
  require_close(parts.loss, joined.loss);
  // What is left of an epoch is a step, too: 6 batches in steps of 4 and 2.
  CHECK(sweep(4, 4).loss.size() == 12);
}

TEST_CASE("LearningRateFinder: sets the rate, and leaves no other trace", "[unit][callbacks]") {
  struct Drawing : Swept {
    Drawing() { save_hyperparameters({{"learning_rate", 0.1}}); }
    std::vector<double> lrs, draws;
    StepOutput training_step(const Batch& batch, std::int64_t index) override {
      lrs.push_back(optimizer().optimizer().lr());
      draws.push_back(torch::rand({}).item<double>());
      return Swept::training_step(batch, index);
    }
    Optimizers configure_optimizers() override {
      return optim::SGD(parameters(), {.lr = 0.1, .momentum = 0.9});
    }
  };
  const auto run = [](TrainerOptions options, Drawing& net) {
    torch::manual_seed(3);
    options.max_epochs = 1;
    Trainer trainer(quiet(std::move(options)));
    trainer.fit(net, swept_data());
    CHECK(trainer.global_step() == 5);
  };
  Drawing plain, found;
  run({}, plain);
  const auto finder = std::make_shared<LearningRateFinder>(LearningRateFinderOptions{
      .min_lr = 1e-4, .num_training_steps = 30, .early_stop_threshold = std::nullopt});
  run({.callbacks = {finder}}, found);
  const auto suggestion = finder->optimal_lr().suggestion().value();
  CHECK(found.lrs.back() == suggestion);
  CHECK(found.hparams()["learning_rate"] == suggestion);
  // The same numbers are drawn after the sweep as without one.
  CHECK(std::vector(found.draws.end() - 5, found.draws.end()) == plain.draws);
  // With the old rate the weights would be those without a finder.
  Drawing kept;
  run({.callbacks = {LearningRateFinder({.min_lr = 1e-4, .num_training_steps = 30, .update_attr = false})}},
      kept);
  CHECK(same_bits(state_of(kept), state_of(plain)));
}

TEST_CASE("LearningRateFinder: what cannot be used is told", "[unit][callbacks]") {
  CHECK_THROWS_WITH(
      LearningRateFinder({.min_lr = 0, .num_training_steps = 0, .mode = "steps"}),
      Contains("min_lr is 0") && Contains("num_training_steps is 0") && Contains("mode is \"steps\""));
  CHECK_THROWS_WITH(LearningRateFinder({.min_lr = 1, .max_lr = 0.1}), Contains("max_lr is 0.1"));
}

TEST_CASE("a finder's trial is for on_fit_start", "[unit][callbacks]") {
  struct Late : Callback {
    void on_train_start(Trainer& trainer, LightningModule&) override { trainer.try_training(1, {}, {}); }
  };
  Swept net;
  Trainer trainer(quiet({.max_epochs = 1, .callbacks = {Late()}}));
  CHECK_THROWS_WITH(trainer.fit(net, swept_data()), Contains("in on_fit_start"));
}

TEST_CASE("BatchSizeFinder: the search", "[unit][callbacks]") {
  std::vector<std::int64_t> tried;
  const auto largest = [&](const BatchSizeFinderOptions& options, std::int64_t limit) {
    tried.clear();
    return largest_batch_size(options, [&](std::int64_t size) {
      tried.push_back(size);
      return size <= limit;
    });
  };
  CHECK(largest({}, 100) == 64);
  CHECK(tried == std::vector<std::int64_t>{2, 4, 8, 16, 32, 64, 128});
  CHECK(largest({.mode = "binsearch", .margin = 0}, 100) == 100);
  CHECK(largest({.mode = "binsearch"}, 100) == 95);  // 5 % less
  CHECK(largest({}, 1 << 30) == 8192);
  CHECK(largest({.max_trials = 3}, 100) == 8);
  CHECK(largest({.init_val = 64}, 20) == 16);
  CHECK(tried == std::vector<std::int64_t>{64, 32, 16});
  CHECK(largest({}, 0) == 0);
  CHECK(largest({.max_val = 50}, 100) == 50);
  CHECK_THROWS_WITH(BatchSizeFinder({.mode = "up", .init_val = 0, .margin = 1}),
                    Contains("mode is \"up\"") && Contains("init_val is 0") && Contains("margin is 1"));
}

TEST_CASE("BatchSizeFinder: the fit goes on with what fits, from where it was", "[unit][callbacks]") {
  struct Sized : Swept {
    std::int64_t size = 1, most = 0;
    std::multiset<std::int64_t> sizes;
    bool set_batch_size(std::int64_t to) override { return size = to, true; }
    DataLoaders train_dataloader() override {
      return DataLoader(data::TensorDataset(det({64, 4}, 1), det({64, 1}, 3)),
                        {.batch_size = size, .num_workers = 0});
    }
    StepOutput training_step(const Batch& batch, std::int64_t index) override {
      sizes.insert(batch.size());
      if (batch.size() > 10) throw c10::OutOfMemoryError({__func__, __FILE__, __LINE__}, "out of memory");
      return Swept::training_step(batch, index);
    }
  };
  const auto finder = std::make_shared<BatchSizeFinder>(BatchSizeFinderOptions{.steps_per_trial = 2});
  Sized net;
  Trainer trainer(quiet({.max_epochs = 1, .callbacks = {finder}}));
  trainer.fit(net);
  CHECK(finder->optimal_batch_size() == 8);
  CHECK(trainer.global_step() == 8);
  CHECK(net.sizes.count(8) == 2 + 8);
  CHECK(net.sizes.count(16) == 1);
  Sized passed;
  Trainer other(quiet({.max_epochs = 1, .callbacks = {BatchSizeFinder()}}));
  CHECK_THROWS_WITH(other.fit(passed, swept_data()), Contains("the loaders were passed to fit()"));
}

}  // namespace finders_test
