// Faults that users of Lightning's Trainer reported, tried here. The rows are in tests/reports/cases.md.
#include "tests/support/catch.h"
#include "tests/support/training.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace trainer_reports_test {

using namespace rtrain;
using rtrain::test::boring_loader;
using rtrain::test::Folder;
using rtrain::test::quiet;

namespace {

/// Writes down what it is asked to do: "t3" for the training batch 3 of an epoch, "v0" for a validation
/// batch.
struct Diary : test::BoringModel {
  std::vector<double> scores;  ///< val_loss of each epoch; empty: none is logged
  std::vector<std::string> lines;
  explicit Diary(std::vector<double> s = {}) : scores(std::move(s)) {}
  StepOutput training_step(const Batch& batch, std::int64_t index) override {
    lines.push_back("t" + std::to_string(index));
    return loss_of(batch);
  }
  torch::Tensor validation_step(const Batch&, std::int64_t index) override {
    lines.push_back("v" + std::to_string(index));
    if (!scores.empty()) log("val_loss", scores.at(static_cast<std::size_t>(current_epoch())));
    return {};
  }
};

using Lines = std::vector<std::string>;

/// Saves `to` when `hook` is called for the first time after `step` optimizer steps.
AnyCallback save_at(const std::string& hook, std::int64_t step, const std::filesystem::path& to) {
  const auto save = [=, done = std::make_shared<bool>(false)](const std::string& now) {
    return [=](Trainer& trainer, LightningModule&) {
      if (now != hook || trainer.sanity_checking() || trainer.global_step() != step ||
          std::exchange(*done, true))
        return;
      trainer.save_checkpoint(to);
    };
  };
  return LambdaCallback(
      {.on_train_batch_end = [save](Trainer& t, LightningModule& m, const StepOutput&, const Batch&,
                                    std::int64_t) { save("batch_end")(t, m); },
       .on_validation_end = save("validation_end"),
       .on_train_epoch_end = save("epoch_end")});
}

}  // namespace

TEST_CASE("reports: EarlyStopping lets a metric recover before min_epochs", "[unit][trainer][R10]") {
  struct Row {
    std::vector<double> scores;
    std::int64_t min_epochs, min_steps, epochs;
  };
  for (const auto& row : std::vector<Row>{
           {{5, 6, 6, 4, 3, 2, 1, 1}, 5, 0, 8},  // it was over after the third epoch, and recovered
           {{5, 6, 6, 6, 6, 6, 6, 6}, 5, 0, 5},  // it never did
           {{5, 6, 6, 4, 3, 2, 1, 1}, 0, 0, 3},
           {{5, 6, 6, 4, 3, 2, 1, 1}, 0, 10, 8},  // two steps an epoch
           {{5, 6, 6, 6, 6, 6, 6, 6}, 0, 10, 5}}) {
    auto callback =
        std::make_shared<EarlyStopping>(EarlyStoppingOptions{.monitor = "val_loss", .patience = 2});
    Diary model(row.scores);
    Trainer trainer(quiet({.max_epochs = 8,
                           .min_epochs = row.min_epochs,
                           .min_steps = row.min_steps,
                           .num_sanity_val_steps = 0,
                           .callbacks = {callback}}));
    trainer.fit(model, boring_loader(2), boring_loader(1));
    CHECK(trainer.current_epoch() == row.epochs);
    CHECK((callback->stopping_reason() == StoppingReason::kNotStopped) == (row.epochs == 8));
  }
}

TEST_CASE("reports: a distributed sampler may have fewer samples than ranks", "[unit][trainer][R21]") {
  for (const bool shuffle : {false, true}) {
    std::vector<int> seen(4, 0);
    for (int rank = 0; rank < 9; ++rank) {
      const DistributedSampler sampler(4, {.num_replicas = 9, .rank = rank, .shuffle = shuffle});
      CHECK(sampler.size() == 1);
      for (const auto index : sampler.indices()) ++seen.at(static_cast<std::size_t>(index));
    }
    std::sort(seen.begin(), seen.end());
    CHECK(seen == std::vector<int>{2, 2, 2, 3});
  }
}

TEST_CASE("reports: a stop that comes before min_epochs leaves the epochs whole and validates once in each",
          "[unit][trainer][R11][R14]") {
  Diary model;
  Trainer trainer(
      quiet({.max_epochs = 9,
             .min_epochs = 3,
             .num_sanity_val_steps = 0,
             .callbacks = {LambdaCallback(
                 {.on_train_batch_end = [](Trainer& t, LightningModule&, const StepOutput&, const Batch&,
                                           std::int64_t) { t.set_should_stop(); }})}}));
  trainer.fit(model, boring_loader(3), boring_loader(2));
  const Lines epoch{"t0", "t1", "t2", "v0", "v1"};
  Lines expected;
  for (int n = 0; n < 3; ++n) expected.insert(expected.end(), epoch.begin(), epoch.end());
  CHECK(model.lines == expected);
  CHECK(trainer.current_epoch() == 3);
}

TEST_CASE("reports: a resumed run neither repeats a validation nor shortens one",
          "[unit][trainer][R12][R13]") {
  const TrainerOptions options{.max_epochs = 2, .val_check_interval = 2, .num_sanity_val_steps = 0};
  const auto run = [&](const AnyCallback& callback, const CheckpointPath& from = {}) {
    Diary model;
    auto with = options;
    with.callbacks.push_back(callback);
    Trainer trainer(quiet(std::move(with)));
    trainer.fit(model, boring_loader(5), boring_loader(3), from);
    return model.lines;
  };
  const Lines validation{"v0", "v1", "v2"};
  const Folder folder;
  struct Row {
    const char* hook;
    std::int64_t step;
    Lines rest;  ///< of the resumed run, until the next training batch but one
  };
  for (const auto& row :
       std::vector<Row>{{"validation_end", 2, {"t2", "t3", "v0", "v1", "v2", "t4"}},  // it was done
                        {"batch_end", 2, {"v0", "v1", "v2", "t2", "t3"}},  // it was due and is whole
                        {"batch_end", 3, {"t3", "v0", "v1", "v2", "t4"}},  // it is due after the next batch
                        {"epoch_end", 5, {"t0", "t1", "v0", "v1", "v2", "t2"}}}) {  // nothing is due
    INFO(row.hook << " at step " << row.step);
    const auto to = folder / (std::string(row.hook) + std::to_string(row.step));
    const auto whole = run(save_at(row.hook, row.step, to));
    const auto resumed = run(LambdaCallback({}), to);
    REQUIRE(resumed.size() >= row.rest.size());
    CHECK(Lines(resumed.begin(), resumed.begin() + static_cast<std::ptrdiff_t>(row.rest.size())) == row.rest);
    CHECK(Lines(whole.end() - static_cast<std::ptrdiff_t>(resumed.size()), whole.end()) == resumed);
  }
}

TEST_CASE("reports: a run that was over when it was saved is not trained, saved or counted again",
          "[unit][trainer][R15]") {
  const Folder folder;
  const auto run = [&](TrainerOptions options, const CheckpointPath& from) {
    auto checkpoints = std::make_shared<ModelCheckpoint>(ModelCheckpointOptions{.dirpath = folder / "c"});
    options.num_sanity_val_steps = 0;
    options.callbacks.push_back(checkpoints);
    Diary model;
    Trainer trainer(quiet(std::move(options)));
    trainer.fit(model, boring_loader(4), {}, from);
    CHECK(trainer.current_epoch() == 2);
    CHECK(trainer.global_step() == 8);
    return model.lines;
  };
  CHECK(run({.max_epochs = 2}, {}).size() == 8);
  const auto saved = folder / "c/epoch=1-step=8.ckpt";
  REQUIRE(std::filesystem::exists(saved));
  const auto written = std::filesystem::last_write_time(saved / "loop.json");
  for (int again = 0; again < 2; ++again) CHECK(run({.max_epochs = 2}, saved).empty());
  CHECK(run({.max_epochs = 9, .max_steps = 5}, saved).empty());
  CHECK(std::distance(std::filesystem::directory_iterator(folder / "c"), {}) == 1);
  CHECK(std::filesystem::last_write_time(saved / "loop.json") == written);
}

TEST_CASE("reports: the older checkpoint is there until the newer one is whole", "[unit][trainer][R16]") {
  struct Failing : test::BoringModel {
    int saves = 0;
    void on_save_checkpoint(TrainerCheckpoint&) override {
      if (++saves == 2) throw std::runtime_error("the disk is full");
    }
  } failing;
  const Folder folder;
  Trainer trainer(quiet({.max_epochs = 3, .callbacks = {ModelCheckpoint({.dirpath = folder / "best"})}}));
  CHECK_THROWS_WITH(trainer.fit(failing, boring_loader(2)), Catch::Contains("the disk is full"));
  CHECK(std::filesystem::exists(folder / "best/epoch=0-step=2.ckpt/model.safetensors"));

  // Replaced under its own name: at every moment there is one or the other.
  test::BoringModel model;
  Trainer saving(quiet({.max_epochs = 1}));
  saving.fit(model, boring_loader(1));
  const auto path = folder / "last.ckpt";
  saving.save_checkpoint(path);
  std::atomic<bool> over = false;
  std::atomic<int> missed = 0, looks = 0;
  std::thread watcher([&] {
    for (; !over; ++looks)
      if (!std::filesystem::exists(path / "loop.json")) ++missed;
  });
  for (int n = 0; n < 40; ++n) saving.save_checkpoint(path);
  over = true;
  watcher.join();
  CHECK(looks > 0);
  CHECK(missed == 0);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 2);
}

TEST_CASE("reports: an interval of validations counts for nothing where there is none",
          "[unit][trainer][R17]") {
  Diary model;
  Trainer trainer(quiet({.max_epochs = 1, .limit_val_batches = 0, .val_check_interval = 100}));
  trainer.fit(model, boring_loader(3), boring_loader(2));
  CHECK(model.lines == Lines{"t0", "t1", "t2"});
}

}  // namespace trainer_reports_test
