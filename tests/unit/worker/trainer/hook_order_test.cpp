// The order of all hooks is Lightning's: each file of tests/golden/hooks was written by Lightning 2.6 itself
// (trace_lightning.py).
#include "tests/support/catch.h"
#include "tests/support/training.h"

#include <fstream>
#include <functional>
#include <string>
#include <vector>

namespace hook_order_test {

using namespace rtrain;
using rtrain::test::boring_loader;
using rtrain::test::quiet;

namespace {

using Lines = std::vector<std::string>;

#define NOTE(name) lines->push_back("module." name)
/// Notes each hook, then does what its base does.
struct TracedModel : test::BoringModel {
  Lines* lines;
  std::function<int(std::int64_t)> at_batch_start = [](std::int64_t) { return 0; };
  bool no_loss = false, raises = false;
  explicit TracedModel(Lines* to) : lines(to) {}

  StepOutput training_step(const Batch& batch, std::int64_t i) override {
    NOTE("training_step");
    if (raises) throw std::runtime_error("broken");
    return no_loss ? torch::Tensor() : BoringModel::training_step(batch, i);
  }
  torch::Tensor validation_step(const Batch& batch, std::int64_t i) override {
    return NOTE("validation_step"), BoringModel::validation_step(batch, i);
  }
  torch::Tensor test_step(const Batch& batch, std::int64_t i) override {
    return NOTE("test_step"), BoringModel::test_step(batch, i);
  }
  torch::Tensor predict_step(const Batch& batch, std::int64_t i) override {
    return NOTE("predict_step"), BoringModel::predict_step(batch, i);
  }
  Optimizers configure_optimizers() override {
    return NOTE("configure_optimizers"), BoringModel::configure_optimizers();
  }
  Batch on_before_batch_transfer(Batch batch) override { return NOTE("on_before_batch_transfer"), batch; }
  Batch transfer_batch_to_device(Batch batch, torch::Device device) override {
    return NOTE("transfer_batch_to_device"),
           LightningModule::transfer_batch_to_device(std::move(batch), device);
  }
  Batch on_after_batch_transfer(Batch batch) override { return NOTE("on_after_batch_transfer"), batch; }
  void prepare_data() override { NOTE("prepare_data"); }
  void setup(Stage) override { NOTE("setup"); }
  void teardown(Stage) override { NOTE("teardown"); }
  void configure_model() override { NOTE("configure_model"); }
  void on_fit_start() override { NOTE("on_fit_start"); }
  void on_fit_end() override { NOTE("on_fit_end"); }
  void on_train_start() override { NOTE("on_train_start"); }
  void on_train_end() override { NOTE("on_train_end"); }
  void on_train_epoch_start() override { NOTE("on_train_epoch_start"); }
  void on_train_epoch_end() override { NOTE("on_train_epoch_end"); }
  int on_train_batch_start(const Batch&, std::int64_t i) override {
    return NOTE("on_train_batch_start"), at_batch_start(i);
  }
  void on_train_batch_end(const StepOutput&, const Batch&, std::int64_t) override {
    NOTE("on_train_batch_end");
  }
  void on_before_zero_grad(Optimizer&) override { NOTE("on_before_zero_grad"); }
  void on_before_backward(const torch::Tensor&) override { NOTE("on_before_backward"); }
  void on_after_backward() override { NOTE("on_after_backward"); }
  void on_before_optimizer_step(Optimizer&) override { NOTE("on_before_optimizer_step"); }
  void on_validation_model_zero_grad() override {
    NOTE("on_validation_model_zero_grad"), LightningModule::on_validation_model_zero_grad();
  }
  void on_validation_model_eval() override {
    NOTE("on_validation_model_eval"), LightningModule::on_validation_model_eval();
  }
  void on_validation_model_train() override {
    NOTE("on_validation_model_train"), LightningModule::on_validation_model_train();
  }
  void on_validation_start() override { NOTE("on_validation_start"); }
  void on_validation_end() override { NOTE("on_validation_end"); }
  void on_validation_epoch_start() override { NOTE("on_validation_epoch_start"); }
  void on_validation_epoch_end() override { NOTE("on_validation_epoch_end"); }
  void on_validation_batch_start(const Batch&, std::int64_t) override { NOTE("on_validation_batch_start"); }
  void on_validation_batch_end(const torch::Tensor&, const Batch&, std::int64_t) override {
    NOTE("on_validation_batch_end");
  }
  void on_test_model_eval() override { NOTE("on_test_model_eval"), LightningModule::on_test_model_eval(); }
  void on_test_model_train() override { NOTE("on_test_model_train"), LightningModule::on_test_model_train(); }
  void on_test_start() override { NOTE("on_test_start"); }
  void on_test_end() override { NOTE("on_test_end"); }
  void on_test_epoch_start() override { NOTE("on_test_epoch_start"); }
  void on_test_epoch_end() override { NOTE("on_test_epoch_end"); }
  void on_test_batch_start(const Batch&, std::int64_t) override { NOTE("on_test_batch_start"); }
  void on_test_batch_end(const torch::Tensor&, const Batch&, std::int64_t) override {
    NOTE("on_test_batch_end");
  }
  void on_predict_model_eval() override {
    NOTE("on_predict_model_eval"), LightningModule::on_predict_model_eval();
  }
  void on_predict_start() override { NOTE("on_predict_start"); }
  void on_predict_end() override { NOTE("on_predict_end"); }
  void on_predict_epoch_start() override { NOTE("on_predict_epoch_start"); }
  void on_predict_epoch_end() override { NOTE("on_predict_epoch_end"); }
  void on_predict_batch_start(const Batch&, std::int64_t) override { NOTE("on_predict_batch_start"); }
  void on_predict_batch_end(const torch::Tensor&, const Batch&, std::int64_t) override {
    NOTE("on_predict_batch_end");
  }
  void on_save_checkpoint(TrainerCheckpoint&) override { NOTE("on_save_checkpoint"); }
  void on_load_checkpoint(const TrainerCheckpoint&) override { NOTE("on_load_checkpoint"); }
};
#undef NOTE

/// Notes each hook of hooks.def.
struct TracedCallback : Callback {
  Lines* lines;
  std::function<void(Trainer&, std::int64_t)> at_batch_end = [](Trainer&, std::int64_t) {};
  std::function<void(Trainer&)> at_epoch_end = [](Trainer&) {}, at_validation_end = [](Trainer&) {};
  explicit TracedCallback(Lines* to) : lines(to) {}
  void note(const std::string& name, Trainer& trainer, std::int64_t batch_idx) const {
    if (name == "on_yield") return;  // Lightning has none
    lines->push_back("callback." + name);
    if (name == "on_train_batch_end") at_batch_end(trainer, batch_idx);
    if (name == "on_train_epoch_end") at_epoch_end(trainer);
    if (name == "on_validation_end") at_validation_end(trainer);
  }

#define NUMBER_OF_BATCH_PLAIN -1
#define NUMBER_OF_BATCH_STAGE -1
#define NUMBER_OF_BATCH_BATCH batch_idx
#define NUMBER_OF_BATCH_OUTPUT batch_idx
#define NUMBER_OF_BATCH_TRAINED batch_idx
#define NUMBER_OF_BATCH_LOSS -1
#define NUMBER_OF_BATCH_OPTIMIZER -1
#define NUMBER_OF_BATCH_SAVE -1
#define NUMBER_OF_BATCH_LOAD -1
#define NUMBER_OF_BATCH_EXCEPTION -1
#define TRACE(name, signature)                                                                \
  void name(Trainer& trainer, LightningModule& /*module*/ RTRAIN_HOOK_PARAMETERS_##signature) \
      override{note(#name, trainer, NUMBER_OF_BATCH_##signature);                             \
  }
#define RTRAIN_HOOK(id, name, log, period, signature) RTRAIN_FOR_CALLBACKS(signature, TRACE, name)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include <rtrain/hooks.def>
#pragma GCC diagnostic pop
#undef TRACE
  nlohmann::json state_dict() const override { return lines->push_back("callback.state_dict"), nullptr; }
  void load_state_dict(const nlohmann::json&) override { lines->push_back("callback.load_state_dict"); }
};

Lines golden(const std::string& name) {
  std::ifstream in(std::string(RTRAIN_SOURCE_DIR) + "/tests/golden/hooks/" + name + ".txt");
  Lines lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

struct Scenario {
  Lines lines;
  TracedModel model{&lines};
  std::shared_ptr<TracedCallback> callback = std::make_shared<TracedCallback>(&lines);
  DataLoader loader = boring_loader();
  Lines fit(TrainerOptions options, const CheckpointPath& from = {}) {
    options.callbacks = {callback};
    Trainer trainer(quiet(std::move(options)));
    trainer.fit(model, loader, loader, from);
    return lines;
  }
};

}  // namespace

TEST_CASE("trainer: the hooks of a fit come in Lightning's order", "[unit][trainer]") {
  CHECK(Scenario().fit(
            {.max_epochs = 2, .limit_train_batches = 2, .limit_val_batches = 1, .num_sanity_val_steps = 1}) ==
        golden("fit"));
  CHECK(Scenario().fit({.max_epochs = 1, .limit_train_batches = 2, .limit_val_batches = 0}) ==
        golden("fit_without_validation"));
  CHECK(Scenario().fit({.max_epochs = 1,
                        .limit_train_batches = 3,
                        .limit_val_batches = 0,
                        .accumulate_grad_batches = 2}) == golden("fit_accumulate"));
  CHECK(Scenario().fit({.max_epochs = 1,
                        .limit_train_batches = 4,
                        .limit_val_batches = 1,
                        .val_check_interval = 2,
                        .num_sanity_val_steps = 0}) == golden("fit_val_check_interval"));
  CHECK(Scenario().fit({.max_epochs = 2,
                        .limit_train_batches = 1,
                        .limit_val_batches = 1,
                        .check_val_every_n_epoch = 2,
                        .num_sanity_val_steps = 0}) == golden("fit_check_val_every_2_epochs"));
  CHECK(Scenario().fit({.max_epochs = -1,
                        .max_steps = 3,
                        .limit_train_batches = 2,
                        .limit_val_batches = 1,
                        .num_sanity_val_steps = 0}) == golden("fit_max_steps"));
}

TEST_CASE("trainer: a fit that stops, skips, has no loss or fails calls Lightning's hooks",
          "[unit][trainer]") {
  Scenario stops;
  stops.callback->at_batch_end = [](Trainer& trainer, std::int64_t i) {
    trainer.set_should_stop(trainer.should_stop() || i == 1);
  };
  CHECK(stops.fit(
            {.max_epochs = 2, .limit_train_batches = 4, .limit_val_batches = 1, .num_sanity_val_steps = 0}) ==
        golden("fit_should_stop"));

  Scenario skips;
  skips.model.at_batch_start = [](std::int64_t i) { return i == 1 ? -1 : 0; };
  CHECK(skips.fit({.max_epochs = 2, .limit_train_batches = 3, .limit_val_batches = 0}) ==
        golden("fit_skip_rest_of_epoch"));

  Scenario no_loss;
  no_loss.model.no_loss = true;
  CHECK(no_loss.fit({.max_epochs = 1, .limit_train_batches = 1, .limit_val_batches = 0}) ==
        golden("fit_no_loss"));

  Scenario fails;
  fails.model.raises = true;
  CHECK_THROWS_WITH(fails.fit({.max_epochs = 1, .limit_train_batches = 1, .limit_val_batches = 0}), "broken");
  CHECK(fails.lines == golden("fit_exception"));
}

TEST_CASE("trainer: validate, test and predict call Lightning's hooks", "[unit][trainer]") {
  Scenario s;
  Trainer trainer(quiet({.limit_val_batches = 2,
                         .limit_test_batches = 2,
                         .limit_predict_batches = 2,
                         .callbacks = {s.callback}}));
  trainer.validate(s.model, s.loader);
  CHECK(std::exchange(s.lines, {}) == golden("validate"));
  trainer.test(s.model, s.loader);
  CHECK(std::exchange(s.lines, {}) == golden("test"));
  CHECK(trainer.predict(s.model, s.loader).size() == 2);
  CHECK(s.lines == golden("predict"));
}

TEST_CASE("trainer: saving in a hook and resuming there calls Lightning's hooks", "[unit][trainer]") {
  const test::Folder folder;
  const TrainerOptions options{
      .max_epochs = 2, .limit_train_batches = 2, .limit_val_batches = 1, .num_sanity_val_steps = 1};
  const auto saves_at = [&](std::int64_t step) {
    return [&, step](Trainer& trainer) {
      if (trainer.global_step() == step && !trainer.sanity_checking()) trainer.save_checkpoint(folder / "c");
    };
  };
  const auto check = [&](Scenario& saves, const std::string& where) {
    CHECK(saves.fit(options) == golden("fit_saving_at_" + where));
    CHECK(Scenario().fit(options, folder / "c") == golden("fit_resume_at_" + where));
  };
  Scenario batch_end, epoch_end, validation_end;
  batch_end.callback->at_batch_end = [save = saves_at(1)](Trainer& trainer, std::int64_t) { save(trainer); };
  check(batch_end, "batch_end");
  epoch_end.callback->at_epoch_end = saves_at(2);
  check(epoch_end, "epoch_end");
  validation_end.callback->at_validation_end = saves_at(2);
  check(validation_end, "validation_end");
}

}  // namespace hook_order_test
