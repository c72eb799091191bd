// Where a run's data comes from: data modules, several loaders, loaders that are made anew.
#include "tests/support/catch.h"
#include "tests/support/golden.h"
#include "tests/support/training.h"

#include <rtrain/loggers/csv_logger.h>

#include <map>
#include <memory>
#include <optional>

namespace data_module_test {

using namespace rtrain;
using rtrain::test::boring_loader;
using rtrain::test::det;
using rtrain::test::Folder;
using rtrain::test::quiet;

namespace {

using Events = std::vector<std::string>;

const char* name_of(Stage stage) {
  switch (stage) {
    case Stage::kFit: return "fit";
    case Stage::kTest: return "test";
    case Stage::kPredict: return "predict";
    default: return "validate";
  }
}

DataLoader loader(std::int64_t samples, std::int64_t batch_size) {
  return {data::TensorDataset(det({samples, 4}, 1), det({samples, 1}, 3)),
          {.batch_size = batch_size, .num_workers = 0}};
}

/// The data module of tests/golden/data/g_datamodule.py.
struct DM : LightningDataModule {
  Events& events;
  explicit DM(Events& given) : events(given) {}
  void say(const std::string& text) const { events.push_back("dm." + text); }
  [[nodiscard]] std::string epoch() const { return " e" + std::to_string(trainer().current_epoch()); }
  void prepare_data() override { say("prepare_data"); }
  void setup(Stage stage) override { say(std::string("setup ") + data_module_test::name_of(stage)); }
  void teardown(Stage stage) override { say(std::string("teardown ") + data_module_test::name_of(stage)); }
  DataLoaders train_dataloader() override { return say("train_dataloader" + epoch()), loader(8, 4); }
  DataLoaders val_dataloader() override { return say("val_dataloader" + epoch()), loader(4, 4); }
  DataLoaders test_dataloader() override { return say("test_dataloader"), loader(4, 4); }
  DataLoaders predict_dataloader() override { return say("predict_dataloader"), loader(4, 4); }
  Batch on_before_batch_transfer(Batch batch) override { return say("on_before_batch_transfer"), batch; }
  Batch transfer_batch_to_device(Batch batch, torch::Device) override { return say("transfer"), batch; }
  Batch on_after_batch_transfer(Batch batch) override { return say("on_after_batch_transfer"), batch; }
  nlohmann::json state_dict() const override { return say("state_dict"), nlohmann::json{{"k", 1}}; }
  void load_state_dict(const nlohmann::json& state) override {
    say("load_state_dict {'k': " + state.at("k").dump() + "}");
  }
  void on_exception(const std::exception& error) override {
    if (dynamic_cast<const std::runtime_error*>(&error) != nullptr) say("on_exception RuntimeError");
  }
};

struct Lin : LightningModule {
  torch::nn::Linear layer = register_module("layer", torch::nn::Linear(4, 1));
  Lin() {
    layer->to(torch::kDouble);
    const torch::NoGradGuard no_grad;
    layer->weight.copy_(det({1, 4}, 0));
    layer->bias.copy_(det({1}, 5));
  }
  torch::Tensor loss_of(const Batch& batch) { return torch::mse_loss(layer(batch.input), batch.target); }
  StepOutput training_step(const Batch& batch, std::int64_t) override { return loss_of(batch); }
  Optimizers configure_optimizers() override { return optim::SGD(parameters(), {.lr = 0.1}); }
};

struct M : Lin {
  Events& events;
  bool fails = false;
  explicit M(Events& given) : events(given) {}
  void say(const std::string& text) { events.push_back("m." + text); }
  StepOutput training_step(const Batch& batch, std::int64_t i) override {
    if (fails) throw std::runtime_error("boom");
    return Lin::training_step(batch, i);
  }
  torch::Tensor validation_step(const Batch&, std::int64_t) override { return {}; }
  torch::Tensor test_step(const Batch&, std::int64_t) override { return {}; }
  torch::Tensor predict_step(const Batch&, std::int64_t) override { return torch::ones(1); }
  Optimizers configure_optimizers() override {
    return say("configure_optimizers"), Lin::configure_optimizers();
  }
  std::vector<std::shared_ptr<Callback>> configure_callbacks() override {
    return say("configure_callbacks"), std::vector<std::shared_ptr<Callback>>{};
  }
  void prepare_data() override { say("prepare_data"); }
  void setup(Stage stage) override { say(std::string("setup ") + data_module_test::name_of(stage)); }
  void teardown(Stage stage) override { say(std::string("teardown ") + data_module_test::name_of(stage)); }
  void configure_model() override { say("configure_model"); }
  void on_fit_start() override { say("on_fit_start"); }
  void on_train_start() override { say("on_train_start"); }
  void on_train_epoch_start() override { say("on_train_epoch_start"); }
  void on_validation_start() override { say("on_validation_start"); }
  void on_save_checkpoint(TrainerCheckpoint&) override { say("on_save_checkpoint"); }
  void on_load_checkpoint(const TrainerCheckpoint&) override { say("on_load_checkpoint"); }
};

/// Of the golden file from the line that begins with `title` to the next title. The keys of Lightning's
/// checkpoint are its own.
Events section(const std::string& title) {
  Events lines;
  for (auto line : test::golden_lines("data/datamodule.txt", title)) {
    if (line.starts_with("== ")) break;
    if (const auto keys = line.find(" keys "); keys != std::string::npos) line.erase(keys);
    lines.push_back(line);
  }
  REQUIRE_FALSE(lines.empty());
  return lines;
}

}  // namespace

TEST_CASE("data module: hooks run in Lightning's order", "[unit][trainer]") {
  const Folder folder;
  Events events;
  const auto dm = std::make_shared<DM>(events);
  M model(events);
  Trainer trainer(quiet({.max_epochs = 2}));
  trainer.fit(model, dm);
  CHECK(std::exchange(events, {}) == section("== fit 2 epochs"));
  trainer.save_checkpoint(folder / "a.ckpt");
  (void)trainer.test(model, dm);
  CHECK(std::exchange(events, {}) == section("== save_checkpoint, test"));
  (void)trainer.predict(model, dm);
  CHECK(std::exchange(events, {}) == section("== predict"));
  CHECK(trainer.datamodule() == dm.get());
  Trainer(quiet({.max_epochs = 3})).fit(model, dm, folder / "a.ckpt");
  CHECK(std::exchange(events, {}) == section("== fit from the checkpoint"));

  std::string reloads;
  Trainer(quiet({.max_epochs = 4, .num_sanity_val_steps = 0, .reload_dataloaders_every_n_epochs = 2}))
      .fit(model, dm);
  for (const auto& event : std::exchange(events, {}))
    if (event.find("dataloader") != std::string::npos) reloads += (reloads.empty() ? "" : " | ") + event;
  // Lightning asks for those of training first when there is no sanity check.
  CHECK(reloads ==
        "dm.val_dataloader e0 | dm.train_dataloader e0 | dm.train_dataloader e2 | dm.val_dataloader e2");

  model.fails = true;
  const test::Heard heard;
  CHECK_THROWS_WITH(Trainer(quiet({.max_epochs = 1})).fit(model, dm), "boom");
  const auto last = section("== exception");
  CHECK(Events(events.end() - 3, events.end()) == Events(last.begin(), last.begin() + 3));
}

TEST_CASE("data module: what it does not have comes from the module", "[unit][trainer]") {
  struct OnlyTrain : LightningDataModule {
    DataLoaders train_dataloader() override { return boring_loader(2); }
  };
  struct Model : test::BoringModel {
    int validated = 0, transferred = 0;
    DataLoaders val_dataloader() override { return boring_loader(3); }
    torch::Tensor validation_step(const Batch& batch, std::int64_t i) override {
      ++validated;
      return BoringModel::validation_step(batch, i);
    }
    Batch on_after_batch_transfer(Batch batch) override { return ++transferred, batch; }
  } model;
  Trainer trainer(quiet({.max_epochs = 1, .num_sanity_val_steps = 0}));
  trainer.fit(model, OnlyTrain());
  CHECK(model.validated == 3);
  CHECK(model.transferred == 5);
  CHECK(trainer.datamodule() == nullptr);  // it is gone
  CHECK_THROWS_WITH(trainer.fit(model, std::shared_ptr<OnlyTrain>()), Catch::Contains("null pointer"));
  trainer.fit(model, LightningDataModule::from_datasets({.train = data::TensorDataset(torch::randn({6, 32}))},
                                                        {.batch_size = 3}));
  CHECK(trainer.num_training_batches() == 2);
  OnlyTrain alone;
  CHECK_THROWS_AS(alone.trainer(), std::logic_error);
  CHECK_THROWS_AS(alone.on_after_batch_transfer({}), std::logic_error);
}

TEST_CASE("data module: hyperparameters are logged with the module's, and may not contradict them",
          "[unit][trainer]") {
  struct Keeps : Logger {
    nlohmann::json hparams;
    void log_metrics(const std::map<std::string, double>&, std::int64_t) override {}
    void log_hyperparams(const nlohmann::json& given) override { hparams = given; }
  };
  const auto logger = std::make_shared<Keeps>();
  const auto dm = LightningDataModule::from_datasets({.train = data::TensorDataset(torch::randn({2, 32}))});
  dm->save_hyperparameters({{"batch_size", 4}, {"lr", 0.1}});
  test::BoringModel model;
  model.save_hyperparameters({{"lr", 0.1}});
  Trainer trainer(quiet({.max_epochs = 1, .loggers = {logger}}));
  trainer.fit(model, dm);
  CHECK(logger->hparams == nlohmann::json({{"batch_size", 4}, {"lr", 0.1}}));
  dm->hparams()["lr"] = 1;
  const test::Heard heard;
  CHECK_THROWS_WITH(trainer.fit(model, dm),
                    Catch::Contains("\"lr\" is 0.1 in the module and 1 in the data module"));
}

TEST_CASE("several loaders: training reads them together, under their names", "[unit][trainer]") {
  struct Model : Lin {
    std::vector<std::string> seen;
    StepOutput training_step(const Batch& batch, std::int64_t) override {
      std::string text;
      const Batch* first = nullptr;
      for (const auto& [name, one] : batch.as<Nested>().items) {
        text += name + (one.empty() ? "- " : "4 ");
        if (first == nullptr && !one.empty()) first = &one;
      }
      seen.push_back(text);
      return loss_of(*first);
    }
  };
  const auto run = [](const DataLoaders& loaders, TrainerOptions options = {}) {
    Model model;
    options.max_epochs = 1;
    Trainer trainer(quiet(options));
    trainer.fit(model, loaders);
    CHECK(trainer.num_training_batches() == static_cast<std::int64_t>(model.seen.size()));
    return model.seen;
  };
  const DataLoaders both{{"a", loader(8, 4)}, {"b", loader(20, 4)}};
  CHECK(run(both) == std::vector<std::string>(5, "a4 b4 "));
  CHECK(run({loader(8, 4), loader(20, 4)}) == std::vector<std::string>(5, "04 14 "));
  CHECK(run(CombinedLoader(both, "min_size")) == std::vector<std::string>(2, "a4 b4 "));
  CHECK(run(CombinedLoader(both, "max_size")) ==
        std::vector<std::string>{"a4 b4 ", "a4 b4 ", "a- b4 ", "a- b4 ", "a- b4 "});
  CHECK(run(both, {.limit_train_batches = 3}).size() == 3);
  CHECK(run(CombinedLoader(both, "max_size"), {.limit_train_batches = 0.5}).size() == 2);
  const test::Heard heard;
  CHECK_THROWS_WITH(run(CombinedLoader(both, "sequential")), Catch::Contains("one after the other"));
  CHECK_THROWS_WITH(run(both, {.limit_train_batches = 0.1}),
                    Catch::Contains("limit_train_batches (loader \"a\") is 0.1"));
}

TEST_CASE("several loaders: names and rows of an evaluation are Lightning's", "[unit][trainer]") {
  struct Model : Lin {
    StepOutput training_step(const Batch& batch, std::int64_t i) override {
      const auto loss = loss_of(batch);
      log("loss", loss);
      log("both", loss, {.on_step = true, .on_epoch = true, .prog_bar = true});
      log("ep", static_cast<double>(i), {.on_step = false, .on_epoch = true});
      log("sum", 1.0, {.on_step = false, .on_epoch = true, .reduce_fx = ReduceFx::kSum});
      log("max", static_cast<double>(i), {.on_step = false, .on_epoch = true, .reduce_fx = ReduceFx::kMax});
      return loss;
    }
    void on_train_epoch_end() override { log("end", static_cast<double>(current_epoch())); }
    torch::Tensor validation_step(const Batch& batch, std::int64_t i) override {
      log("val", loss_of(batch));
      log("vboth", static_cast<double>(i), {.on_step = true, .on_epoch = true});
      log("noidx" + std::to_string(dataloader_idx()), 1.0, {.add_dataloader_idx = false});
      return {};
    }
  } model;
  const Folder folder;
  const DataLoaders val{loader(6, 4), loader(3, 4)};
  Trainer trainer(
      quiet({.max_epochs = 1, .log_every_n_steps = 3, .loggers = {CSVLogger({.save_dir = folder.path()})}}));
  trainer.fit(model, loader(18, 4), val);

  const auto rows = [](std::vector<std::string> lines) {
    const auto cells = [](const std::string& line) {
      std::vector<std::string> all;
      std::istringstream in(line + ",");
      for (std::string cell; std::getline(in, cell, ',');) all.push_back(cell);
      return all;
    };
    std::vector<std::map<std::string, double>> table;
    const auto header = cells(lines.front());
    for (std::size_t i = 1; i < lines.size() && lines[i].find(':') == std::string::npos; ++i) {
      auto& row = table.emplace_back();
      const auto own = cells(lines[i]);
      for (std::size_t k = 0; k < own.size(); ++k)
        if (!own[k].empty()) row[header[k]] = std::stod(own[k]);
    }
    return table;
  };
  auto golden = test::golden_lines("loggers/csv_logger.txt", "== two val loaders");
  golden.erase(golden.begin());  // the files
  std::vector<std::string> ours;
  std::ifstream in(trainer.log_dir() / "metrics.csv");
  for (std::string line; std::getline(in, line);) ours.push_back(line);
  const auto expected = rows(golden), found = rows(ours);
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    CAPTURE(i);
    REQUIRE(found[i].size() == expected[i].size());
    for (const auto& [name, value] : expected[i]) {
      CAPTURE(name);
      REQUIRE(found[i].contains(name));
      CHECK_THAT(found[i].at(name), Catch::Matchers::WithinAbs(value, 1e-6));
    }
  }
  const auto metrics = trainer.callback_metrics();
  CHECK_THAT(metrics.at("vboth/dataloader_idx_0"), Catch::Matchers::WithinAbs(1.0 / 3, 1e-6));
  CHECK(metrics.contains("vboth_epoch/dataloader_idx_1"));
  CHECK(trainer.num_val_batches() == 3);

  const auto result = trainer.validate(model, val);
  CHECK(result.size() == 6);
  CHECK(result.at("noidx1") == 1);
  CHECK(result.contains("val/dataloader_idx_1"));
  const auto predictions = trainer.predict(test::BoringModel(), {boring_loader(2), boring_loader(3)});
  REQUIRE(predictions.size() == 5);
  REQUIRE(predictions.by_loader.size() == 2);
  CHECK(predictions.by_loader[0].size() == 2);
  CHECK(predictions.by_loader[1].size() == 3);
  CHECK(predictions.by_loader[1][2].is_same(predictions[4]));
  CHECK(trainer.predict(test::BoringModel(), boring_loader(2)).by_loader.at(0).size() == 2);
  const auto none = trainer.predict(test::BoringModel(), {boring_loader(2), boring_loader(3)}, {},
                                    {.return_predictions = false});
  CHECK(none.empty());
  CHECK((none.by_loader.size() == 2 && none.by_loader[0].empty() && none.by_loader[1].empty()));
}

TEST_CASE("several loaders: names that would be mixed are refused", "[unit][trainer]") {
  struct Model : test::BoringModel {
    std::string name;
    bool add = false;
    torch::Tensor validation_step(const Batch& batch, std::int64_t i) override {
      log(name, 1.0, {.add_dataloader_idx = add});
      return BoringModel::validation_step(batch, i);
    }
  } model;
  const DataLoaders two{boring_loader(2), boring_loader(2)};
  const test::Heard heard;
  Trainer trainer(quiet({.max_epochs = 1}));
  model.name = "acc";
  CHECK_THROWS_WITH(trainer.validate(model, two), Catch::Contains("several loaders log it"));
  CHECK_THAT(heard.text(), Catch::Contains("validation_step, loader 1, batch 0"));
  CHECK(trainer.validate(model, boring_loader(2)).at("acc") == 1);
  model.add = true;
  CHECK(trainer.validate(model, two).size() == 2);
  model.name = "acc/dataloader_idx_0";
  CHECK_THROWS_WITH(trainer.validate(model, two),
                    Catch::Contains("adds \"/dataloader_idx_<number>\" itself"));
}

TEST_CASE("several loaders: a run that resumes within an epoch goes on in each", "[unit][trainer]") {
  struct Model : Lin {
    std::vector<double> seen;
    std::optional<std::int64_t> stop_after;
    StepOutput training_step(const Batch& batch, std::int64_t i) override {
      for (const auto& [name, one] : batch.as<Nested>().items) seen.push_back(one.input.sum().item<double>());
      if (i == stop_after) trainer().set_should_stop();
      return loss_of(batch.as<Nested>()["b"]);
    }
  };
  const auto shuffled = [](std::int64_t samples, std::uint64_t seed) {
    return DataLoader(data::TensorDataset(det({samples, 4}, 1), det({samples, 1}, 3)),
                      {.batch_size = 2, .shuffle = true, .seed = seed});
  };
  const DataLoaders both{{"a", shuffled(6, 1)}, {"b", shuffled(14, 2)}};  // 3 and 7 batches
  Model whole;
  Trainer(quiet({.max_epochs = 2})).fit(whole, both);
  REQUIRE(whole.seen.size() == 28);
  for (const std::int64_t stop : {1, 2, 4}) {
    const Folder folder;
    Model first;
    first.stop_after = stop;
    Trainer before(quiet({.max_epochs = 2}));
    before.fit(first, both);
    before.save_checkpoint(folder / "c");
    Model second;
    Trainer(quiet({.max_epochs = 2, .max_steps = 14})).fit(second, both, {}, folder / "c");
    auto seen = first.seen;
    seen.insert(seen.end(), second.seen.begin(), second.seen.end());
    CAPTURE(stop);
    CHECK(seen == whole.seen);
    CHECK(torch::equal(second.layer->weight, whole.layer->weight));
  }
}

TEST_CASE("estimated_stepping_batches: in configure_optimizers, with the data of the fit",
          "[unit][trainer]") {
  struct Model : test::BoringModel {
    int asked = 0;
    std::int64_t steps = 0;
    DataLoaders train_dataloader() override { return ++asked, boring_loader(10, 2); }
    Optimizers configure_optimizers() override {
      steps = trainer().estimated_stepping_batches();
      return BoringModel::configure_optimizers();
    }
  };
  struct Row {
    TrainerOptions options;
    std::int64_t steps;
  };
  for (const auto& [options, steps] :
       {Row{{.max_epochs = 3}, 15}, Row{{.max_epochs = 3, .max_steps = 7}, 7},
        Row{{.max_epochs = 2, .accumulate_grad_batches = 2}, 6},
        Row{{.max_epochs = 2, .limit_train_batches = 3}, 6}, Row{{.max_steps = 4}, 4}}) {
    Model model;
    Trainer trainer(quiet(options));
    trainer.fit(model);
    CHECK(model.steps == steps);
    CHECK(trainer.global_step() == steps);
    CHECK(model.asked == 1);
    CHECK_THROWS_AS(trainer.estimated_stepping_batches(), std::logic_error);
  }
}

}  // namespace data_module_test
