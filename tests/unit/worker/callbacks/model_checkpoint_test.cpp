#include "tests/support/catch.h"
#include "tests/support/training.h"

#include <clocale>
#include <cmath>
#include <limits>
#include <set>
#include <stdexcept>

namespace model_checkpoint_test {

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
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.insert(entry.path().filename().string());
  return names;
}

std::shared_ptr<ModelCheckpoint> fit(Scored&& model, ModelCheckpointOptions options,
                                     TrainerOptions trainer_options, bool validation = true) {
  auto callback = std::make_shared<ModelCheckpoint>(std::move(options));
  trainer_options.callbacks.push_back(callback);
  Trainer trainer(quiet(std::move(trainer_options)));
  trainer.fit(std::move(model), boring_loader(4), validation ? boring_loader(1) : DataLoader());
  return callback;
}

}  // namespace

TEST_CASE("ModelCheckpoint: names are Lightning's", "[unit][callbacks]") {
  const std::map<std::string, double> values{
      {"epoch", 2}, {"step", 300}, {"val_loss", 0.123456}, {"val/acc", 0.5}};
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
  const auto callback =
      fit(Scored(scores),
          {.dirpath = folder.path(), .filename = "{epoch}", .monitor = "val_loss", .save_top_k = 2},
          {.max_epochs = 5});
  CHECK(names_in(folder.path()) == std::set<std::string>{"epoch=2.ckpt", "epoch=3.ckpt"});
  CHECK(callback->best_model_path().filename() == "epoch=2.ckpt");
  CHECK(callback->best_model_score() == 1.0);
  CHECK(callback->best_k_models().size() == 2);

  const test::Folder other;
  const auto highest = fit(Scored({3, 1, 4, 1}),
                           {.dirpath = other.path(),
                            .filename = "{epoch}",
                            .monitor = "val_loss",
                            .mode = "max",
                            .save_last = true},
                           {.max_epochs = 4});
  CHECK(highest->best_model_score() == 4.0);
  CHECK(names_in(other.path()) == std::set<std::string>{"epoch=2.ckpt", "last.ckpt"});
}

TEST_CASE("ModelCheckpoint: every n steps, every n epochs, all, none, into the root folder",
          "[unit][callbacks]") {
  const test::Folder folder;
  fit(Scored({0, 0}), {.dirpath = folder / "steps", .save_top_k = -1, .every_n_train_steps = 3},
      {.max_epochs = 2}, false);
  CHECK(names_in(folder / "steps") == std::set<std::string>{"epoch=0-step=3.ckpt", "epoch=1-step=6.ckpt"});
  fit(Scored({0, 0, 0, 0}), {.dirpath = folder / "epochs", .save_top_k = -1, .every_n_epochs = 2},
      {.max_epochs = 4}, false);
  CHECK(names_in(folder / "epochs") == std::set<std::string>{"epoch=1-step=8.ckpt", "epoch=3-step=16.ckpt"});
  fit(Scored({0}), {.dirpath = folder / "none", .save_top_k = 0}, {.max_epochs = 1}, false);
  CHECK(names_in(folder / "none").empty());

  // Added by itself, into default_root_dir/checkpoints; a name that is taken gets a version.
  for (int i = 0; i < 2; ++i) {
    Trainer trainer(
        quiet({.max_epochs = 1, .enable_checkpointing = true, .default_root_dir = folder / "root"}));
    test::BoringModel model;
    trainer.fit(model, boring_loader(4));
  }
  CHECK(names_in(folder / "root/checkpoints") ==
        std::set<std::string>{"epoch=0-step=4.ckpt", "epoch=0-step=4-v1.ckpt"});
}

TEST_CASE("ModelCheckpoint: a resumed run goes on managing what it saved", "[unit][callbacks]") {
  const test::Folder folder;
  const ModelCheckpointOptions options{
      .dirpath = folder.path(), .filename = "{epoch}", .monitor = "val_loss", .save_top_k = 1};
  fit(Scored({3, 2}), options, {.max_epochs = 2});
  auto callback = std::make_shared<ModelCheckpoint>(options);
  Trainer trainer(quiet({.max_epochs = 4, .callbacks = {callback}}));
  trainer.fit(Scored({3, 2, 1, 9}), boring_loader(4), boring_loader(1), folder / "epoch=1.ckpt");
  // What it was resumed from stays.
  CHECK(names_in(folder.path()) == std::set<std::string>{"epoch=1.ckpt", "epoch=2.ckpt"});
  CHECK(callback->best_model_score() == 1.0);
}

TEST_CASE("ModelCheckpoint: nothing outside its folder is removed, nor what fit() resumed from",
          "[unit][callbacks][F02]") {
  const auto resume = [](const std::filesystem::path& root, const std::filesystem::path& from) {
    test::BoringModel model;
    Trainer trainer(quiet({.max_epochs = 4, .enable_checkpointing = true, .default_root_dir = root}));
    trainer.fit(model, boring_loader(4), {}, from);
  };
  const test::Folder folder;
  for (const auto* second : {"other", "root"}) {  // two Trainers without callbacks, in two folders and in one
    const auto first = folder / second / "first";
    resume(first, {});
    const auto given = first / "checkpoints/epoch=3-step=16.ckpt";
    REQUIRE(std::filesystem::exists(given));
    test::BoringModel model;
    Trainer trainer(
        quiet({.max_epochs = 6,
               .enable_checkpointing = true,
               .default_root_dir = std::string(second) == "root" ? first : folder / "elsewhere"}));
    trainer.fit(model, boring_loader(4), {}, given);
    CHECK(std::filesystem::exists(given));
    CHECK(trainer.resumed_from() == given);
    const auto own = trainer.default_root_dir() / "checkpoints";
    CHECK(names_in(own) == (own == first / "checkpoints"
                                ? std::set<std::string>{"epoch=3-step=16.ckpt", "epoch=5-step=24.ckpt"}
                                : std::set<std::string>{"epoch=5-step=24.ckpt"}));
  }

  // With a monitor, from another folder: those there are not its own, and a link does not lead it out.
  fit(Scored({3, 2}),
      {.dirpath = folder / "a", .filename = "{epoch}", .monitor = "val_loss", .save_top_k = 2},
      {.max_epochs = 2});
  auto callback = std::make_shared<ModelCheckpoint>(ModelCheckpointOptions{
      .dirpath = folder / "b", .filename = "{epoch}", .monitor = "val_loss", .save_top_k = 1});
  Trainer trainer(quiet({.max_epochs = 4, .callbacks = {callback}}));
  trainer.fit(Scored({3, 2, 1, 0}), boring_loader(4), boring_loader(1), folder / "a/epoch=1.ckpt");
  CHECK(names_in(folder / "a") == std::set<std::string>{"epoch=0.ckpt", "epoch=1.ckpt"});
  CHECK(names_in(folder / "b") == std::set<std::string>{"epoch=3.ckpt"});
}

TEST_CASE("callbacks: two that keep state under one key are refused, a name tells them apart",
          "[unit][callbacks][F03]") {
  const test::Folder folder;
  const auto make = [](std::vector<AnyCallback> callbacks) {
    Trainer trainer(quiet({.callbacks = std::move(callbacks)}));
  };
  const ModelCheckpointOptions a{.dirpath = folder / "a", .monitor = "val_loss"},
      b{.dirpath = folder / "b", .monitor = "val_loss"};
  CHECK_THROWS_WITH(
      make({ModelCheckpoint(a), ModelCheckpoint(b)}),
      Catch::Contains("ModelCheckpoint{monitor=val_loss, mode=min") && Catch::Contains("a name of its own"));
  CHECK_THROWS_WITH(
      make({EarlyStopping({.monitor = "m", .patience = 1}), EarlyStopping({.monitor = "m", .patience = 2})}),
      Catch::Contains("EarlyStopping{monitor=m, mode=min}"));
  CHECK_NOTHROW(make({LambdaCallback({}), LambdaCallback({}), TrainReportCallback(),
                      EarlyStopping({.monitor = "m"}), EarlyStopping({.monitor = "m", .mode = "max"})}));
  CHECK(EarlyStopping({.monitor = "m"}).state_key() ==
        "EarlyStopping{monitor=m, mode=min}");  // as in older checkpoints
  CHECK(ModelCheckpoint(a).state_key() ==
        "ModelCheckpoint{monitor=val_loss, mode=min, every_n_train_steps=0, every_n_epochs=1}");

  const auto with_two = [&](std::int64_t epochs, const CheckpointPath& from) {
    auto first = a, second = b;
    first.name = "first";
    second.filename = "{epoch}";
    auto two = std::pair(std::make_shared<ModelCheckpoint>(first), std::make_shared<ModelCheckpoint>(second));
    const auto patient = std::make_shared<EarlyStopping>(
        EarlyStoppingOptions{.monitor = "val_loss", .patience = 9, .name = "patient"});
    Trainer trainer(quiet({.max_epochs = epochs,
                           .callbacks = {two.first, two.second, patient,
                                         EarlyStopping({.monitor = "val_loss", .patience = 8})}}));
    Scored model({3, 2, 1, 0});
    trainer.fit(model, boring_loader(4), boring_loader(1), from);
    trainer.save_checkpoint(folder / "c");
    return two;
  };
  (void)with_two(2, {});
  const auto [first, second] = with_two(3, folder / "c");
  CHECK(first->best_model_path() == folder / "a/epoch=2-step=12.ckpt");
  CHECK(second->best_model_path() == folder / "b/epoch=2.ckpt");
  CHECK(names_in(folder / "a") == std::set<std::string>{"epoch=2-step=12.ckpt"});
  CHECK(names_in(folder / "b") == std::set<std::string>{"epoch=2.ckpt"});
}

TEST_CASE("ModelCheckpoint: filenames that name folders are normalised, rotated, and leave nothing behind",
          "[unit][callbacks][F31]") {
  struct Row {
    const char *filename, *path;
  };
  for (const auto& [filename, path] :
       std::vector<Row>{{"../{epoch}", "epoch=2.ckpt"},
                        {"./{epoch}", "d/epoch=2.ckpt"},
                        {"x/../{epoch}", "d/epoch=2.ckpt"},
                        {"x/../../y/{epoch}", "y/epoch=2.ckpt"},
                        {"sub/{epoch}", "d/sub/epoch=2.ckpt"},
                        {"sub/", "d/sub/epoch=2-step=12.ckpt"},
                        {"", "d/epoch=2-step=12.ckpt"},
                        {"{epoch}-{val/loss:.4f}", "d/epoch=2-val/loss=1.0000.ckpt"},
                        {"/ABSOLUTE/{epoch}", "abs/epoch=2.ckpt"}}) {
    struct Slashed : Scored {
      using Scored::Scored;
      torch::Tensor validation_step(const Batch&, std::int64_t) override {
        log("val/loss", values.at(static_cast<std::size_t>(current_epoch())));
        return {};
      }
    };
    INFO(filename);
    const test::Folder folder;
    std::string name = filename;
    if (name.starts_with("/ABSOLUTE")) name = (folder / "abs").string() + "/{epoch}";
    const auto callback = std::make_shared<ModelCheckpoint>(
        ModelCheckpointOptions{.dirpath = folder / "d", .filename = name, .monitor = "val/loss"});
    Trainer trainer(quiet({.max_epochs = 3, .callbacks = {callback}}));
    trainer.fit(Slashed({3, 2, 1}), boring_loader(4), boring_loader(1));
    CHECK(callback->best_model_path() == folder / path);
    std::set<std::string> left;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path())) {
      if (entry.is_directory() &&
          (std::filesystem::is_empty(entry) || std::filesystem::exists(entry.path() / "model.safetensors")))
        left.insert(std::filesystem::relative(entry.path(), folder.path()).string());
    }
    CHECK(left == std::set<std::string>{path});
  }
  CHECK_THROWS_WITH(ModelCheckpoint({.filename = "{epoch}/../../x"}),
                    Catch::Contains("leads out of dirpath behind a field"));
  CHECK_THROWS_WITH(ModelCheckpoint({.filename = "{}"}), Catch::Contains("a field has no name"));
}

TEST_CASE("ModelCheckpoint: of equal scores the first that was saved is the better, whatever their names",
          "[unit][callbacks]") {
  const test::Folder folder;
  const std::vector<double> scores{9, 9, 9, 9, 9, 9, 9, 9, 9, 5, 5, 4};
  const auto callback =
      fit(Scored(scores),
          {.dirpath = folder.path(), .filename = "{epoch}", .monitor = "val_loss", .save_top_k = 2},
          {.max_epochs = 11});
  CHECK(callback->best_model_path().filename() == "epoch=9.ckpt");  // "epoch=10" comes first as text
  CHECK(names_in(folder.path()) == std::set<std::string>{"epoch=9.ckpt", "epoch=10.ckpt"});
  CHECK(callback->best_k_models().at(0).path.filename() == "epoch=9.ckpt");
  // The order outlives a restart; of two that are the worst alike the first goes.
  auto again = std::make_shared<ModelCheckpoint>(ModelCheckpointOptions{
      .dirpath = folder.path(), .filename = "{epoch}", .monitor = "val_loss", .save_top_k = 2});
  Trainer trainer(quiet({.max_epochs = 12, .callbacks = {again}}));
  trainer.fit(Scored(scores), boring_loader(4), boring_loader(1), folder / "epoch=10.ckpt");
  CHECK(names_in(folder.path()) == std::set<std::string>{"epoch=10.ckpt", "epoch=11.ckpt"});
  // The state of version 1: an object.
  ModelCheckpoint old({.monitor = "m"});
  old.load_state_dict({{"dirpath", ""},
                       {"best_model_path", "/d/a.ckpt"},
                       {"best_model_score", 1.0},
                       {"best_k_models", {{"/d/a.ckpt", 1.0}, {"/d/b.ckpt", nullptr}}},
                       {"kth_best_model_path", "/d/b.ckpt"},
                       {"last_model_path", ""},
                       {"last_global_step_saved", 4}});
  REQUIRE(old.best_k_models().size() == 2);
  CHECK(old.best_k_models()[1].score == std::numeric_limits<double>::infinity());
}

TEST_CASE("ModelCheckpoint: names have a point in every locale", "[unit][callbacks]") {
  const std::string before = std::setlocale(LC_NUMERIC, nullptr);
  for (const auto* name : {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "C.UTF-8"}) {
    if (std::setlocale(LC_NUMERIC, name) != nullptr) break;
  }
  const std::map<std::string, double> values{
      {"epoch", 12}, {"m", 1234.5678}, {"n", -0.5}, {"nan", std::nan("")}, {"sign", -std::nan("")}};
  CHECK(format_checkpoint_name("{m:.2f} {m} {m:e} {n:08.3f} {n:8.3f} {epoch:05} {nan:d} {nan:.2f} {sign}",
                               values,
                               false) == "1234.57 1234.57 1.234568e+03 -000.500   -0.500 00012 nan nan nan");
  std::setlocale(LC_NUMERIC, before.c_str());
}

TEST_CASE("ModelCheckpoint: a monitor that is misspelt is an error that lists the metrics there are",
          "[unit][callbacks]") {
  const test::Folder folder;
  const auto fails = [&](const ModelCheckpointOptions& options, bool validation) {
    try {
      fit(Scored({0}), options, {.max_epochs = 1}, validation);
    } catch (const std::runtime_error& error) {
      return std::string(error.what());
    }
    return std::string("it did not fail");
  };
  const auto with = fails({.dirpath = folder.path(), .monitor = "val_los"}, true);
  CHECK_THAT(with, Catch::Contains("\"val_los\"") && Catch::Contains("there are: epoch, step, val_loss"));
  const auto none = Catch::Contains("there are: epoch, step (");
  CHECK_THAT(fails({.dirpath = folder.path(), .monitor = "val_los"}, false), none);
  CHECK_THAT(fails({.dirpath = folder.path(), .monitor = "val_los", .every_n_train_steps = 2}, false), none);
}

TEST_CASE("ModelCheckpoint: wrong options and a metric that never comes are named", "[unit][callbacks]") {
  CHECK_THROWS_WITH(
      ModelCheckpoint({.mode = "best", .save_top_k = 3, .every_n_train_steps = 1, .every_n_epochs = 1}),
      Catch::Contains("mode is \"best\"") && Catch::Contains("there is no monitor") &&
          Catch::Contains("exclude each other"));
  const test::Folder folder;
  CHECK_THROWS_WITH(fit(Scored({0}), {.dirpath = folder.path(), .monitor = "accuracy"}, {.max_epochs = 1}),
                    Catch::Contains("\"accuracy\" was not logged"));
}

TEST_CASE("EarlyStopping: stops after patience checks without improvement", "[unit][callbacks]") {
  struct Row {
    std::vector<double> scores;
    EarlyStoppingOptions options;
    std::int64_t epochs;
  };
  for (const auto& row : std::vector<Row>{
           {{5, 4, 4, 4, 4, 4}, {.monitor = "val_loss", .patience = 2}, 4},
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
    CHECK((callback->stopping_reason() == StoppingReason::kNotStopped) == (row.epochs == 6));
  }
}

TEST_CASE("EarlyStopping: NaN has no sign in the reason") {
  const auto callback = std::make_shared<EarlyStopping>(EarlyStoppingOptions{.monitor = "val_loss"});
  Trainer trainer(quiet({.max_epochs = 2, .callbacks = {callback}}));
  trainer.fit(Scored({-std::nan(""), 0}), boring_loader(2), boring_loader(1));
  CHECK(callback->stopping_reason_message() == "val_loss = nan is not finite");
}

TEST_CASE("EarlyStopping: a missing metric is an error that lists those there are; its state is kept",
          "[unit][callbacks]") {
  Trainer trainer(quiet({.max_epochs = 1, .callbacks = {EarlyStopping({.monitor = "accuracy"})}}));
  CHECK_THROWS_WITH(trainer.fit(Scored({0}), boring_loader(2), boring_loader(1)),
                    Catch::Contains("\"accuracy\" was not logged; there are: val_loss"));
  CHECK_THROWS_WITH(EarlyStopping({.mode = "least"}),
                    Catch::Contains("monitor is empty") && Catch::Contains("mode is \"least\""));

  EarlyStopping first({.monitor = "m"}), second({.monitor = "m"});
  second.load_state_dict(
      {{"wait_count", 2}, {"stopped_epoch", 3}, {"best_score", 0.5}, {"stopping_reason", "x"}});
  first.load_state_dict(second.state_dict());
  CHECK(first.wait_count() == 2);
  CHECK(first.best_score() == 0.5);
  CHECK(first.state_key() == "EarlyStopping{monitor=m, mode=min}");
}

}  // namespace model_checkpoint_test
