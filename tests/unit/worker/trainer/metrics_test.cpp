#include "tests/support/catch.h"
#include "tests/support/training.h"

#include <cmath>
#include <functional>
#include <optional>

namespace trainer_metrics_test {

using namespace rtrain;
using rtrain::test::boring_loader;
using rtrain::test::quiet;

namespace {

/// Logs where a test says.
struct Logs : test::BoringModel {
  std::function<void(Logs&, const Batch&, std::int64_t)> in_training, in_validation;
  std::function<void(Logs&)> at_train_epoch_end, at_fit_start;
  StepOutput training_step(const Batch& batch, std::int64_t i) override {
    if (in_training) in_training(*this, batch, i);
    return BoringModel::training_step(batch, i);
  }
  torch::Tensor validation_step(const Batch& batch, std::int64_t i) override {
    if (in_validation) in_validation(*this, batch, i);
    return BoringModel::validation_step(batch, i);
  }
  void on_train_epoch_end() override {
    if (at_train_epoch_end) at_train_epoch_end(*this);
  }
  void on_fit_start() override {
    if (at_fit_start) at_fit_start(*this);
  }
};

/// What callbacks see at some place of a fit of two batches.
struct Seen : Callback {
  Metrics after_first_batch, after_last_batch, at_epoch_end, logged, progress_bar;
  void on_train_batch_start(Trainer& trainer, LightningModule&, const Batch&, std::int64_t i) override {
    if (i == 1) after_first_batch = trainer.callback_metrics();
  }
  void on_train_epoch_end(Trainer& trainer, LightningModule&) override {
    at_epoch_end = trainer.callback_metrics();
    logged = trainer.logged_metrics();
    progress_bar = trainer.progress_bar_metrics();
  }
};

std::shared_ptr<Seen> fit_two_batches(Logs& model, const DataLoader& val = {}) {
  auto seen = std::make_shared<Seen>();
  Trainer trainer(quiet({.max_epochs = 1, .num_sanity_val_steps = 0, .callbacks = {seen}}));
  trainer.fit(model, boring_loader(3, 2), val);  // a batch of 2, a batch of 1
  return seen;
}

}  // namespace

TEST_CASE("log: names and times follow on_step and on_epoch as in Lightning", "[unit][trainer]") {
  struct Row {
    std::optional<bool> on_step, on_epoch;
    Metrics first_batch, epoch_end;
  };
  // Values 1 (batch of 2 samples) and 4 (batch of 1): the epoch's mean is 2.
  const std::vector<Row> rows = {
      {std::nullopt, std::nullopt, {{"m", 1}}, {{"m", 4}}},
      {true, false, {{"m", 1}}, {{"m", 4}}},
      {false, true, {}, {{"m", 2}}},
      {true, true, {{"m", 1}, {"m_step", 1}}, {{"m", 2}, {"m_step", 4}, {"m_epoch", 2}}},
      {std::nullopt, true, {{"m", 1}, {"m_step", 1}}, {{"m", 2}, {"m_step", 4}, {"m_epoch", 2}}},
  };
  for (const auto& row : rows) {
    for (const bool as_tensor : {true, false}) {
      Logs model;
      model.in_training = [&](Logs& m, const Batch&, std::int64_t i) {
        const double value = i == 0 ? 1 : 4;
        const LogOptions options{.on_step = row.on_step, .on_epoch = row.on_epoch};
        as_tensor ? m.log("m", torch::scalar_tensor(value), options) : m.log("m", value, options);
      };
      const auto seen = fit_two_batches(model);
      CHECK(seen->after_first_batch == row.first_batch);
      CHECK(seen->at_epoch_end == row.epoch_end);
    }
  }
}

TEST_CASE("log: validation logs an epoch by default, weighted by batch sizes, reductions as asked",
          "[unit][trainer]") {
  Logs model;
  model.in_validation = [](Logs& m, const Batch&, std::int64_t i) {
    const double value = i == 0 ? 1 : 4;
    m.log("mean", value);
    m.log("even", value, {.batch_size = 1});
    m.log("sum", value, {.reduce_fx = ReduceFx::kSum});
    m.log("min", torch::scalar_tensor(value), {.reduce_fx = ReduceFx::kMin});
    m.log("max", value, {.reduce_fx = ReduceFx::kMax});
    m.log("both", value, {.on_step = true});
    m.log("hidden", value, {.logger = false});
  };
  Trainer trainer(quiet({}));
  const auto result = trainer.validate(model, boring_loader(3, 2));
  CHECK(result == Metrics{{"mean", 2}, {"even", 2.5}, {"sum", 5}, {"min", 1}, {"max", 4}, {"both_epoch", 2}});
  // Callbacks know neither the steps of an evaluation nor "logger".
  CHECK(trainer.callback_metrics() == Metrics{{"mean", 2},
                                              {"even", 2.5},
                                              {"sum", 5},
                                              {"min", 1},
                                              {"max", 4},
                                              {"both", 2},
                                              {"both_epoch", 2},
                                              {"hidden", 4.0 / 3 + 2.0 / 3}});
}

TEST_CASE("log: prog_bar, logger and the metrics of validation reach their views", "[unit][trainer]") {
  Logs model;
  model.in_training = [](Logs& m, const Batch&, std::int64_t i) {
    m.log("loss", static_cast<double>(i), {.on_step = true, .prog_bar = true});
    m.log("quiet", 1.0, {.logger = false});
  };
  model.in_validation = [](Logs& m, const Batch&, std::int64_t) {
    m.log("val_loss", 7.0, {.prog_bar = true});
  };
  const auto seen = fit_two_batches(model, boring_loader(2));
  CHECK(seen->progress_bar == Metrics{{"loss", 1}, {"val_loss", 7}});
  CHECK(seen->logged == Metrics{{"loss", 1}, {"val_loss", 7}});
  CHECK(seen->at_epoch_end == Metrics{{"loss", 1}, {"val_loss", 7}, {"quiet", 1}});
}

TEST_CASE("log: each epoch starts its means anew", "[unit][trainer]") {
  Logs model;
  std::vector<double> means;
  model.in_training = [](Logs& m, const Batch&, std::int64_t) {
    m.log("m", static_cast<double>(m.current_epoch()), {.on_step = false, .on_epoch = true});
  };
  auto notes = LambdaCallback({.on_train_epoch_end = [&](Trainer& t, LightningModule&) {
    means.push_back(t.callback_metrics().at("m"));
  }});
  Trainer trainer(quiet({.max_epochs = 3, .callbacks = {std::move(notes)}}));
  trainer.fit(model, boring_loader(4, 2));
  CHECK(means == std::vector<double>{0, 1, 2});
}

TEST_CASE("log: a tensor that is changed in place afterwards keeps its logged value", "[unit][trainer]") {
  Logs model;
  auto counter = torch::zeros({});
  model.in_training = [&](Logs& m, const Batch&, std::int64_t) {
    counter.add_(1);
    m.log("counter", counter, {.on_step = true, .on_epoch = true, .reduce_fx = ReduceFx::kMin});
    counter.add_(100);
  };
  const auto seen = fit_two_batches(model);
  CHECK(seen->at_epoch_end == Metrics{{"counter", 1}, {"counter_step", 102}, {"counter_epoch", 1}});
}

TEST_CASE(
    "log: a callback that monitors sees what the module logs at the end of an epoch, a plain one does not",
    "[unit][trainer]") {
  struct Monitor : Callback {
    bool monitoring;
    bool saw = false;
    explicit Monitor(bool m) : monitoring(m) {}
    CallbackOrder order() const override {
      return monitoring ? CallbackOrder::kMonitor : CallbackOrder::kPlain;
    }
    void on_train_epoch_end(Trainer& trainer, LightningModule&) override {
      saw = trainer.callback_metrics().contains("late");
    }
  };
  const auto plain = std::make_shared<Monitor>(false), monitor = std::make_shared<Monitor>(true);
  Logs model;
  model.at_train_epoch_end = [](Logs& m) { m.log("late", 1.0); };
  Trainer trainer(quiet({.max_epochs = 1, .callbacks = {monitor, plain}}));
  trainer.fit(model, boring_loader(2));
  CHECK_FALSE(plain->saw);
  CHECK(monitor->saw);
}

TEST_CASE("log: what cannot be logged is refused with its name", "[unit][trainer]") {
  const auto refused = [](std::function<void(Logs&)> log, bool at_epoch_end = false) {
    Logs model;
    if (at_epoch_end) {
      model.at_train_epoch_end = log;
    } else {
      model.in_training = [log](Logs& m, const Batch&, std::int64_t) { log(m); };
    }
    fit_two_batches(model);
  };
  CHECK_THROWS_WITH(refused([](Logs& m) { m.log("a", torch::ones({3})); }),
                    "log(\"a\"): the tensor has 3 elements, expected 1");
  CHECK_THROWS_WITH(refused([](Logs& m) { m.log("a", 1.0, {.on_step = false, .on_epoch = false}); }),
                    Catch::Contains("log(\"a\"): neither on_step nor on_epoch"));
  CHECK_THROWS_WITH(refused([](Logs& m) { m.log("a", 1.0, {.on_step = true}); }, true),
                    Catch::Contains("once an epoch"));
  CHECK_THROWS_WITH(refused([](Logs& m) {
                      m.log("a", 1.0);
                      m.log("a", 1.0, {.prog_bar = true});
                    }),
                    Catch::Contains("twice in the same hook with different options"));
  Logs at_start;
  at_start.at_fit_start = [](Logs& m) { m.log("a", 1.0); };
  CHECK_THROWS_WITH(fit_two_batches(at_start), Catch::Contains("logging is not possible in this hook"));
  Logs alone;
  CHECK_NOTHROW(alone.log("a", 1.0));  // without a Trainer: a warning
}

TEST_CASE("loggers: steps every log_every_n_steps, an epoch's metrics at its last step", "[unit][trainer]") {
  struct Rows : Logger {
    std::vector<std::pair<std::int64_t, Metrics>> rows;
    void log_metrics(const Metrics& metrics, std::int64_t step) override { rows.emplace_back(step, metrics); }
  };
  const auto rows = std::make_shared<Rows>();
  Logs model;
  model.in_training = [](Logs& m, const Batch&, std::int64_t i) {
    m.log("i", static_cast<double>(i), {.on_step = true, .on_epoch = true});
  };
  Trainer trainer(quiet({.max_epochs = 1, .log_every_n_steps = 2, .loggers = {rows}}));
  trainer.fit(model, boring_loader(5));
  REQUIRE(rows->rows.size() == 3);
  CHECK(rows->rows[0] == std::pair<std::int64_t, Metrics>{1, {{"epoch", 0}, {"i_step", 1}}});
  CHECK(rows->rows[1] == std::pair<std::int64_t, Metrics>{3, {{"epoch", 0}, {"i_step", 3}}});
  CHECK(rows->rows[2] == std::pair<std::int64_t, Metrics>{4, {{"epoch", 0}, {"i_epoch", 2}}});
}

}  // namespace trainer_metrics_test
