#include "tests/support/catch.h"
#include "tests/support/training.h"

#include <cmath>
#include <functional>
#include <set>
#include <vector>

namespace fit_test {

using namespace rtrain;
using rtrain::test::boring_loader;
using rtrain::test::quiet;

namespace {

/// y = w x, squared error: every step can be worked out on paper.
struct Line : LightningModule {
  torch::Tensor w = register_parameter("w", torch::zeros({1}, torch::kFloat64));
  double lr = 0.1;
  std::vector<double> losses;
  std::vector<bool> modes;
  torch::Tensor loss_of(const Batch& batch) { return (w * batch.input - batch.target).square().mean(); }
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    modes.push_back(is_training());
    auto loss = loss_of(batch);
    losses.push_back(loss.item<double>());
    return loss;
  }
  torch::Tensor validation_step(const Batch& batch, std::int64_t) override {
    modes.push_back(is_training());
    CHECK_FALSE(torch::GradMode::is_enabled());
    auto loss = loss_of(batch);
    log("val_loss", loss);
    return loss;
  }
  torch::Tensor test_step(const Batch& batch, std::int64_t) override {
    log("test_loss", loss_of(batch));
    return {};
  }
  torch::Tensor predict_step(const Batch& batch, std::int64_t) override { return w * batch.input; }
  Optimizers configure_optimizers() override { return optim::SGD(parameters(), {.lr = lr}); }
};

DataLoader line_data(std::int64_t samples, std::int64_t batch_size) {
  auto x = torch::arange(1, samples + 1, torch::kFloat64);
  return {data::TensorDataset(x, 2 * x), {.batch_size = batch_size}};
}

/// Gradient descent on the same loss, by hand.
double descend(double w, const std::vector<std::vector<double>>& batches, double lr, double clip = 0) {
  for (const auto& xs : batches) {
    double gradient = 0;
    for (const double x : xs) gradient += 2 * (w * x - 2 * x) * x / static_cast<double>(xs.size());
    if (clip > 0) gradient *= std::min(1.0, clip / (std::abs(gradient) + 1e-6));
    w -= lr * gradient;
  }
  return w;
}

/// The batches, by number over the whole fit, after which validation ran.
std::vector<std::int64_t> validated_after(TrainerOptions options, std::int64_t batches) {
  std::vector<std::int64_t> places;
  std::int64_t trained = 0;
  options.num_sanity_val_steps = 0;
  options.callbacks = {LambdaCallback(
      {.on_train_batch_end = [&](Trainer&, LightningModule&, const StepOutput&, const Batch&,
                                 std::int64_t) { ++trained; },
       .on_validation_start = [&](Trainer&, LightningModule&) { places.push_back(trained); }})};
  test::BoringModel model;
  Trainer trainer(quiet(std::move(options)));
  trainer.fit(model, boring_loader(batches), boring_loader(1));
  return places;
}

}  // namespace

TEST_CASE("trainer: the guide's lines compile and run", "[unit][trainer]") {
  struct Classifier : LightningModule {
    torch::nn::Linear model = register_module("model", torch::nn::Linear(32, 10));
    StepOutput training_step(const Batch& batch, std::int64_t) override {
      auto loss = torch::nn::functional::cross_entropy(model(batch.input), batch.target);
      log("loss", loss, {.on_step = true, .prog_bar = true});
      return loss;
    }
    Optimizers configure_optimizers() override { return optim::Adam(parameters(), {.lr = 1e-3}); }
  };
  DataLoader loader(data::TensorDataset(torch::randn({32, 32}), torch::randint(10, {32})),
                    {.batch_size = 8, .shuffle = true});
  Trainer trainer({.max_epochs = 2,
                   .accelerator = "auto",
                   .devices = "auto",
                   .strategy = DDPStrategy(),
                   .plugins = {ClusterEnvironment()},
                   .callbacks = {TrainReportCallback()}});
  prepare_trainer(trainer).fit(Classifier(), loader);
  CHECK(trainer.global_step() == 8);
  CHECK(trainer.current_epoch() == 2);
  CHECK(trainer.callback_metrics().contains("loss"));
  CHECK_THROWS_WITH(trainer.save_checkpoint("x"), Catch::Contains("temporary"));
  trainer.fit(std::make_shared<Classifier>(), loader);
  CHECK(trainer.global_step() == 8);
}

TEST_CASE("trainer: gradient descent on a line is the paper's", "[unit][trainer]") {
  Line model;
  Trainer trainer(quiet({.max_epochs = 2}));
  trainer.fit(model, line_data(4, 2));
  CHECK(model.w.item<double>() == Approx(descend(0, {{1, 2}, {3, 4}, {1, 2}, {3, 4}}, 0.1)).epsilon(1e-12));
  CHECK(trainer.global_step() == 4);
}

TEST_CASE("trainer: accumulated batches are one batch, the last of an epoch steps in any case",
          "[unit][trainer]") {
  Line model;
  model.lr = 0.01;
  Trainer trainer(quiet({.max_epochs = 1, .accumulate_grad_batches = 2}));
  trainer.fit(model, line_data(6, 2));
  // The third batch is alone, its loss still halved.
  CHECK(model.w.item<double>() ==
        Approx(descend(descend(0, {{1, 2, 3, 4}}, 0.01), {{5, 6}}, 0.005)).epsilon(1e-12));
  CHECK(trainer.global_step() == 2);
}

TEST_CASE("trainer: gradients are clipped by norm and by value", "[unit][trainer]") {
  Line by_norm, by_value;
  Trainer(quiet({.max_epochs = 1, .gradient_clip_val = 0.5})).fit(by_norm, line_data(4, 2));
  CHECK(by_norm.w.item<double>() == Approx(descend(0, {{1, 2}, {3, 4}}, 0.1, 0.5)).epsilon(1e-12));
  Trainer(quiet({.max_epochs = 1, .gradient_clip_val = 0.5, .gradient_clip_algorithm = "value"}))
      .fit(by_value, line_data(4, 2));
  CHECK(by_value.w.item<double>() == Approx(0.1).epsilon(1e-12));  // two steps of 0.1 * 0.5
}

TEST_CASE("trainer: fit ends at max_steps, max_epochs or should_stop, and not before min_epochs",
          "[unit][trainer]") {
  struct Row {
    std::optional<std::int64_t> max_epochs, min_epochs;
    std::int64_t max_steps;
    bool stop_at_once;
    std::int64_t steps, epochs;
  };
  for (const auto& row : std::vector<Row>{{2, {}, -1, false, 6, 2},
                                          {2, {}, 4, false, 4, 2},
                                          {std::nullopt, {}, 4, false, 4, 2},
                                          {0, {}, -1, false, 0, 0},
                                          {5, {}, 0, false, 0, 0},
                                          {5, {}, -1, true, 1, 1},
                                          {5, 2, -1, true, 6, 2}}) {
    test::BoringModel model;
    auto stop = LambdaCallback({.on_train_batch_end = [&](Trainer& t, LightningModule&, const StepOutput&,
                                                          const Batch&, std::int64_t) {
      if (row.stop_at_once) t.set_should_stop();
    }});
    Trainer trainer(quiet({.max_epochs = row.max_epochs,
                           .min_epochs = row.min_epochs,
                           .max_steps = row.max_steps,
                           .callbacks = {std::move(stop)}}));
    trainer.fit(model, boring_loader(3));
    INFO("max_epochs " << row.max_epochs.value_or(-9) << " max_steps " << row.max_steps);
    CHECK(trainer.global_step() == row.steps);
    CHECK(trainer.current_epoch() == row.epochs);
  }
}

TEST_CASE("trainer: limits count batches or parts", "[unit][trainer]") {
  const auto trained = [](BatchCount limit) {
    test::BoringModel model;
    Trainer trainer(quiet({.max_epochs = 1, .limit_train_batches = limit}));
    trainer.fit(model, boring_loader(10));
    return trainer.global_step();
  };
  CHECK(trained(1.0) == 10);
  CHECK(trained(1) == 1);
  CHECK(trained(3) == 3);
  CHECK(trained(99) == 10);
  CHECK(trained(0.35) == 3);
  CHECK(trained(0) == 0);
  CHECK(trained(0.0) == 0);
  CHECK_THROWS_WITH(trained(0.05),
                    Catch::Contains("limit_train_batches is 0.05 of 10 batches, which is less than one"));
}

TEST_CASE("trainer: validation runs where val_check_interval and check_val_every_n_epoch say",
          "[unit][trainer]") {
  using Places = std::vector<std::int64_t>;
  CHECK(validated_after({.max_epochs = 2}, 4) == Places{4, 8});
  CHECK(validated_after({.max_epochs = 2, .val_check_interval = 0.5}, 4) == Places{2, 4, 6, 8});
  CHECK(validated_after({.max_epochs = 2, .val_check_interval = 3}, 4) == Places{3, 7});
  CHECK(validated_after({.max_epochs = 3, .check_val_every_n_epoch = 2}, 4) == Places{8});
  CHECK(validated_after({.max_epochs = 2, .val_check_interval = 3, .check_val_every_n_epoch = std::nullopt},
                        4) == Places{3, 6});
  CHECK(validated_after({.max_epochs = 2, .limit_val_batches = 0}, 4) == Places{});
  CHECK_THROWS_WITH(validated_after({.max_epochs = 1, .val_check_interval = 9}, 4),
                    Catch::Contains("val_check_interval is 9, but an epoch has 4 training batches"));
}

TEST_CASE("trainer: modes go to eval and back, module by module", "[unit][trainer]") {
  struct Frozen : test::BoringModel {
    torch::nn::Dropout frozen = register_module("frozen", torch::nn::Dropout());
    std::set<std::pair<bool, bool>> in_training, in_validation;
    StepOutput training_step(const Batch& b, std::int64_t i) override {
      in_training.emplace(is_training(), frozen->is_training());
      return BoringModel::training_step(b, i);
    }
    torch::Tensor validation_step(const Batch& b, std::int64_t i) override {
      in_validation.emplace(is_training(), frozen->is_training());
      return BoringModel::validation_step(b, i);
    }
  } model;
  model.frozen->eval();
  Trainer trainer(quiet({.max_epochs = 2}));
  trainer.fit(model, boring_loader(2), boring_loader(2));
  CHECK(model.in_training == std::set<std::pair<bool, bool>>{{true, false}});
  CHECK(model.in_validation == std::set<std::pair<bool, bool>>{{false, false}});
}

TEST_CASE("trainer: the sanity check leaves no trace", "[unit][trainer]") {
  struct Draws : test::BoringModel {
    torch::Tensor validation_step(const Batch&, std::int64_t) override {
      log("drawn", torch::rand({}));
      return {};
    }
  } model;
  const auto train = boring_loader(1), val = boring_loader(1);
  torch::manual_seed(5);
  const auto expected = torch::rand({}).item<double>();
  Metrics at_start{{"not", 1}};
  double drawn = 0;
  auto look = LambdaCallback({.on_train_start = [&](Trainer& t, LightningModule&) {
    at_start = t.callback_metrics();
    drawn = torch::rand({}).item<double>();
  }});
  Trainer trainer(quiet({.max_epochs = 1, .callbacks = {std::move(look)}, .seed = 5}));
  trainer.fit(model, train, val);
  CHECK(at_start.empty());
  CHECK(drawn == expected);
}

TEST_CASE("trainer: validate and test give means, predict gives outputs, weights come from a checkpoint",
          "[unit][trainer]") {
  const test::Folder folder;
  Line model;
  Trainer trainer(quiet({.max_epochs = 3}));
  trainer.fit(model, line_data(4, 2));
  trainer.save_checkpoint(folder / "weights", /*weights_only=*/true);
  const auto w = model.w.item<double>();
  double expected = 0;
  for (const double x : {1.0, 2.0, 3.0}) expected += std::pow(w * x - 2 * x, 2) / 3;

  Line fresh;
  CHECK(trainer.validate(fresh, line_data(3, 2), folder / "weights").at("val_loss") ==
        Approx(expected).epsilon(1e-12));
  CHECK(fresh.w.item<double>() == w);
  CHECK(trainer.test(fresh, line_data(3, 2)).at("test_loss") == Approx(expected).epsilon(1e-12));
  const auto outputs = trainer.predict(fresh, line_data(3, 2));
  REQUIRE(outputs.size() == 2);
  CHECK(outputs[1].item<double>() == Approx(3 * w));
  CHECK_THROWS_WITH(trainer.fit(fresh, line_data(4, 2), {}, folder / "weights"),
                    Catch::Contains("holds only weights"));
}

TEST_CASE("trainer: every wrong option is named at once", "[unit][trainer]") {
  try {
    Trainer trainer({.max_epochs = -2,
                     .limit_val_batches = 1.5,
                     .val_check_interval = 0,
                     .accumulate_grad_batches = 0,
                     .gradient_clip_algorithm = "l1",
                     .accelerator = "tpu",
                     .devices = 7,
                     .strategy = "fsdp9",
                     .plugins = {ClusterEnvironment(), ClusterEnvironment()}});
    FAIL("no exception");
  } catch (const std::invalid_argument& e) {
    const std::string text = e.what();
    for (const auto* part :
         {"max_epochs is -2", "limit_val_batches is 1.5", "val_check_interval is 0",
          "accumulate_grad_batches is 0", "gradient_clip_algorithm is \"l1\"", "accelerator is \"tpu\"",
          "devices is 7", "strategy is \"fsdp9\"", "more than one ClusterEnvironment"}) {
      INFO(part);
      CHECK(text.find(part) != std::string::npos);
    }
  }
}

TEST_CASE("prepare_trainer: wants DDPStrategy and the job's environment, and says all at once",
          "[unit][trainer]") {
  struct OtherEnvironment : ClusterEnvironment {
    std::string name() const override { return "OtherEnvironment"; }
  };
  Trainer good(quiet({.strategy = DDPStrategy(), .plugins = {ClusterEnvironment()}}));
  CHECK(&prepare_trainer(good) == &good);
  Trainer without_plugin(quiet({.strategy = "ddp"}));
  CHECK_NOTHROW(prepare_trainer(without_plugin));
  Trainer bad(quiet({.strategy = SingleDeviceStrategy(), .plugins = {OtherEnvironment()}}));
  CHECK_THROWS_WITH(prepare_trainer(bad),
                    Catch::Contains("SingleDeviceStrategy") && Catch::Contains("OtherEnvironment"));
}

TEST_CASE("prepare_trainer: takes \"auto\", which is DDP wherever there are ranks", "[unit][trainer][F35]") {
  Trainer left_out(quiet({}));
  CHECK(&prepare_trainer(left_out) == &left_out);
  Trainer named(quiet({.strategy = "auto", .plugins = {ClusterEnvironment()}}));
  CHECK(&prepare_trainer(named) == &named);
  Trainer alone(quiet({.strategy = "single_device"}));
  CHECK_THROWS_WITH(
      prepare_trainer(alone),
      Catch::Contains("expected one that trains with the job's ranks: \"auto\" or rtrain::DDPStrategy()"));
}

TEST_CASE("trainer: what a model lacks is said", "[unit][trainer]") {
  struct Empty : LightningModule {
  } empty;
  struct TwoOptimizers : test::BoringModel {
    Optimizers configure_optimizers() override {
      Optimizers two;
      two.all = {optim::SGD(parameters()), optim::SGD(parameters())};
      return two;
    }
  } two;
  struct NoGraph : test::BoringModel {
    StepOutput training_step(const Batch&, std::int64_t) override { return torch::ones({}); }
  } no_graph;
  Trainer trainer(quiet({.max_epochs = 1}));
  CHECK_THROWS_WITH(trainer.fit(empty, boring_loader(1)),
                    Catch::Contains("does not override configure_optimizers()"));
  CHECK_THROWS_WITH(trainer.fit(two, boring_loader(1)),
                    Catch::Contains("there are 2 optimizers, and automatic optimization steps one"));
  CHECK_THROWS_WITH(trainer.fit(no_graph, boring_loader(1)),
                    Catch::Contains("does not depend on any parameter"));
  CHECK_THROWS_WITH(trainer.validate(empty, boring_loader(1)),
                    Catch::Contains("does not override validation_step()"));
  test::BoringModel model;
  CHECK_THROWS_WITH(trainer.fit(model), Catch::Contains("no training data"));
  CHECK_NOTHROW(trainer.fit(model, boring_loader(1)));  // a failed run leaves the Trainer usable
}

TEST_CASE("trainer: data that make no batch are warned of", "[unit][trainer][F11]") {
  const DataLoader none(data::TensorDataset(torch::randn({5, 32})), {.batch_size = 8, .drop_last = true});
  test::BoringModel model;
  Trainer trainer(quiet({.max_epochs = 2}));
  const auto said = [&](const std::function<void()>& act) {
    const test::Heard heard;
    act();
    return heard.text();
  };
  const auto text = said([&] { trainer.fit(model, none); });
  CHECK_THAT(text,
             Catch::Contains("fit() stopped: no training batches (5 samples, batch_size 8, drop_last)"));
  CHECK(text.find("trained") == std::string::npos);
  CHECK(trainer.global_step() == 0);
  CHECK_THAT(said([&] { trainer.fit(model, boring_loader(2), none); }),
             Catch::Contains("the validation data yields no batch (5 samples"));
  CHECK_THAT(said([&] { (void)trainer.test(model, none); }),
             Catch::Contains("the test data yields no batch (5 samples"));
  Trainer wanted(quiet({.max_epochs = 2, .limit_train_batches = 0}));
  CHECK(said([&] { wanted.fit(model, none); }).empty());
}

TEST_CASE(
    "trainer: train_dataloader is asked after the sanity check, and an epoch is read after its first hook",
    "[unit][trainer]") {
  struct Growing : Dataset {
    std::int64_t value = -1;
    std::int64_t size() const override { return 2; }
    Batch get_batch(std::span<const std::int64_t> indices) const override {
      return {torch::full({static_cast<std::int64_t>(indices.size()), 32}, static_cast<double>(value)), {}};
    }
  };
  struct Asked : test::BoringModel {
    std::shared_ptr<Growing> data = std::make_shared<Growing>();
    std::vector<std::string> order;
    DataLoaders train_dataloader() override {
      return order.push_back("train_dataloader"), DataLoader(data, {.batch_size = 1});
    }
    DataLoaders val_dataloader() override { return order.push_back("val_dataloader"), boring_loader(1); }
    StepOutput training_step(const Batch& batch, std::int64_t i) override {
      CHECK(batch.input[0][0].item<double>() == static_cast<double>(current_epoch()));
      return BoringModel::training_step(batch, i);
    }
    torch::Tensor validation_step(const Batch&, std::int64_t) override {
      return order.push_back("validation_step"), torch::Tensor();
    }
    void on_train_epoch_start() override { data->value = current_epoch(); }
  } model;
  Trainer trainer(quiet({.max_epochs = 2}));
  trainer.fit(model);
  CHECK(model.order == std::vector<std::string>{"val_dataloader", "validation_step", "train_dataloader",
                                                "validation_step", "validation_step"});
}

TEST_CASE("trainer: module and Trainer may go in any order", "[unit][trainer]") {
  auto model = std::make_unique<test::BoringModel>();
  {
    Trainer trainer(quiet({.max_epochs = 1}));
    trainer.fit(*model, boring_loader(2));
    CHECK(&model->trainer() == &trainer);
    CHECK(model->global_step() == 2);
  }
  CHECK_THROWS_AS(model->trainer(), std::logic_error);
  Trainer trainer(quiet({.max_epochs = 1}));
  trainer.fit(*model, boring_loader(2));
  model.reset();
  CHECK_THROWS_AS(trainer.save_checkpoint("x"), std::logic_error);
}

TEST_CASE("trainer: callbacks of the module run with the Trainer's, and replace those of their type",
          "[unit][trainer]") {
  struct Counts : Callback {
    int* batches;
    explicit Counts(int* to) : batches(to) {}
    void on_train_batch_end(Trainer&, LightningModule&, const StepOutput&, const Batch&,
                            std::int64_t) override {
      ++*batches;
    }
  };
  struct Brings : test::BoringModel {
    std::vector<std::shared_ptr<Callback>> mine;
    std::vector<std::shared_ptr<Callback>> configure_callbacks() override { return mine; }
  } brings;
  int of_trainer = 0, of_module = 0;
  brings.mine = {std::make_shared<Counts>(&of_module)};
  Trainer trainer(quiet({.max_epochs = 1, .callbacks = {Counts(&of_trainer)}}));
  trainer.fit(brings, boring_loader(3));
  CHECK((of_trainer == 0 && of_module == 3));
  test::BoringModel plain;
  trainer.fit(plain, boring_loader(3));
  CHECK((of_trainer == 3 && of_module == 3));
  brings.mine = {nullptr};
  CHECK_THROWS_WITH(trainer.fit(brings, boring_loader(1)), Catch::Contains("configure_callbacks"));
}

}  // namespace fit_test
