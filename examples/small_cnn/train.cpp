// Training speed: a small CNN (or ResNet-18) on Fashion-MNIST for a number of steps, and images a second
// after warm-up.
#include <rtrain/rtrain.h>

#include <torch/cuda.h>
#include <torch/nn/functional/loss.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/linear.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <stdexcept>
#include <string>

namespace nn = torch::nn;
namespace transforms = rtrain::data::transforms;

namespace {

nn::Sequential small_cnn(std::int64_t width) {
  return nn::Sequential(nn::Conv2d(nn::Conv2dOptions(1, 16, 3).stride(2)),
                        nn::ReLU(nn::ReLUOptions(/*inplace=*/true)), nn::Flatten(),
                        nn::Linear(16 * 13 * 13, width), nn::ReLU(nn::ReLUOptions(/*inplace=*/true)),
                        nn::Linear(width, 10));
}

class Classifier : public rtrain::LightningModule {
 public:
  Classifier(const std::string& kind, std::int64_t width, double lr) : lr_(lr) {
    if (width < 1)
      throw rtrain::InvalidHyperparameters("train_loop_config.width is " + std::to_string(width) +
                                           ", expected 1 or more");
    if (kind == "cnn") {
      model_ = register_module("model", small_cnn(width));
    } else if (kind == "resnet18") {
      model_ = register_module("model", nn::Sequential(rtrain::models::resnet18(10, 1)));
    } else {
      throw std::invalid_argument("train_loop_config.model is \"" + kind + "\", expected cnn or resnet18");
    }
  }

  rtrain::StepOutput training_step(const rtrain::Batch& batch, std::int64_t) override {
    auto loss = nn::functional::cross_entropy(model_->forward(batch.input), batch.target);
    log("loss", loss, {.on_step = true, .prog_bar = true});
    return loss;
  }
  torch::Tensor validation_step(const rtrain::Batch& batch, std::int64_t) override {
    const auto logits = model_->forward(batch.input);
    log("val_loss", nn::functional::cross_entropy(logits, batch.target), {.sync_dist = true});
    log("accuracy", logits.argmax(1).eq(batch.target).to(torch::kFloat).mean(), {.sync_dist = true});
    return {};
  }
  rtrain::Optimizers configure_optimizers() override {
    return rtrain::optim::Adam(parameters(), {.lr = lr_});
  }

 private:
  double lr_;
  nn::Sequential model_{nullptr};
};

/// Counts images from step `warm` on; rank 0 prints and reports the rate of one process.
class Speed : public rtrain::Callback {
 public:
  Speed(std::int64_t warm, std::int64_t batch_size) : warm_(warm), batch_size_(batch_size) {}

  void on_train_batch_end(rtrain::Trainer& trainer, rtrain::LightningModule&, const rtrain::StepOutput&,
                          const rtrain::Batch&, std::int64_t) override {
    if (trainer.global_step() == warm_) begin_ = now(trainer);
  }
  void on_train_end(rtrain::Trainer& trainer, rtrain::LightningModule&) override {
    const std::chrono::duration<double> seconds = now(trainer) - begin_;
    const auto rate = static_cast<double>((trainer.global_step() - warm_) * batch_size_) / seconds.count();
    const auto& context = rtrain::get_context();
    rtrain::report({{"img_s_per_process", rate}, {"steps", trainer.global_step()}});
    if (context.get_world_rank() == 0) {
      std::cout << "img/s per process " << rate << " world " << context.get_world_size() << std::endl;
    }
  }

 private:
  /// The time when everything asked of the device so far is done.
  static std::chrono::steady_clock::time_point now(const rtrain::Trainer& trainer) {
    if (trainer.device().is_cuda()) torch::cuda::synchronize();
    return std::chrono::steady_clock::now();
  }
  std::int64_t warm_, batch_size_;
  std::chrono::steady_clock::time_point begin_;
};

}  // namespace

void train_func(const rtrain::Config& config) {
  const auto data_dir = config.value("data_dir", "");
  const auto transform = transforms::Compose({transforms::ToTensor(), transforms::Normalize(0.5, 0.5)});
  const auto val_batches = config.value<std::int64_t>("val_batches", 0);
  const auto batch_size = config.value<std::int64_t>("batch_size", 128);
  const auto steps = config.value<std::int64_t>("steps", 400);
  const rtrain::DataLoader train(
      rtrain::data::FashionMNIST(data_dir, /*train=*/true, transform),
      {.batch_size = batch_size,
       .shuffle = true,
       .drop_last = true,
       .pin_memory = rtrain::get_device().is_cuda(),
       .residency = config.value("resident", false) ? rtrain::Residency::kAuto : rtrain::Residency::kHost});
  rtrain::Trainer trainer({.max_epochs = -1,
                           .max_steps = steps,
                           .limit_val_batches = val_batches,
                           .precision = config.value("precision", "32-true"),
                           .cuda_graph = config.value("cuda_graph", false),
                           .channels_last = config.value("channels_last", false),
                           .strategy = rtrain::DDPStrategy(),
                           .plugins = {rtrain::ClusterEnvironment()},
                           .callbacks = {Speed(std::max<std::int64_t>(2, steps / 10), batch_size)},
                           .enable_checkpointing = false,  // its writing would be measured, too
                           .seed = config.value<std::uint64_t>("seed", 0)});
  Classifier model(config.value("model", "cnn"), config.value<std::int64_t>("width", 256),
                   config.value("lr", 1e-3));
  rtrain::prepare_trainer(trainer).fit(model, train);
  if (val_batches == 0) return;
  const rtrain::DataLoader test(rtrain::data::FashionMNIST(data_dir, /*train=*/false, transform),
                                {.batch_size = 500});
  const auto measured = trainer.validate(model, test, {}, /*verbose=*/false);
  rtrain::report({{"val_loss", measured.at("val_loss")}, {"accuracy", measured.at("accuracy")}});
}
RTRAIN_TRAIN_FUNCTION(train_func);
