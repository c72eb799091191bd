// ThroughputMonitor and the progress bar, on a clock of the test's own.
#include "tests/support/catch.h"
#include "tests/support/training.h"

#include <rtrain/callbacks.h>
#include <rtrain/loggers.h>

#include <cstdlib>

namespace monitors_test {

using namespace rtrain;
using Catch::Contains;
using rtrain::test::boring_loader;
using rtrain::test::BoringModel;
using rtrain::test::quiet;

namespace {

struct Rows : Logger {
  std::vector<Metrics> rows;
  void log_metrics(const std::map<std::string, double>& metrics, std::int64_t) override {
    rows.push_back(metrics);
  }
};

/// A batch takes half a second, a validation 100.
struct Timed : ThroughputMonitor {
  using ThroughputMonitor::ThroughputMonitor;
  mutable double at = 7;
  void on_train_batch_end(Trainer& trainer, LightningModule& module, const StepOutput& output,
                          const Batch& batch, std::int64_t index) override {
    at += 0.5;
    ThroughputMonitor::on_train_batch_end(trainer, module, output, batch, index);
  }
  void on_validation_end(Trainer& trainer, LightningModule& module) override {
    at += 100;
    ThroughputMonitor::on_validation_end(trainer, module);
  }
  [[nodiscard]] double now() const override { return at; }
};

struct Drawn : ProgressBar {
  double at = 0, per_batch = 1;
  bool terminal = false;
  std::string written;
  void on_train_batch_end(Trainer& trainer, LightningModule& module, const StepOutput& output,
                          const Batch& batch, std::int64_t index) override {
    at += per_batch;
    ProgressBar::on_train_batch_end(trainer, module, output, batch, index);
  }
  [[nodiscard]] Style style() const override { return {.terminal = terminal, .color = false, .width = 60}; }
  [[nodiscard]] double now() const override { return at; }
  void write(const std::string& text) override { written += text; }
};

}  // namespace

TEST_CASE("ThroughputMonitor: Lightning's names, and rates of the window", "[unit][callbacks]") {
  const auto rows = std::make_shared<Rows>();
  BoringModel net;
  Trainer trainer(quiet({.max_epochs = 1,
                         .limit_val_batches = 1,
                         .val_check_interval = 2,
                         .log_every_n_steps = 1,
                         .callbacks = {Timed({.length_fn = [](const Batch&) { return 3; },
                                              .window_size = 3,
                                              .flops_per_batch = 1000,
                                              .available_flops = 8000})},
                         .loggers = {rows}}));
  trainer.fit(net, boring_loader(24, 4), boring_loader(4, 4));
  std::vector<Metrics> mine;
  for (const auto& row : rows->rows)
    if (row.contains("train/time")) mine.push_back(row);
  REQUIRE(mine.size() == 6);
  CHECK(mine[0] ==
        Metrics{{"train/time", 0.5}, {"train/batches", 1}, {"train/samples", 4}, {"train/lengths", 3}});
  CHECK(mine[1].size() == 4);  // the window is not full
  CHECK(mine[5] == Metrics{{"train/time", 3},
                           {"train/batches", 6},
                           {"train/samples", 24},
                           {"train/lengths", 18},
                           {"train/device/batches_per_sec", 2},
                           {"train/device/samples_per_sec", 8},
                           {"train/device/items_per_sec", 6},
                           {"train/device/flops_per_sec", 2000},
                           {"train/device/mfu", 0.25}});
}

TEST_CASE("ThroughputMonitor: peaks of devices, and what cannot be used", "[unit][callbacks]") {
  CHECK(peak_flops("NVIDIA H100 80GB HBM3", "bf16-mixed") == 989.4e12);
  CHECK(peak_flops("NVIDIA H100 PCIe", "16-mixed") == 756e12);
  CHECK(peak_flops("NVIDIA A100-SXM4-80GB", "32-true") == 19.5e12);
  CHECK(peak_flops("NVIDIA H200", "bf16-true") == 989.4e12);  // dense; Lightning has the sparse figure
  CHECK(peak_flops("an abacus", "32-true") == 0);
  CHECK_THROWS_WITH(ThroughputMonitor({.window_size = 1}), Contains("window_size is 1"));
  BoringModel net;
  Trainer trainer(quiet({.max_epochs = 1, .callbacks = {ThroughputMonitor()}}));
  CHECK_THROWS_WITH(trainer.fit(net, boring_loader(4)), Contains("no logger"));
}

TEST_CASE("ProgressBar: a line", "[unit][callbacks]") {
  const ProgressBar::Style plain{.width = 60};
  CHECK(progress_line("Epoch 1/3", 42, 100, 1.25, {{"loss", 0.125}}, plain) ==
        "Epoch 1/3:  42% ██████▎         42/100 1.25 it/s loss=0.125");
  CHECK(progress_line("Test", 10, 10, 0, {}, {.width = 20}) == "Test: 100% █████ 10/10");
  CHECK(progress_line("Epoch 0", 5, -1, 2, {}, plain) == "Epoch 0: 5 2 it/s");
  CHECK_THAT(progress_line("Test", 5, 10, 0, {}, {.color = true, .width = 60}), Contains("\x1b[36m"));
}

TEST_CASE("ProgressBar: a line every 10 s where there is no terminal", "[unit][callbacks]") {
  const auto bar = std::make_shared<Drawn>();
  BoringModel net;
  auto options = quiet({.max_epochs = 1, .callbacks = {bar}});
  options.enable_progress_bar = true;
  Trainer trainer(std::move(options));
  trainer.fit(net, boring_loader(25));
  CHECK(std::count(bar->written.begin(), bar->written.end(), '\n') == 3);  // after 10, 20 and 25 s
  CHECK_THAT(bar->written, Contains("Epoch 0/0:  40%") && Contains("10/25 1 it/s") && Contains("25/25"));
  CHECK_THAT(bar->written, !Contains("\r"));
}

TEST_CASE("ProgressBar: drawn over itself on a terminal, with the metrics that are for it",
          "[unit][callbacks]") {
  struct Logging : BoringModel {
    StepOutput training_step(const Batch& batch, std::int64_t) override {
      const auto loss = loss_of(batch);
      log("loss", torch::full({}, 0.5), {.prog_bar = true});
      return loss;
    }
  } net;
  const auto bar = std::make_shared<Drawn>();
  bar->terminal = true;
  bar->per_batch = 0.05;
  auto options = quiet({.max_epochs = 1, .callbacks = {bar}});
  options.enable_progress_bar = true;
  Trainer trainer(std::move(options));
  trainer.fit(net, boring_loader(4));
  CHECK(std::count(bar->written.begin(), bar->written.end(), '\r') == 2);
  CHECK(std::count(bar->written.begin(), bar->written.end(), '\n') == 1);
  CHECK_THAT(bar->written, Contains("loss=0.5"));
}

TEST_CASE("ProgressBar: a contradiction is refused", "[unit][callbacks]") {
  CHECK_THROWS_WITH(Trainer({.callbacks = {ProgressBar()}, .enable_progress_bar = false}),
                    Contains("enable_progress_bar is false"));
}

TEST_CASE("ModelCheckpoint: without a dirpath the folder of the first logger", "[unit][callbacks]") {
  const test::Folder folder;
  const auto checkpoint = std::make_shared<ModelCheckpoint>();
  BoringModel net;
  Trainer trainer(quiet({.max_epochs = 1,
                         .callbacks = {checkpoint},
                         .loggers = {CSVLogger({.save_dir = folder.path(), .name = "runs", .version = "7"})},
                         .default_root_dir = folder / "root"}));
  trainer.fit(net, boring_loader(4));
  CHECK(std::filesystem::path(checkpoint->best_model_path()).parent_path() ==
        folder / "runs" / "7" / "checkpoints");
}

}  // namespace monitors_test
