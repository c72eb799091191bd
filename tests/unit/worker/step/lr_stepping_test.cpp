// When schedulers step: the learning rate that each training_step saw, as Lightning 2.6 wrote it
// (tests/golden/schedulers).
#include "tests/support/catch.h"
#include "tests/support/golden.h"
#include "tests/support/training.h"

#include <rtrain/schedulers.h>

#include <charconv>

namespace lr_stepping_test {

using namespace rtrain;
using rtrain::test::boring_loader;
using rtrain::test::Folder;
using rtrain::test::Heard;
using rtrain::test::quiet;

namespace {

/// As Python prints it: 1.0, 0.25.
std::string python(double value) {
  char text[32];
  std::string written(text, std::to_chars(text, text + sizeof text, value).ptr);
  return written.find_first_of(".e") == std::string::npos ? written + ".0" : written;
}

using Made = std::shared_ptr<Optimizer>;
using Make = std::function<Optimizers(Made)>;

struct Seen : LightningModule {
  torch::nn::Linear layer = register_module("layer", torch::nn::Linear(32, 2));
  Make make;
  std::string rows;
  Made optimizer;
  explicit Seen(Make how) : make(std::move(how)) {}

  StepOutput training_step(const Batch& batch, std::int64_t batch_idx) override {
    const double lr = std::round(optimizer->lr() * 1e10) / 1e10;  // as the golden file
    rows += (rows.empty() ? "(" : ", (") + std::to_string(current_epoch()) + ", " +
            std::to_string(batch_idx) + ", " + std::to_string(global_step()) + ", " + python(lr) + ")";
    log("one", 1.0);
    return 1e-6 * layer(batch.input).square().mean();
  }
  torch::Tensor validation_step(const Batch&, std::int64_t) override {
    log("v", 1.0);
    return {};
  }
  Optimizers configure_optimizers() override {
    optimizer = optim::SGD(parameters(), {.lr = 1.0});
    return make(optimizer);
  }
};

std::string golden(const std::string& title) {
  for (const auto& section : test::golden_sections("schedulers/scheduler_timing.txt")) {
    if (!section.title.starts_with(title + " {")) continue;
    const auto row = section.after("(epoch,batch,global_step,lr): [");
    return row.substr(0, row.rfind(']'));
  }
  throw std::runtime_error("no scenario " + title);
}

std::shared_ptr<LRScheduler> halving(const Made& optimizer) {
  return lr::StepLR(optimizer, {.step_size = 1, .gamma = 0.5});
}
std::shared_ptr<LRScheduler> plateau(const Made& optimizer) {
  return lr::ReduceLROnPlateau(optimizer, {.factor = 0.5, .patience = 0});
}

std::string rows(const Make& make, TrainerOptions options) {
  Seen model(make);
  Trainer trainer(quiet(std::move(options)));
  trainer.fit(model, boring_loader(20, 4), boring_loader(4, 4));
  return model.rows;
}

}  // namespace

TEST_CASE("schedulers step where Lightning's do", "[unit][step]") {
  const Make by_epoch = [](Made o) { return Optimizers(o, halving(o)); };
  const auto configured = [](LRSchedulerConfig config, std::shared_ptr<LRScheduler> (*make)(const Made&)) {
    return Make([=](Made o) {
      auto own = config;
      own.scheduler = make(o);
      return Optimizers(o, own);
    });
  };
  const auto by_step = configured({.interval = Interval::kStep}, halving);
  CHECK(rows(by_epoch, {.max_epochs = 3}) == golden("epoch default"));
  CHECK(rows(by_step, {.max_epochs = 1}) == golden("dict step"));
  CHECK(rows(by_step, {.max_epochs = 2, .accumulate_grad_batches = 2}) == golden("step, accumulate 2"));
  CHECK(rows(configured({.frequency = 2}, halving), {.max_epochs = 4}) == golden("epoch freq 2"));
  CHECK(rows(by_epoch, {.max_steps = 7}) == golden("epoch, max_steps within an epoch"));
  CHECK(rows(configured({.monitor = "v"}, plateau), {.max_epochs = 4}) ==
        golden("plateau on a val metric, epoch"));
  CHECK(rows(configured({.frequency = 2, .monitor = "v"}, plateau),
             {.max_epochs = 4, .check_val_every_n_epoch = 2}) ==
        golden("plateau val every 2 epochs, frequency 2"));
  const Make two = [](Made o) { return Optimizers(o, {halving(o), lr::ExponentialLR(o, 0.9)}); };
  CHECK(rows(two, {.max_epochs = 3}) == golden("two schedulers of one optimizer"));
}

TEST_CASE("schedulers by steps count the optimizer steps of the fit", "[unit][step]") {
  // Lightning's never steps here: its frequency counts the batches of an epoch.
  Seen model([](Made o) {
    return Optimizers(
        o, LRSchedulerConfig{.scheduler = halving(o), .interval = Interval::kStep, .frequency = 3});
  });
  Trainer trainer(quiet({.max_epochs = 2, .accumulate_grad_batches = 2}));
  trainer.fit(model, boring_loader(20, 4));
  CHECK(model.optimizer->lr() == 0.25);  // 6 steps
}

TEST_CASE("ReduceLROnPlateau: a metric that is not there", "[unit][step]") {
  const auto monitoring = [](const char* name, bool strict) {
    return Make([=](Made o) {
      return Optimizers(o, LRSchedulerConfig{.scheduler = plateau(o), .monitor = name, .strict = strict});
    });
  };
  CHECK_THROWS_WITH(
      rows(monitoring("zz", true), {.max_epochs = 1}),
      Catch::Contains("scheduler 0 (ReduceLROnPlateau) monitors \"zz\", which nothing has logged; "
                      "logged so far: one, v"));
  const Heard heard;
  CHECK_NOTHROW(rows(monitoring("zz", false), {.max_epochs = 1}));
  CHECK_THAT(heard.text(), Catch::Contains("it does not step"));
  // Validation every second epoch: in the others its metric is not missed.
  CHECK_NOTHROW(rows(monitoring("v", true), {.max_epochs = 2, .check_val_every_n_epoch = 2}));
}

TEST_CASE("schedulers that cannot be used are told at once", "[unit][step]") {
  const Make make = [](Made o) {
    const auto other = optim::SGD({torch::ones({1}).requires_grad_()}, {.lr = 1.0});
    return Optimizers(
        o, {LRSchedulerConfig{.scheduler = halving(other)}, LRSchedulerConfig{.scheduler = plateau(o)},
            LRSchedulerConfig{.scheduler = halving(o), .frequency = 0}});
  };
  CHECK_THROWS_WITH(
      rows(make, {.max_epochs = 1}),
      Catch::Contains(
          "scheduler 0 (StepLR) is of an optimizer (SGD) that configure_optimizers did not return") &&
          Catch::Contains("scheduler 1 (ReduceLROnPlateau) follows a metric") &&
          Catch::Contains("scheduler 2 (StepLR) has the frequency 0"));
}

TEST_CASE("schedulers: a resumed run goes on with the same learning rates", "[unit][step]") {
  for (const bool with_metric : {false, true}) {
    const Make make = [&](Made o) {
      if (with_metric) return Optimizers(o, LRSchedulerConfig{.scheduler = plateau(o), .monitor = "v"});
      const LRSchedulerConfig by_step{.scheduler = halving(o), .interval = Interval::kStep, .frequency = 2};
      return Optimizers(o, {by_step, LRSchedulerConfig{.scheduler = lr::ExponentialLR(o, 0.9)}});
    };
    const Folder folder;
    Seen whole(make);
    // Saved in the middle of an epoch, and at the end of one: there the plateau has not stepped yet.
    const auto save_within = [&](Trainer& t, LightningModule&, const StepOutput&, const Batch&,
                                 std::int64_t) {
      if (t.global_step() == 8) t.save_checkpoint(folder / "within");
    };
    const auto save_at_end = [&](Trainer& t, LightningModule&) {
      if (t.current_epoch() == 1) t.save_checkpoint(folder / "end");
    };
    Trainer trainer(quiet({.max_epochs = 4,
                           .callbacks = {LambdaCallback(
                               {.on_train_batch_end = save_within, .on_train_epoch_end = save_at_end})}}));
    trainer.fit(whole, boring_loader(20, 4), boring_loader(4, 4));
    for (const char* name : {"within", "end"}) {
      INFO(name << (with_metric ? " with a metric" : ""));
      Seen resumed(make);
      Trainer again(quiet({.max_epochs = 4}));
      again.fit(resumed, boring_loader(20, 4), boring_loader(4, 4), folder / name);
      CHECK_FALSE(resumed.rows.empty());
      CHECK(whole.rows.ends_with(resumed.rows));
      CHECK(resumed.optimizer->lr() == whole.optimizer->lr());
    }
  }
}

}  // namespace lr_stepping_test
