// Ray Train's Lightning guide in C++: ResNet-18 learns Fashion-MNIST on any number of workers.
#include <rtrain/rtrain.h>
#include <rtrain/schedulers.h>

#include <torch/nn/functional/loss.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace transforms = rtrain::data::transforms;

struct ImageClassifier : rtrain::LightningModule {
  ImageClassifier(double learning_rate, std::string learning_rate_schedule)
      : lr(learning_rate), lr_schedule(std::move(learning_rate_schedule)) {}

  rtrain::StepOutput training_step(const rtrain::Batch& batch, std::int64_t) override {
    auto loss = torch::nn::functional::cross_entropy(model(batch.input), batch.target);
    log("loss", loss, {.on_step = true, .prog_bar = true});
    return loss;
  }

  torch::Tensor validation_step(const rtrain::Batch& batch, std::int64_t) override {
    const auto logits = model(batch.input);
    log("val_loss", torch::nn::functional::cross_entropy(logits, batch.target),
        {.on_epoch = true, .sync_dist = true});
    log("accuracy", logits.argmax(1).eq(batch.target).to(torch::kFloat).mean(),
        {.on_epoch = true, .prog_bar = true, .sync_dist = true});
    return {};
  }

  rtrain::Optimizers configure_optimizers() override {
    auto adam = rtrain::optim::Adam(parameters(), {.lr = lr});
    if (lr_schedule == "constant") return adam;
    const auto steps = trainer().estimated_stepping_batches();
    const auto each_step = [&](rtrain::lr::SharedScheduler scheduler) -> rtrain::Optimizers {
      return {adam, rtrain::LRSchedulerConfig{.scheduler = scheduler, .interval = rtrain::Interval::kStep}};
    };
    if (lr_schedule == "linear")
      return each_step(
          rtrain::lr::LinearLR(adam, {.start_factor = 1, .end_factor = 0, .total_iters = steps}));
    if (lr_schedule == "one_cycle")
      return each_step(rtrain::lr::OneCycleLR(adam, {.max_lr = lr, .total_steps = steps}));
    throw std::invalid_argument("train_loop_config.lr_schedule is \"" + lr_schedule +
                                "\", expected constant, linear or one_cycle");
  }

  /// A checkpoint has the rate of the run that wrote it: in a population that is another member's.
  void on_train_start() override {
    if (lr_schedule == "constant") optimizer().optimizer().set_lr(lr);
  }

  double lr;
  std::string lr_schedule;
  rtrain::models::ResNet model =
      register_module("model", rtrain::models::resnet18(/*num_classes=*/10, /*in_channels=*/1));
};

/// A number of batches an epoch; 0 or nothing: all of them.
rtrain::BatchCount limit(const rtrain::Config& config, const std::string& key) {
  const auto batches = config.value<std::int64_t>(key, 0);
  return batches > 0 ? rtrain::BatchCount(batches) : rtrain::BatchCount(1.0);
}

void train_func(const rtrain::Config& config) {
  const auto transform = transforms::Compose({transforms::ToTensor(), transforms::Normalize(0.5, 0.5)});
  const auto data_dir = config.value("data_dir", "");
  const bool pin_memory = rtrain::get_device().is_cuda();
  const rtrain::DataLoader train(
      rtrain::data::FashionMNIST(data_dir, /*train=*/true, transform),
      {.batch_size = config.value("batch_size", 128), .shuffle = true, .pin_memory = pin_memory});
  const rtrain::DataLoader test(rtrain::data::FashionMNIST(data_dir, /*train=*/false, transform),
                                {.batch_size = 500, .pin_memory = pin_memory});

  rtrain::Trainer trainer({.max_epochs = config.value("max_epochs", 10),
                           .limit_train_batches = limit(config, "limit_train_batches"),
                           .limit_val_batches = limit(config, "limit_val_batches"),
                           .precision = config.value("precision", "32-true"),
                           .accelerator = "auto",
                           .devices = "auto",
                           .strategy = rtrain::DDPStrategy(),
                           .plugins = {rtrain::ClusterEnvironment()},
                           .callbacks = {rtrain::TrainReportCallback()},
                           .seed = config.value<std::uint64_t>("seed", 0)});
  // After a failure the job's next attempt goes on from its latest checkpoint.
  ImageClassifier model(config.value("lr", 1e-3), config.value("lr_schedule", "constant"));
  rtrain::prepare_trainer(trainer).fit(model, train, test, rtrain::get_checkpoint());
}
RTRAIN_TRAIN_FUNCTION(train_func);
