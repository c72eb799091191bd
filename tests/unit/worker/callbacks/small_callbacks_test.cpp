#include "tests/support/catch.h"
#include "tests/support/training.h"

#include <chrono>
#include <cmath>
#include <fstream>
#include <set>

namespace small_callbacks_test {

using namespace rtrain;
using namespace std::chrono_literals;
using rtrain::test::boring_loader;
using rtrain::test::quiet;

namespace {

std::set<std::string> entries_of(const std::filesystem::path& folder) {
  std::set<std::string> names;
  if (!std::filesystem::exists(folder)) return names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.insert(entry.path().filename().string());
  return names;
}

/// Fails at one batch of the whole fit.
struct Failing : test::BoringModel {
  std::int64_t at;
  explicit Failing(std::int64_t step) : at(step) {}
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    if (global_step() == at) throw std::runtime_error("as told");
    return loss_of(batch);
  }
};

struct Rows : Logger {
  std::vector<std::pair<std::int64_t, std::map<std::string, double>>> rows;
  void log_metrics(const std::map<std::string, double>& metrics, std::int64_t step) override {
    rows.emplace_back(step, metrics);
  }
};

}  // namespace

TEST_CASE("Duration: units, Lightning's form, and what is none", "[unit][callbacks]") {
  CHECK(Duration("90m").seconds() == 5400);
  CHECK(Duration("1h30m").seconds() == 5400);
  CHECK(Duration("2d").seconds() == 172800);
  CHECK(Duration("1.5s").seconds() == 1.5);
  CHECK(Duration("01:02:03:04").seconds() == 93784);
  CHECK(Duration(250ms).seconds() == 0.25);
  for (const char* wrong : {"", "90", "1:2", "h", "1m2h", "-1s"})
    CHECK_THROWS_WITH(Duration(wrong), Catch::Contains("expected a number with a unit"));
  CHECK_THROWS_WITH(Duration(-1s), Catch::Contains("expected 0 or more"));
}

TEST_CASE("ModelCheckpoint: by time, on an exception, and a link that never dangles", "[unit][callbacks]") {
  const test::Folder folder;
  const auto fit = [&](ModelCheckpointOptions options, LightningModule& model) {
    options.dirpath = folder / "c";
    Trainer trainer(quiet({.max_epochs = 1, .callbacks = {ModelCheckpoint(options)}}));
    trainer.fit(*static_cast<test::BoringModel*>(&model), boring_loader(3));
  };
  test::BoringModel model;
  fit({.save_top_k = -1, .train_time_interval = 0s}, model);
  CHECK(entries_of(folder / "c").size() == 3);
  std::filesystem::remove_all(folder / "c");
  fit({.save_top_k = -1, .train_time_interval = "1h"}, model);
  CHECK(entries_of(folder / "c").empty());
  CHECK_THROWS_WITH(ModelCheckpoint({.every_n_epochs = 1, .train_time_interval = 1s}),
                    Catch::Contains("train_time_interval exclude each other"));

  Failing failing(2);
  const test::Heard heard;
  CHECK_THROWS_WITH(fit({.save_last = true, .save_on_exception = true}, failing), "as told");
  CHECK(entries_of(folder / "c") == std::set<std::string>{"epoch=0-step=2.ckpt", "last.ckpt"});
  CHECK(heard.text().find("epoch=0-step=2.ckpt is saved") != std::string::npos);
  // The run goes on from there, with the batch that failed.
  Trainer again(quiet({.max_epochs = 1, .enable_checkpointing = false}));
  again.fit(model, boring_loader(3), {}, folder / "c/last.ckpt");
  CHECK(again.global_step() == 3);
}

TEST_CASE("OnExceptionCheckpoint: the next fit goes on from it, and it is gone after a good one",
          "[unit][callbacks]") {
  const test::Folder folder;
  const auto trainer_of = [&] {
    return TrainerOptions{.max_epochs = 2, .callbacks = {OnExceptionCheckpoint(folder.path())}};
  };
  const test::Heard heard;
  Trainer first(quiet(trainer_of()));
  CHECK_THROWS_WITH(first.fit(Failing(3), boring_loader(4)), "as told");
  CHECK(entries_of(folder.path()) == std::set<std::string>{"on_exception.ckpt"});
  std::vector<std::int64_t> steps;
  auto options = trainer_of();
  options.callbacks.push_back(
      LambdaCallback({.on_train_batch_end = [&](Trainer& t, LightningModule&, const StepOutput&, const Batch&,
                                                std::int64_t) { steps.push_back(t.global_step()); }}));
  Trainer second(quiet(std::move(options)));
  test::BoringModel model;
  second.fit(model, boring_loader(4));
  CHECK(steps == std::vector<std::int64_t>{4, 5, 6, 7, 8});
  CHECK(entries_of(folder.path()).empty());
}

TEST_CASE("fit: the checkpoints called best and last", "[unit][callbacks]") {
  const test::Folder folder;
  test::BoringModel model;
  Trainer trainer(quiet(
      {.max_epochs = 2, .callbacks = {ModelCheckpoint({.dirpath = folder.path(), .save_last = true})}}));
  {
    const test::Heard heard;  // there is none yet: it starts anew, and says so
    trainer.fit(model, boring_loader(4), {}, "last");
    CHECK(heard.text().find("\"last\"") != std::string::npos);
  }
  CHECK_NOTHROW(trainer.validate(model, boring_loader(2), "best"));
  CHECK_NOTHROW(trainer.validate(model, boring_loader(2), "last"));
  Trainer more(quiet(
      {.max_epochs = 3, .callbacks = {ModelCheckpoint({.dirpath = folder.path(), .save_last = true})}}));
  more.fit(model, boring_loader(4), {}, "last");
  CHECK(more.resumed_from().filename() == "last.ckpt");
  CHECK(more.global_step() == 12);
  Trainer none(quiet({.max_epochs = 1}));
  CHECK_THROWS_WITH(none.validate(model, boring_loader(2), "best"), Catch::Contains("no ModelCheckpoint"));
  Trainer early(quiet({.max_epochs = 1, .callbacks = {ModelCheckpoint({.dirpath = folder / "x"})}}));
  CHECK_THROWS_WITH(early.validate(model, boring_loader(2), "best"), Catch::Contains("saved nothing"));
}

TEST_CASE("Timer: ends a fit as Lightning does, and counts earlier attempts", "[unit][callbacks]") {
  test::BoringModel model;
  const auto epochs = [&](TrainerOptions options) {
    const test::Heard heard;
    Trainer trainer(quiet(std::move(options)));
    trainer.fit(model, boring_loader(5), boring_loader(2));
    return std::pair(trainer.current_epoch(), trainer.global_step());
  };
  using Counts = std::pair<std::int64_t, std::int64_t>;
  CHECK(epochs({.max_epochs = 3, .max_time = "00:00:00:00"}) == Counts(0, 0));
  CHECK(epochs({.max_epochs = 3, .min_epochs = 2, .max_time = "0s"}) == Counts(2, 10));
  CHECK(epochs({.max_epochs = 3, .min_steps = 7, .max_time = 0s}) == Counts(2, 7));
  CHECK(epochs({.max_epochs = 2, .max_time = "1h"}) == Counts(2, 10));

  Timer before("1h"), after("1h");
  auto state = before.state_dict();
  state["time_elapsed"]["train"] = 3601.0;
  after.load_state_dict(state);
  CHECK(*after.time_remaining() == -1);
  CHECK(after.time_elapsed() == 3601);

  // A fit that its Timer ended goes on when it is given more time.
  const test::Folder folder;
  Trainer stopped(quiet({.max_epochs = 2, .min_steps = 3, .callbacks = {Timer(0s, {.verbose = false})}}));
  stopped.fit(model, boring_loader(5));
  CHECK(stopped.global_step() == 5);
  stopped.save_checkpoint(folder / "c");
  Trainer longer(quiet({.max_epochs = 2, .callbacks = {Timer("1h")}}));
  longer.fit(model, boring_loader(5), {}, folder / "c");
  CHECK(longer.global_step() == 10);
}

TEST_CASE("ModelSummary: Lightning's counts and table", "[unit][callbacks]") {
  struct Net : LightningModule {
    torch::nn::Sequential conv = register_module(
        "conv",
        torch::nn::Sequential(torch::nn::Conv2d(1, 8, 3), torch::nn::BatchNorm2d(8), torch::nn::ReLU()));
    torch::nn::Linear head = register_module("head", torch::nn::Linear(8 * 26 * 26, 10));
    Net() { head->bias.set_requires_grad(false); }
  };
  const Net net;
  const auto counts = summarize(net);
  REQUIRE(counts.layers.size() == 2);
  CHECK(counts.layers[0].type == "Sequential");
  CHECK(counts.frozen == 10);
  CHECK(summarize(net, 2).layers.size() == 5);
  CHECK(summarize(net, 0).layers.empty());
  CHECK(counts.table() ==
        "  | Name | Type       | Params | Mode \n"
        "--------------------------------------\n"
        "0 | conv | Sequential | 96     | train\n"
        "1 | head | Linear     | 54.1 K | train\n"
        "--------------------------------------\n"
        "54.2 K    Trainable params\n"
        "10        Non-trainable params\n"
        "54.2 K    Total params\n"
        "0.217     Total estimated model params size (MB)\n"
        "5         Modules in train mode\n"
        "0         Modules in eval mode");
  CHECK_THROWS_WITH(ModelSummary(-2), Catch::Contains("max_depth is -2"));
}

TEST_CASE("LearningRateMonitor: Lightning's names and values", "[unit][callbacks]") {
  struct Two : test::BoringModel {
    Optimizers configure_optimizers() override {
      auto sgd = optim::SGD(
          {optim::SGDGroup{.params = {layer->weight}}, optim::SGDGroup{.params = {layer->bias}, .lr = 0.5}},
          {.lr = 0.1, .momentum = 0.9});
      return {sgd, LRSchedulerConfig{.scheduler = lr::StepLR(sgd, {.step_size = 1, .gamma = 0.5}),
                                     .interval = Interval::kStep}};
    }
  };
  const auto rows = std::make_shared<Rows>();
  const auto monitor = std::make_shared<LearningRateMonitor>(
      LearningRateMonitorOptions{.log_momentum = true, .log_weight_decay = true});
  Trainer trainer(
      quiet({.max_epochs = 2, .log_every_n_steps = 1, .callbacks = {monitor}, .loggers = {rows}}));
  Two model;
  trainer.fit(model, boring_loader(2));
  CHECK(monitor->lrs().at("lr-SGD/pg1") == std::vector<double>{0.1, 0.05, 0.025, 0.0125});
  CHECK(monitor->lrs().at("lr-SGD/pg2") == std::vector<double>{0.5, 0.25, 0.125, 0.0625});
  REQUIRE_FALSE(rows->rows.empty());
  CHECK(rows->rows[0].first == 0);
  CHECK(rows->rows[0].second.at("lr-SGD/pg1-momentum") == 0.9);
  CHECK(rows->rows[0].second.at("lr-SGD/pg2-weight_decay") == 0);
  CHECK(trainer.callback_metrics().at("lr-SGD/pg2") == 0.0625);
  Trainer silent(quiet({.max_epochs = 1, .callbacks = {LearningRateMonitor()}}));
  CHECK_THROWS_WITH(silent.fit(model, boring_loader(2)), Catch::Contains("has no logger"));
}

TEST_CASE("Callback: log() is the module's", "[unit][callbacks]") {
  struct Logs : Callback {
    void on_train_batch_end(Trainer&, LightningModule&, const StepOutput&, const Batch&,
                            std::int64_t batch_idx) override {
      log("from_callback", static_cast<double>(batch_idx));
    }
    void use() { log("late", 1.0); }
  };
  const auto logs = std::make_shared<Logs>();
  test::BoringModel model;
  Trainer trainer(quiet({.max_epochs = 1, .callbacks = {logs}}));
  trainer.fit(model, boring_loader(3));
  CHECK(trainer.callback_metrics().at("from_callback") == 2);
  CHECK_THROWS_WITH(logs->use(), Catch::Contains("outside of a run"));
}

TEST_CASE("fast_dev_run, overfit_batches, barebones", "[unit][callbacks]") {
  const test::Folder folder;
  test::BoringModel model;
  const auto rows = std::make_shared<Rows>();
  Trainer dev(quiet({.max_epochs = 9,
                     .fast_dev_run = 2,
                     .callbacks = {ModelCheckpoint({.dirpath = folder.path()}),
                                   EarlyStopping({.monitor = "nothing"}), LearningRateMonitor()},
                     .loggers = {rows}}));
  dev.fit(model, boring_loader(5), boring_loader(5));
  CHECK(dev.global_step() == 2);
  CHECK(dev.num_val_batches() == 2);
  CHECK(entries_of(folder.path()).empty());
  CHECK(rows->rows.empty());

  struct Seen : test::BoringModel {
    std::vector<float> first;
    StepOutput training_step(const Batch& batch, std::int64_t) override {
      first.push_back(batch.input[0][0].item<float>());
      return loss_of(batch);
    }
  } seen;
  const DataLoader shuffled(data::TensorDataset(torch::arange(16 * 32).reshape({16, 32}).to(torch::kFloat)),
                            {.batch_size = 1, .shuffle = true, .num_workers = 0});
  {
    const test::Heard heard;
    Trainer overfit(quiet({.max_epochs = 2, .overfit_batches = 2}));
    overfit.fit(seen, shuffled);
    CHECK(heard.text().find("overfit_batches: the data is shuffled") != std::string::npos);
  }
  CHECK(seen.first == std::vector<float>{0, 32, 0, 32});

  CHECK_THROWS_WITH(Trainer({.fast_dev_run = 1,
                             .num_sanity_val_steps = 1,
                             .detect_anomaly = true,
                             .loggers = {rows},
                             .enable_checkpointing = true,
                             .enable_progress_bar = true,
                             .enable_model_summary = true,
                             .barebones = true}),
                    Catch::Contains("enable_progress_bar") && Catch::Contains("enable_checkpointing") &&
                        Catch::Contains("enable_model_summary") && Catch::Contains("loggers") &&
                        Catch::Contains("detect_anomaly") && Catch::Contains("fast_dev_run") &&
                        Catch::Contains("num_sanity_val_steps"));
  CHECK_THROWS_WITH(Trainer({.fast_dev_run = -1}), Catch::Contains("fast_dev_run is -1"));
  CHECK_THROWS_WITH(Trainer({.overfit_batches = 1.5}), Catch::Contains("overfit_batches is 1.5"));
  struct Logging : test::BoringModel {
    StepOutput training_step(const Batch& batch, std::int64_t) override {
      log("loss", 1.0);
      return loss_of(batch);
    }
  } logging;
  Trainer bare({.max_epochs = 1, .accelerator = "cpu", .barebones = true});
  CHECK(bare.callbacks().empty());
  const test::Heard heard;
  bare.fit(logging, boring_loader(2), boring_loader(1));
  CHECK(bare.callback_metrics().empty());
}

TEST_CASE("PredictionWriter: predictions with the places of their samples", "[unit][callbacks]") {
  struct Collecting : PredictionWriter {
    using PredictionWriter::PredictionWriter;
    std::vector<std::vector<std::int64_t>> batches, epoch;
    std::size_t predictions = 0;
    void write_on_batch_end(Trainer&, LightningModule&, const torch::Tensor&,
                            const std::vector<std::int64_t>& indices, const Batch&, std::int64_t) override {
      batches.push_back(indices);
    }
    void write_on_epoch_end(Trainer&, LightningModule&, const std::vector<torch::Tensor>& all,
                            const std::vector<std::vector<std::int64_t>>& indices) override {
      predictions = all.size();
      epoch = indices;
    }
  };
  const auto writer = std::make_shared<Collecting>(PredictionWriter::Interval::kBatchAndEpoch);
  test::BoringModel model;
  Trainer trainer(quiet({.callbacks = {writer}}));
  (void)trainer.predict(model, boring_loader(5, 2));
  CHECK(writer->batches == std::vector<std::vector<std::int64_t>>{{0, 1}, {2, 3}, {4}});
  CHECK(writer->epoch == writer->batches);
  CHECK(writer->predictions == 3);
}

TEST_CASE("DeviceStatsMonitor: memory and load of the machine", "[unit][callbacks]") {
  const auto rows = std::make_shared<Rows>();
  test::BoringModel model;
  Trainer trainer(quiet(
      {.max_epochs = 1, .log_every_n_steps = 2, .callbacks = {DeviceStatsMonitor()}, .loggers = {rows}}));
  trainer.fit(model, boring_loader(4));
  REQUIRE(rows->rows.size() == 4);
  const auto& first = rows->rows[0].second;
  CHECK(rows->rows[0].first == 1);
  const auto used = first.at("DeviceStatsMonitor.on_train_batch_start/cpu_vm_percent");
  CHECK((used > 0 && used < 100));
  CHECK(rows->rows[1].second.contains("DeviceStatsMonitor.on_train_batch_end/cpu_percent"));
  Trainer silent(quiet({.max_epochs = 1, .callbacks = {DeviceStatsMonitor()}}));
  CHECK_THROWS_WITH(silent.fit(model, boring_loader(2)), Catch::Contains("has no logger"));
}

TEST_CASE("SpikeDetection: a jump of the loss ends the fit, and its batches are written down",
          "[unit][callbacks]") {
  struct Series : test::BoringModel {
    StepOutput training_step(const Batch& batch, std::int64_t index) override {
      return loss_of(batch) * 0 + (index == 3 ? 10.0 : 1.0 - 0.1 * static_cast<double>(index));
    }
  } model;
  const test::Folder folder;
  Trainer trainer(
      quiet({.max_epochs = 1, .callbacks = {SpikeDetection({.exclude_batches_path = folder.path()})}}));
  const test::Heard heard;
  CHECK_THROWS_AS(trainer.fit(model, boring_loader(6)), TrainingSpike);
  std::ifstream in(folder / "skip_batches.json");
  CHECK(nlohmann::json::parse(in) == nlohmann::json::array({2, 3}));
  CHECK(SpikeDetection().is_spike(std::nan("")));
  CHECK_FALSE(SpikeDetection({.finite_only = false}).is_spike(std::nan("")));
  CHECK_THROWS_WITH(SpikeDetection({.mode = "least", .window = 0}),
                    Catch::Contains("mode is \"least\"") && Catch::Contains("window is 0"));
}

}  // namespace small_callbacks_test
