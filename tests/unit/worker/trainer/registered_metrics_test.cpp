// log() of metric objects; freeze(); example_input().
#include "tests/support/catch.h"
#include "tests/support/training.h"

#include <rtrain/callbacks.h>
#include <rtrain/metrics.h>

namespace registered_metrics_test {

using namespace rtrain;
using Catch::Contains;
using rtrain::test::boring_loader;
using rtrain::test::BoringModel;
using rtrain::test::quiet;

namespace {

/// 3 classes; predictions are the batch itself.
struct Classifier : BoringModel {
  metrics::Accuracy& train_acc =
      register_metric("train_acc", metrics::Accuracy({.task = metrics::Task::kMulticlass, .num_classes = 3}));
  metrics::Accuracy& val_acc =
      register_metric("val_acc", metrics::Accuracy({.task = metrics::Task::kMulticlass, .num_classes = 3}));
  std::vector<double> steps, epochs, val_epochs;
  static std::pair<torch::Tensor, torch::Tensor> outputs(std::int64_t batch_idx) {
    const auto predicted = torch::tensor({0, 1, 2, 0}, torch::kInt64);
    // of 4 right: 4, 3, 2, ...
    auto target = predicted.clone();
    for (std::int64_t i = 0; i < batch_idx % 4; ++i) target[i] = (target[i] + 1) % 3;
    return {predicted, target};
  }
  StepOutput training_step(const Batch& batch, std::int64_t batch_idx) override {
    const auto [predicted, target] = outputs(batch_idx);
    (void)train_acc(predicted, target);
    log("acc", train_acc, {.on_step = true, .on_epoch = true});
    return loss_of(batch);
  }
  void on_train_batch_end(const StepOutput&, const Batch&, std::int64_t) override {
    steps.push_back(train_acc.batch_value()->item());
  }
  torch::Tensor validation_step(const Batch&, std::int64_t batch_idx) override {
    const auto [predicted, target] = outputs(batch_idx + 1);
    val_acc.update(predicted, target);
    return {};
  }
  void on_validation_epoch_end() override { log("val_acc", val_acc); }
};

struct Watching : Callback {
  std::vector<Metrics> at_batch, at_epoch;
  void on_train_batch_end(Trainer& trainer, LightningModule&, const StepOutput&, const Batch&,
                          std::int64_t) override {
    at_batch.push_back(trainer.callback_metrics());
  }
  void on_train_epoch_end(Trainer& trainer, LightningModule&) override {
    at_epoch.push_back(trainer.callback_metrics());
  }
};

}  // namespace

TEST_CASE("log() of a metric: the batch's value on_step, all data on_epoch, then a reset",
          "[metrics][trainer]") {
  Classifier net;
  const auto watching = std::make_shared<Watching>();
  Trainer trainer(quiet({.max_epochs = 2, .callbacks = {watching}}));
  trainer.fit(net, boring_loader(12, 4), boring_loader(8, 4));
  // 4, 3 and 2 of 4
  REQUIRE(watching->at_batch.size() == 6);
  CHECK(watching->at_batch[1].at("acc_step") == Approx(0.75));
  CHECK(watching->at_batch[4].at("acc_step") == Approx(0.75));
  REQUIRE(watching->at_epoch.size() == 2);
  for (const auto& seen : watching->at_epoch) CHECK(seen.at("acc_epoch") == Approx(0.75));
  CHECK(trainer.callback_metrics().at("val_acc") == Approx(5.0 / 8));
  CHECK_FALSE(net.train_acc.updated());
  CHECK_FALSE(net.val_acc.updated());
  CHECK(trainer.validate(net, boring_loader(8, 4)).at("val_acc") == Approx(5.0 / 8));
}

TEST_CASE("log() of a metric: one that is not registered, and a value of the batch that is not there",
          "[metrics][trainer]") {
  struct Loose : Classifier {
    metrics::MeanMetric mean;
    StepOutput training_step(const Batch& batch, std::int64_t) override {
      log("mean", mean);
      return loss_of(batch);
    }
  } loose;
  Trainer trainer(quiet({.max_epochs = 1}));
  CHECK_THROWS_WITH(trainer.fit(loose, boring_loader(4, 4)), Contains("register_metric(\"mean\""));
  struct Updated : Classifier {
    StepOutput training_step(const Batch& batch, std::int64_t index) override {
      const auto [predicted, target] = outputs(index);
      train_acc.update(predicted, target);
      log("acc", train_acc, {.on_step = true});
      return loss_of(batch);
    }
  } updated;
  CHECK_THROWS_WITH(trainer.fit(updated, boring_loader(4, 4)), Contains("call metric(preds, target)"));
  Classifier net;
  CHECK_THROWS_WITH(net.register_metric("train_acc", metrics::MeanMetric()), Contains("is taken"));
  CHECK_THROWS_WITH(net.register_metric("a.b", metrics::MeanMetric()), Contains("has a dot"));
}

TEST_CASE("log_dict() of a collection: each output under its name", "[metrics][trainer]") {
  struct Many : Classifier {
    metrics::MetricCollection& all = register_metric(
        "all", metrics::MetricCollection(
                   {{"acc", metrics::Accuracy({.task = metrics::Task::kMulticlass, .num_classes = 3})},
                    {"recall", metrics::Recall({.num_classes = 3, .average = metrics::Average::kMacro})}},
                   {.prefix = "val_"}));
    torch::Tensor validation_step(const Batch&, std::int64_t index) override {
      const auto [predicted, target] = outputs(index + 1);
      all.update(predicted, target);
      log_dict(all);
      return {};
    }
    void on_validation_epoch_end() override {}
  } net;
  Trainer trainer(quiet({}));
  const auto found = trainer.validate(net, boring_loader(8, 4));
  CHECK(found.at("val_acc") == Approx(5.0 / 8));
  CHECK(found.contains("val_recall"));
}

TEST_CASE("log() of a metric with several loaders: each loader's data alone", "[metrics][trainer]") {
  struct Two : Classifier {
    torch::Tensor validation_step(const Batch&, std::int64_t index) override {
      const auto [predicted, target] = outputs(index + dataloader_idx());
      val_acc.update(predicted, target);
      log("val_acc", val_acc);
      return {};
    }
    void on_validation_epoch_end() override {}
  } net;
  Trainer trainer(quiet({}));
  const auto found =
      trainer.validate(net, CombinedLoader({boring_loader(4, 4), boring_loader(4, 4)}, "sequential"));
  CHECK(found.at("val_acc/dataloader_idx_0") == Approx(1));
  CHECK(found.at("val_acc/dataloader_idx_1") == Approx(0.75));
  REQUIRE(found.by_loader.size() == 2);
  CHECK(found.by_loader[1].size() == 1);
}

TEST_CASE("a fit that resumes within an epoch has the states of its metrics", "[metrics][trainer][resume]") {
  const test::Folder folder;
  Classifier whole, first, second;
  const auto data = boring_loader(16, 4), val = boring_loader(8, 4);
  const auto straight = std::make_shared<Watching>(), resumed = std::make_shared<Watching>();
  {
    Trainer trainer(quiet({.max_epochs = 1, .callbacks = {straight}}));
    trainer.fit(whole, data, val);
  }
  {
    struct Saving : Callback {
      explicit Saving(std::filesystem::path where) : to(std::move(where)) {}
      std::filesystem::path to;
      void on_train_batch_end(Trainer& trainer, LightningModule&, const StepOutput&, const Batch&,
                              std::int64_t index) override {
        if (index == 1) trainer.save_checkpoint(to);
      }
    };
    Trainer trainer(quiet({.max_epochs = 1, .callbacks = {Saving(folder / "c")}}));
    trainer.fit(first, data, val);
  }
  Trainer trainer(quiet({.max_epochs = 1, .callbacks = {resumed}}));
  trainer.fit(second, data, val, folder / "c");
  CHECK(resumed->at_batch.size() == 2);
  CHECK(resumed->at_epoch.front().at("acc_epoch") == Approx(straight->at_epoch.front().at("acc_epoch")));
  CHECK(straight->at_epoch.front().at("acc_epoch") == Approx(10.0 / 16));
}

TEST_CASE("freeze() and unfreeze() of a module and of a part of it", "[trainer]") {
  struct Parts : BoringModel {
    torch::nn::Sequential body =
        register_module("body", torch::nn::Sequential(torch::nn::Linear(2, 2), torch::nn::Dropout()));
  } net;
  LightningModule::freeze(*net.body);
  CHECK_FALSE(net.body->is_training());
  CHECK_FALSE(net.body[1]->is_training());
  CHECK(net.is_training());
  for (const auto& item : net.named_parameters())
    CHECK(item.value().requires_grad() == !item.key().starts_with("body."));
  net.freeze();
  CHECK_FALSE(net.is_training());
  for (const auto& parameter : net.parameters()) CHECK_FALSE(parameter.requires_grad());
  net.unfreeze();
  CHECK(net.body->is_training());
  for (const auto& parameter : net.parameters()) CHECK(parameter.requires_grad());
}

TEST_CASE("a part that is frozen does not learn", "[trainer]") {
  struct Parts : BoringModel {
    torch::nn::Linear tail = register_module("tail", torch::nn::Linear(2, 2));
    StepOutput training_step(const Batch& batch, std::int64_t) override {
      return tail(layer(batch.input)).square().mean();
    }
  } net;
  LightningModule::freeze(*net.layer);
  const auto before = net.layer->weight.clone(), tail = net.tail->weight.clone();
  Trainer trainer(quiet({.max_epochs = 1}));
  trainer.fit(net, boring_loader(4));
  CHECK(torch::equal(net.layer->weight, before));
  CHECK_FALSE(torch::equal(net.tail->weight, tail));
}

TEST_CASE("example_input(): sizes of the layers in the summary", "[trainer]") {
  struct Example : LightningModule {
    torch::nn::Conv2d conv = register_module("conv", torch::nn::Conv2d(3, 4, 3));
    torch::nn::BatchNorm2d norm = register_module("norm", torch::nn::BatchNorm2d(4));
    torch::nn::Dropout dropout = register_module("dropout", torch::nn::Dropout());
    torch::nn::Linear head = register_module("head", torch::nn::Linear(4 * 6 * 6, 2));
    torch::Tensor predict_step(const Batch& batch, std::int64_t) override {
      return head(dropout(norm(conv(batch.input)).flatten(1)));
    }
    StepOutput training_step(const Batch& batch, std::int64_t) override {
      return predict_step(batch, 0).mean();
    }
    Optimizers configure_optimizers() override { return optim::SGD(parameters()); }
    std::optional<Batch> example_input() override { return Batch(torch::zeros({1, 3, 8, 8})); }
  } net;
  std::ostringstream text;
  auto* const before = std::cout.rdbuf(text.rdbuf());
  Trainer trainer(quiet({.max_epochs = 1, .callbacks = {ModelSummary()}}));
  const auto mean = net.norm->running_mean.clone();
  trainer.fit(
      net, DataLoader(data::TensorDataset(torch::randn({2, 3, 8, 8})), {.batch_size = 2, .num_workers = 0}));
  std::cout.rdbuf(before);
  INFO(text.str());
  CHECK_THAT(text.str(), Contains("In sizes") && Contains("Out sizes"));
  CHECK_THAT(text.str(), Contains("| [1, 3, 8, 8] | [1, 4, 6, 6]"));
  CHECK_THAT(text.str(), Contains("| [1, 4, 6, 6] | [1, 4, 6, 6]"));
  CHECK_THAT(text.str(), Contains("| [1, 144]     | [1, 2]"));
  CHECK_THAT(text.str(), Contains("| ?            | ?"));
  CHECK(net.is_training());
}

}  // namespace registered_metrics_test
