// When the Trainer calls a logger, and with what.
#include "tests/support/catch.h"
#include "tests/support/training.h"

#include <rtrain/loggers.h>

#include <string>
#include <vector>

namespace logger_calls_test {

using namespace rtrain;
using rtrain::test::boring_loader;
using rtrain::test::Folder;
using rtrain::test::quiet;

namespace {

struct Calls : Logger {
  std::vector<std::string> lines;
  void log_metrics(const std::map<std::string, double>& metrics, std::int64_t step) override {
    lines.push_back("log_metrics " + metrics.rbegin()->first + " at " + std::to_string(step));
  }
  void log_hyperparams(const nlohmann::json& hyperparameters) override {
    lines.push_back("log_hyperparams " + hyperparameters.begin().key());
  }
  void log_text(const std::string& tag, const std::string& text, std::int64_t) override {
    lines.push_back("log_text " + tag + " " + text);
  }
  void save() override { lines.emplace_back("save"); }
  void after_save_checkpoint(const ModelCheckpoint& callback, const std::filesystem::path& path) override {
    lines.push_back("after_save_checkpoint " +
                    std::string(callback.best_model_path() == path ? "best" : "other"));
  }
  void finalize(const std::string& status) override { lines.push_back("finalize " + status); }
};

struct Model : test::BoringModel {
  Calls* calls = nullptr;
  bool fails = false;
  Model() { save_hyperparameters({{"lr", 0.1}}); }
  void on_fit_start() override { calls->lines.emplace_back("on_fit_start"); }
  void on_train_start() override {
    for (const auto& logger : trainer().loggers()) logger->log_text("model", "boring", 0);
  }
  StepOutput training_step(const Batch& batch, std::int64_t i) override {
    if (fails) throw std::runtime_error("broken");
    log("v", 1.0);
    return BoringModel::training_step(batch, i);
  }
};

}  // namespace

TEST_CASE("logger: hyperparameters after on_fit_start, a row and its save, the end", "[unit][loggers]") {
  const Folder folder;
  const auto calls = std::make_shared<Calls>();
  Model model;
  model.calls = calls.get();
  Trainer trainer(quiet({.max_epochs = 1,
                         .log_every_n_steps = 2,
                         .callbacks = {ModelCheckpoint({.dirpath = folder / "kept"})},
                         .loggers = {calls},
                         .default_root_dir = folder.path()}));
  CHECK(trainer.logger() == calls.get());
  CHECK(trainer.log_dir() == folder.path());  // this logger has no folder
  trainer.fit(model, boring_loader(2));
  CHECK(calls->lines == std::vector<std::string>{"on_fit_start", "log_hyperparams lr", "save",
                                                 "log_text model boring", "log_metrics v at 1", "save",
                                                 "after_save_checkpoint best", "finalize success"});
  calls->lines.clear();
  (void)trainer.validate(model, boring_loader(1));  // the same hyperparameters are not logged again
  CHECK(calls->lines == std::vector<std::string>{"finalize success"});
}

TEST_CASE("logger: a run that fails is finalized as failed", "[unit][loggers]") {
  const auto calls = std::make_shared<Calls>();
  Model model;
  model.calls = calls.get();
  model.fails = true;
  Trainer trainer(quiet({.max_epochs = 1, .loggers = {calls}, .enable_autolog_hparams = false}));
  const test::Heard heard;
  CHECK_THROWS(trainer.fit(model, boring_loader(2)));
  CHECK(calls->lines == std::vector<std::string>{"on_fit_start", "log_text model boring", "finalize failed"});
}

TEST_CASE("hyperparameters: in the module, its copies and its checkpoints", "[unit][loggers]") {
  const Folder folder;
  struct Own : test::BoringModel {
    Own() {
      save_hyperparameters({{"lr", 0.1}});
      save_hyperparameters({{"lr", 0.2}, {"layers", 3}});
    }
  };
  Own model;
  CHECK(model.hparams() == nlohmann::json{{"lr", 0.2}, {"layers", 3}});
  CHECK(Own(model).hparams() == model.hparams());
  CHECK_THROWS_WITH(model.save_hyperparameters(7), Catch::Contains("expected an object"));
  Trainer trainer(quiet({.max_epochs = 1}));
  trainer.fit(model, boring_loader(1));
  trainer.save_checkpoint(folder / "c");
  std::ifstream in(folder / "c/loop.json");
  CHECK(nlohmann::json::parse(in).at("hyper_parameters") == model.hparams());
}

}  // namespace logger_calls_test
