#include "tests/support/catch.h"
#include "tests/support/training.h"

#include <cmath>
#include <set>

using namespace rtrain;
using rtrain::test::boring_loader;
using rtrain::test::quiet;

namespace {

/// val_loss, and loss at the end of a training epoch, are values[epoch].
struct Scored : test::BoringModel {
  std::vector<double> values;
  explicit Scored(std::vector<double> v) : values(std::move(v)) {}
  torch::Tensor validation_step(const Batch&, std::int64_t) override {
    log("val_loss", values.at(static_cast<std::size_t>(current_epoch())));
    return {};
  }
};

std::set<std::string> names_in(const std::filesystem::path& folder) {
  std::set<std::string> names;
  if (!std::filesystem::exists(folder)) return names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

std::shared_ptr<ModelCheckpoint> fit(Scored&& model, ModelCheckpointOptions options, TrainerOptions trainer_options, bool validation = true) {
  auto callback = std::make_shared<ModelCheckpoint>(std::move(options));
  trainer_options.callbacks.push_back(callback);
  Trainer trainer(quiet(std::move(trainer_options)));
  trainer.fit(std::move(model), boring_loader(4), validation ? boring_loader(1) : DataLoader());
  return callback;
}

}  // namespace

TEST_CASE("ModelCheckpoint: names are Lightning's", "[unit][callbacks]") {
  const std::map<std::string, double> values{{"epoch", 2}, {"step", 300}, {"val_loss", 0.123456}, {"val/acc", 0.5}};
  CHECK(format_checkpoint_name("{epoch}-{step}", values) == "epoch=2-step=300");
  CHECK(format_checkpoint_name("{epoch:03d}", values) == "epoch=002");
  CHECK(format_checkpoint_name("{epoch}-{val_loss:.2f}", values) == "epoch=2-val_loss=0.12");
  CHECK(format_checkpoint_name("e{epoch:02d}-v{val/acc:.2f}", values, false) == "e02-v0.50");
  CHECK(format_checkpoint_name("{missing:d}", values) == "missing=0");
  CHECK(format_checkpoint_name("plain", values) == "plain");
  CHECK_THROWS_WITH(format_checkpoint_name("{epoch", values), Catch::Contains("not closed"));
  CHECK_THROWS_WITH(format_checkpoint_name("{epoch:s}", values), Catch::Contains("not of the form"));
}

TEST_CASE("ModelCheckpoint: without a monitor the latest is kept", "[unit][callbacks]") {
  const test::Folder folder;
  const auto callback = fit(Scored({0, 0, 0}), {.dirpath = folder.path()}, {.max_epochs = 3});
  CHECK(names_in(folder.path()) == std::set<std::string>{"epoch=2-step=12.ckpt"});
  CHECK(callback->best_model_path() == folder / "epoch=2-step=12.ckpt");
  CHECK_FALSE(callback->best_model_score());
}

TEST_CASE("ModelCheckpoint: the best k by a metric are kept, NaN counts as the worst", "[unit][callbacks]") {
  const test::Folder folder;
  const std::vector<double> scores{3, std::nan(""), 1, 2, 5};
  const auto callback = fit(Scored(scores), {.dirpath = folder.path(), .filename = "{epoch}", .monitor = "val_loss", .save_top_k = 2}, {.max_epochs = 5});
  CHECK(names_in(folder.path()) == std::set<std::string>{"epoch=2.ckpt", "epoch=3.ckpt"});
  CHECK(callback->best_model_path().filename() == "epoch=2.ckpt");
  CHECK(callback->best_model_score() == 1.0);
  CHECK(callback->best_k_models().size() == 2);

  const test::Folder other;
  const auto highest = fit(Scored({3, 1, 4, 1}), {.dirpath = other.path(), .filename = "{epoch}", .monitor = "val_loss", .mode = "max", .save_last = true}, {.max_epochs = 4});
  CHECK(highest->best_model_score() == 4.0);
  CHECK(names_in(other.path()) == std::set<std::string>{"epoch=2.ckpt", "last.ckpt"});
}

TEST_CASE("ModelCheckpoint: every n steps, every n epochs, all, none, into the root folder", "[unit][callbacks]") {
  const test::Folder folder;
  fit(Scored({0, 0}), {.dirpath = folder / "steps", .save_top_k = -1, .every_n_train_steps = 3}, {.max_epochs = 2}, false);
  CHECK(names_in(folder / "steps") == std::set<std::string>{"epoch=0-step=3.ckpt", "epoch=1-step=6.ckpt"});
  fit(Scored({0, 0, 0, 0}), {.dirpath = folder / "epochs", .save_top_k = -1, .every_n_epochs = 2}, {.max_epochs = 4}, false);
  CHECK(names_in(folder / "epochs") == std::set<std::string>{"epoch=1-step=8.ckpt", "epoch=3-step=16.ckpt"});
  fit(Scored({0}), {.dirpath = folder / "none", .save_top_k = 0}, {.max_epochs = 1}, false);
  CHECK(names_in(folder / "none").empty());

  // Added by itself, into default_root_dir/checkpoints; a name that is taken gets a version.
  for (int i = 0; i < 2; ++i) {
    Trainer trainer(quiet({.max_epochs = 1, .enable_checkpointing = true, .default_root_dir = folder / "root"}));
    test::BoringModel model;
    trainer.fit(model, boring_loader(4));
  }
  CHECK(names_in(folder / "root/checkpoints") == std::set<std::string>{"epoch=0-step=4.ckpt", "epoch=0-step=4-v1.ckpt"});
}

TEST_CASE("ModelCheckpoint: a resumed run goes on managing what it saved", "[unit][callbacks]") {
  const test::Folder folder;
  const ModelCheckpointOptions options{.dirpath = folder.path(), .filename = "{epoch}", .monitor = "val_loss", .save_top_k = 1};
  fit(Scored({3, 2}), options, {.max_epochs = 2});
  auto callback = std::make_shared<ModelCheckpoint>(options);
  Trainer trainer(quiet({.max_epochs = 4, .callbacks = {callback}}));
  trainer.fit(Scored({3, 2, 1, 9}), boring_loader(4), boring_loader(1), folder / "epoch=1.ckpt");
  CHECK(names_in(folder.path()) == std::set<std::string>{"epoch=2.ckpt"});
  CHECK(callback->best_model_score() == 1.0);
}

TEST_CASE("ModelCheckpoint: wrong options and a metric that never comes are named", "[unit][callbacks]") {
  CHECK_THROWS_WITH(ModelCheckpoint({.mode = "best", .save_top_k = 3, .every_n_train_steps = 1, .every_n_epochs = 1}),
                    Catch::Contains("mode is \"best\"") && Catch::Contains("there is no monitor") && Catch::Contains("exclude each other"));
  const test::Folder folder;
  CHECK_THROWS_WITH(fit(Scored({0}), {.dirpath = folder.path(), .monitor = "accuracy"}, {.max_epochs = 1}), Catch::Contains("\"accuracy\" was not logged"));
}

TEST_CASE("EarlyStopping: stops after patience checks without improvement", "[unit][callbacks]") {
  struct Row {
    std::vector<double> scores;
    EarlyStoppingOptions options;
    std::int64_t epochs;
  };
  for (const auto& row : std::vector<Row>{{{5, 4, 4, 4, 4, 4}, {.monitor = "val_loss", .patience = 2}, 4},
                                          {{5, 4, 3, 2, 1, 0}, {.monitor = "val_loss", .patience = 2}, 6},
                                          {{1, 2, 3, 2, 2, 2}, {.monitor = "val_loss", .patience = 2, .mode = "max"}, 5},
                                          {{5, 4.95, 4.9, 1, 1, 1}, {.monitor = "val_loss", .min_delta = 0.5, .patience = 2}, 3},
                                          {{5, std::nan(""), 1, 1, 1, 1}, {.monitor = "val_loss"}, 2},
                                          {{5, 0.5, 0.4, 0.3, 0.2, 0.1}, {.monitor = "val_loss", .stopping_threshold = 1}, 2},
                                          {{5, 50, 0.4, 0.3, 0.2, 0.1}, {.monitor = "val_loss", .divergence_threshold = 10}, 2}}) {
    auto callback = std::make_shared<EarlyStopping>(row.options);
    Trainer trainer(quiet({.max_epochs = 6, .callbacks = {callback}}));
    trainer.fit(Scored(row.scores), boring_loader(2), boring_loader(1));
    CHECK(trainer.current_epoch() == row.epochs);
    CHECK(callback->stopping_reason().empty() == (row.epochs == 6));
  }
}

TEST_CASE("EarlyStopping: a missing metric is an error that lists those there are; its state is kept", "[unit][callbacks]") {
  Trainer trainer(quiet({.max_epochs = 1, .callbacks = {EarlyStopping({.monitor = "accuracy"})}}));
  CHECK_THROWS_WITH(trainer.fit(Scored({0}), boring_loader(2), boring_loader(1)), Catch::Contains("\"accuracy\" was not logged; there are: val_loss"));
  CHECK_THROWS_WITH(EarlyStopping({.mode = "least"}), Catch::Contains("monitor is empty") && Catch::Contains("mode is \"least\""));

  EarlyStopping first({.monitor = "m"}), second({.monitor = "m"});
  second.load_state_dict({{"wait_count", 2}, {"stopped_epoch", 3}, {"best_score", 0.5}, {"stopping_reason", "x"}});
  first.load_state_dict(second.state_dict());
  CHECK(first.wait_count() == 2);
  CHECK(first.best_score() == 0.5);
  CHECK(first.state_key() == "EarlyStopping{monitor=m, mode=min}");
}
