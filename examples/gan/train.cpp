// DCGAN on generated images: two networks, two optimizers, manual optimization.
#include <rtrain/rtrain.h>

#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

namespace nn = torch::nn;

namespace {

constexpr std::int64_t kSide = 16;

/// Squares of any size and place, bright on dark, in [-1, 1]: what the generator has to learn.
class Squares : public rtrain::Dataset {
 public:
  explicit Squares(std::int64_t size) : size_(size) {}
  [[nodiscard]] std::int64_t size() const override { return size_; }
  /// The numbers of an image come from its index, so every rank and every epoch has the same images.
  [[nodiscard]] rtrain::Batch get_batch(std::span<const std::int64_t> indices) const override {
    auto images = torch::full({static_cast<std::int64_t>(indices.size()), 1, kSide, kSide}, -0.8F);
    for (std::size_t i = 0; i < indices.size(); ++i) {
      const auto n = static_cast<std::uint64_t>(indices[i]) * 2654435761U;
      const auto side = static_cast<std::int64_t>(4 + n % 7);
      const auto top = static_cast<std::int64_t>(n / 7 % 6), left = static_cast<std::int64_t>(n / 42 % 6);
      images[static_cast<std::int64_t>(i)][0]
          .slice(0, top, top + side)
          .slice(1, left, left + side)
          .fill_(0.8F);
    }
    return {images};
  }

 private:
  std::int64_t size_;
};

nn::ConvTranspose2d grow(std::int64_t from, std::int64_t to, std::int64_t stride, std::int64_t padding) {
  return nn::ConvTranspose2d(
      nn::ConvTranspose2dOptions(from, to, 4).stride(stride).padding(padding).bias(false));
}
nn::Conv2d shrink(std::int64_t from, std::int64_t to, std::int64_t stride, std::int64_t padding) {
  return nn::Conv2d(nn::Conv2dOptions(from, to, 4).stride(stride).padding(padding).bias(false));
}

class Gan : public rtrain::LightningModule {
 public:
  Gan(std::int64_t noise, std::int64_t width, double lr) : noise_(noise), lr_(lr) {
    set_automatic_optimization(false);
    generator_ = register_module(
        "generator", nn::Sequential(grow(noise, 2 * width, 1, 0), nn::BatchNorm2d(2 * width), nn::ReLU(),
                                    grow(2 * width, width, 2, 1), nn::BatchNorm2d(width), nn::ReLU(),
                                    grow(width, 1, 2, 1), nn::Tanh()));
    critic_ =
        register_module("critic", nn::Sequential(shrink(1, width, 2, 1),
                                                 nn::LeakyReLU(nn::LeakyReLUOptions().negative_slope(0.2)),
                                                 shrink(width, 2 * width, 2, 1), nn::BatchNorm2d(2 * width),
                                                 nn::LeakyReLU(nn::LeakyReLUOptions().negative_slope(0.2)),
                                                 shrink(2 * width, 1, 1, 0), nn::Flatten()));
  }

  rtrain::StepOutput training_step(const rtrain::Batch& batch, std::int64_t) override {
    auto of_generator = optimizer(0), of_critic = optimizer(1);
    const auto says = [](const torch::Tensor& verdict, double truth) {
      return torch::binary_cross_entropy_with_logits(verdict, torch::full_like(verdict, truth));
    };
    const auto noise = torch::randn({batch.size(), noise_, 1, 1}, batch.input.options());
    {
      const auto toggled = toggle_optimizer(of_generator);  // the critic only passes gradients on
      const auto loss = says(critic_->forward(generator_->forward(noise)), 1);
      of_generator.zero_grad();
      manual_backward(loss);
      of_generator.step();
      log("generator_loss", loss, {.on_step = true, .on_epoch = true, .prog_bar = true, .sync_dist = true});
    }
    const auto toggled = toggle_optimizer(of_critic);
    const auto fake = generator_->forward(noise).detach();
    const auto loss = says(critic_->forward(batch.input), 1) + says(critic_->forward(fake), 0);
    of_critic.zero_grad();
    manual_backward(loss);
    of_critic.step();
    log("critic_loss", loss, {.on_step = true, .on_epoch = true, .prog_bar = true, .sync_dist = true});
    return std::nullopt;
  }
  void on_train_epoch_end() override {
    for (const auto& scheduler : lr_schedulers()) scheduler->step();
  }
  rtrain::Optimizers configure_optimizers() override {
    auto generator = rtrain::optim::Adam(generator_->parameters(), {.lr = lr_, .beta1 = 0.5});
    auto critic = rtrain::optim::Adam(critic_->parameters(), {.lr = lr_, .beta1 = 0.5});
    return {rtrain::WithScheduler{generator, rtrain::lr::ExponentialLR(generator, 0.99)},
            rtrain::WithScheduler{critic, rtrain::lr::ExponentialLR(critic, 0.99)}};
  }

 private:
  std::int64_t noise_;
  double lr_;
  nn::Sequential generator_{nullptr}, critic_{nullptr};
};

}  // namespace

void train_func(const rtrain::Config& config) {
  rtrain::seed_everything(config.value<std::uint64_t>("seed", 0));
  const rtrain::DataLoader train(
      std::make_shared<Squares>(config.value<std::int64_t>("images", 1024)),
      {.batch_size = config.value<std::int64_t>("batch_size", 32), .shuffle = true, .drop_last = true});
  rtrain::Trainer trainer(
      {.max_epochs = config.value<std::int64_t>("epochs", 10), .callbacks = {rtrain::TrainReportCallback()}});
  rtrain::prepare_trainer(trainer).fit(Gan(config.value<std::int64_t>("noise", 16),
                                           config.value<std::int64_t>("width", 16), config.value("lr", 2e-4)),
                                       train, {}, rtrain::get_checkpoint());
}
RTRAIN_TRAIN_FUNCTION(train_func);
