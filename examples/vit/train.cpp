// A small Vision Transformer on Fashion-MNIST: AdamW without decay of biases, a learning rate that rises and
// falls with the steps, and random crops and flips.
#include <rtrain/rtrain.h>

#include <torch/nn/functional/loss.h>
#include <torch/torch.h>

#include <cstdint>
#include <string>

namespace transforms = rtrain::data::transforms;
namespace F = torch::nn::functional;

namespace {

struct Classifier : rtrain::LightningModule {
  Classifier(const rtrain::models::VisionTransformerOptions& options, double learning_rate, double smoothing)
      : model(register_module("model", rtrain::models::VisionTransformer(options))),
        lr(learning_rate),
        label_smoothing(smoothing) {}

  /// Grey images in three equal channels: the model is torchvision's, and so are its weights.
  torch::Tensor forward(const torch::Tensor& images) { return model(images.expand({-1, 3, -1, -1})); }

  rtrain::StepOutput training_step(const rtrain::Batch& batch, std::int64_t) override {
    auto loss = F::cross_entropy(forward(batch.input), batch.target,
                                 F::CrossEntropyFuncOptions().label_smoothing(label_smoothing));
    log("loss", loss, {.on_step = true, .on_epoch = true, .prog_bar = true});
    return loss;
  }
  torch::Tensor validation_step(const rtrain::Batch& batch, std::int64_t) override {
    const auto logits = forward(batch.input);
    const rtrain::LogOptions each{.on_epoch = true, .prog_bar = true, .sync_dist = true};
    log("val_loss", F::cross_entropy(logits, batch.target), each);
    log("accuracy", logits.argmax(1).eq(batch.target).to(torch::kFloat).mean(), each);
    return {};
  }
  rtrain::Optimizers configure_optimizers() override {
    auto adam = rtrain::optim::AdamW(rtrain::optim::split_decay(*this, 0.05), {.lr = lr});
    const auto steps = trainer().estimated_stepping_batches();
    auto cycle = rtrain::lr::OneCycleLR(adam, {.max_lr = lr, .total_steps = steps});
    return {{adam}, {rtrain::LRSchedulerConfig{.scheduler = cycle, .interval = rtrain::Interval::kStep}}};
  }

  rtrain::models::VisionTransformer model;
  double lr, label_smoothing;
};

rtrain::BatchCount limit(const rtrain::Config& config, const std::string& key) {
  const auto batches = config.value<std::int64_t>(key, 0);
  return batches > 0 ? rtrain::BatchCount(batches) : rtrain::BatchCount(1.0);
}

}  // namespace

void train_func(const rtrain::Config& config) {
  const auto data_dir = config.value("data_dir", "");
  const auto scale = transforms::Compose({transforms::ToTensor(), transforms::Normalize(0.5, 0.5)});
  const auto augment = transforms::Compose(
      {transforms::RandomCrop(28, {.padding = 2}), transforms::RandomHorizontalFlip(), scale});
  const bool pin_memory = rtrain::get_device().is_cuda();
  const rtrain::DataLoader train(rtrain::data::FashionMNIST(data_dir, /*train=*/true, augment),
                                 {.batch_size = config.value<std::int64_t>("batch_size", 128),
                                  .shuffle = true,
                                  .pin_memory = pin_memory});
  const rtrain::DataLoader test(
      rtrain::data::FashionMNIST(data_dir, /*train=*/false, scale),
      {.batch_size = 500, .pin_memory = pin_memory, .residency = rtrain::Residency::kAuto});
  rtrain::Trainer trainer({.max_epochs = config.value<std::int64_t>("max_epochs", 10),
                           .limit_train_batches = limit(config, "limit_train_batches"),
                           .limit_val_batches = limit(config, "limit_val_batches"),
                           .gradient_clip_val = 1.0,
                           .precision = config.value("precision", "32-true"),
                           .callbacks = {rtrain::TrainReportCallback()},
                           .seed = config.value<std::uint64_t>("seed", 0)});
  const auto width = config.value<std::int64_t>("width", 64);
  Classifier model({.image_size = 28,
                    .patch_size = 7,
                    .num_layers = config.value<std::int64_t>("layers", 4),
                    .num_heads = config.value<std::int64_t>("heads", 4),
                    .hidden_dim = width,
                    .mlp_dim = 2 * width,
                    .num_classes = 10},
                   config.value("lr", 1e-3), config.value("label_smoothing", 0.1));
  rtrain::prepare_trainer(trainer).fit(model, train, test, rtrain::get_checkpoint());
}
RTRAIN_TRAIN_FUNCTION(train_func);
