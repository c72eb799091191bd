// Runs that are killed and resumed, and runs that a limit ended, against one run that nothing ever ended.
#include "tests/support/catch.h"
#include "tests/support/training.h"

#include <functional>
#include <set>
#include <string>

namespace survival_test {

using namespace rtrain;
using rtrain::test::boring_loader;
using rtrain::test::quiet;

namespace {

namespace fs = std::filesystem;

struct Killed {};

/// val_loss is scores[epoch].
struct Scored : test::BoringModel {
  torch::Tensor validation_step(const Batch&, std::int64_t) override {
    static constexpr double kScores[]{9, 5, 4, 7, 3, 6, 8, 9, 9, 9, 9, 9};
    log("val_loss", kScores[current_epoch()]);
    return {};
  }
};

/// What TrainReportCallback does in a job: the state as the others of this epoch left it. Dies after it.
struct Reports : Callback {
  fs::path folder;
  std::set<std::int64_t>* dies_at;
  fs::path* latest;
  Reports(fs::path where, std::set<std::int64_t>* dies, fs::path* last)
      : folder(std::move(where)), dies_at(dies), latest(last) {}
  void on_train_epoch_end(Trainer& trainer, LightningModule&) override {
    *latest = folder / ("report-" + std::to_string(trainer.current_epoch()));
    trainer.save_checkpoint(*latest);
    if (dies_at->erase(trainer.current_epoch()) > 0) throw Killed();
  }
  CallbackOrder order() const override { return CallbackOrder::kReport; }
};

struct End {
  std::int64_t epochs = 0, steps = 0, stopped_epoch = 0;
  int waited = 0;
  std::string best;
  std::set<std::string> files;
  Metrics metrics;
  friend bool operator==(const End&, const End&) = default;
};

struct Setting {
  EarlyStoppingOptions stopping{.monitor = "val_loss"};
  ModelCheckpointOptions best{.filename = "{epoch}", .monitor = "val_loss", .save_top_k = 2};
  TrainerOptions trainer{.max_epochs = 12};
  std::function<void(Trainer&)> at_epoch_end = [](Trainer&) {};
};

/// Attempt after attempt, each from the latest report, until one comes through.
End run(const Setting& setting, std::set<std::int64_t> dies_at) {
  const test::Folder folder;
  fs::path latest;
  for (;;) {
    const auto stopping = std::make_shared<EarlyStopping>(setting.stopping);
    auto best_options = setting.best;
    best_options.dirpath = folder / "best";
    const auto best = std::make_shared<ModelCheckpoint>(best_options);
    auto options = setting.trainer;
    options.callbacks = {Reports(folder.path(), &dies_at, &latest), best, stopping,
                         LambdaCallback({.on_train_epoch_end = [&](Trainer& trainer, LightningModule&) {
                           setting.at_epoch_end(trainer);
                         }})};
    seed_everything(3);
    Scored model;
    Trainer trainer(quiet(options));
    try {
      trainer.fit(model, boring_loader(4), boring_loader(1), latest);
    } catch (const Killed&) {
      continue;
    }
    End end{trainer.current_epoch(),
            trainer.global_step(),
            stopping->stopped_epoch(),
            stopping->wait_count(),
            best->best_model_path().filename().string(),
            {},
            trainer.callback_metrics()};
    for (const auto& entry : fs::directory_iterator(folder / "best"))
      end.files.insert(entry.path().filename().string());
    return end;
  }
}

void check_all_kills(const Setting& setting, const End& whole) {
  for (std::int64_t epoch = 0; epoch < whole.epochs; ++epoch) {
    INFO("killed at the end of epoch " << epoch);
    CHECK(run(setting, {epoch}) == whole);
  }
  std::set<std::int64_t> every;
  for (std::int64_t epoch = 0; epoch < whole.epochs; ++epoch) every.insert(epoch);
  CHECK(run(setting, every) == whole);
}

}  // namespace

TEST_CASE("survival: killed at every epoch's end, a run stops at the same epoch with the same files",
          "[unit][trainer][F04]") {
  const Setting setting;
  const auto whole = run(setting, {});
  CHECK(whole.epochs == 8);
  CHECK(whole.best == "epoch=4.ckpt");
  CHECK(whole.files == std::set<std::string>{"epoch=2.ckpt", "epoch=4.ckpt"});
  check_all_kills(setting, whole);
}

TEST_CASE("survival: also when validations, and not epochs, are what is monitored", "[unit][trainer][F04]") {
  Setting setting;
  setting.trainer.val_check_interval = 2;
  setting.stopping.patience = 5;
  const auto whole = run(setting, {});
  CHECK(whole.epochs > 2);
  check_all_kills(setting, whole);

  Setting rare;  // metrics of an earlier epoch decide in the next
  rare.trainer.check_val_every_n_epoch = 2;
  rare.stopping.check_on_train_epoch_end = false;
  rare.best.every_n_train_steps = 3;
  const auto rarely = run(rare, {});
  check_all_kills(rare, rarely);
}

TEST_CASE("survival: a stop by a hook is part of the state, until the limits are raised",
          "[unit][trainer][F04]") {
  Setting setting;
  setting.at_epoch_end = [](Trainer& trainer) {
    if (trainer.current_epoch() == 2) trainer.set_should_stop();
  };
  const auto whole = run(setting, {});
  CHECK(whole.epochs == 3);
  check_all_kills(setting, whole);

  const test::Folder folder;
  Scored model;
  Trainer first(quiet(
      {.max_epochs = 5, .callbacks = {LambdaCallback({.on_train_epoch_end = [](Trainer& t, LightningModule&) {
                          t.set_should_stop();
                        }})}}));
  first.fit(model, boring_loader(4), boring_loader(1));
  first.save_checkpoint(folder / "c");
  const auto epochs_of = [&](const TrainerOptions& options) {
    Trainer next(quiet(options));
    next.fit(model, boring_loader(4), boring_loader(1), folder / "c");
    return next.current_epoch();
  };
  CHECK(epochs_of({.max_epochs = 5}) == 1);
  CHECK(epochs_of({.max_epochs = 6}) == 6);
  CHECK(epochs_of({.max_epochs = 5, .min_epochs = 3}) == 3);
}

}  // namespace survival_test
