// A variational autoencoder on Fashion-MNIST: several losses in one step, and images drawn from noise at the
// end. Kingma and Welling, "Auto-Encoding Variational Bayes", arXiv 1312.6114.
#include <rtrain/rtrain.h>

#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/linear.h>
#include <torch/torch.h>

#include <cstdint>
#include <string>

namespace nn = torch::nn;

namespace {

constexpr std::int64_t kPixels = 28 * 28;

class Autoencoder : public rtrain::LightningModule {
 public:
  Autoencoder(std::int64_t latent, std::int64_t width, double beta, double lr) : beta_(beta), lr_(lr) {
    encoder_ = register_module("encoder", nn::Sequential(nn::Flatten(), nn::Linear(kPixels, width),
                                                         nn::ReLU(), nn::Linear(width, 2 * latent)));
    decoder_ = register_module(
        "decoder", nn::Sequential(nn::Linear(latent, width), nn::ReLU(), nn::Linear(width, kPixels)));
  }

  rtrain::StepOutput training_step(const rtrain::Batch& batch, std::int64_t) override {
    return loss_of(batch, "");
  }
  torch::Tensor validation_step(const rtrain::Batch& batch, std::int64_t) override {
    return loss_of(batch, "val_");
  }
  /// Images of noise [N, latent].
  torch::Tensor predict_step(const rtrain::Batch& batch, std::int64_t) override {
    return torch::sigmoid(decoder_->forward(batch.input)).view({-1, 1, 28, 28});
  }
  rtrain::Optimizers configure_optimizers() override {
    return rtrain::optim::Adam(parameters(), {.lr = lr_});
  }

 private:
  /// The negative evidence lower bound of an image: what the decoder loses, and how far the code is from
  /// noise.
  torch::Tensor loss_of(const rtrain::Batch& batch, const std::string& prefix) {
    const auto code = encoder_->forward(batch.input).chunk(2, /*dim=*/1);
    const auto &mean = code[0], &log_variance = code[1];
    const auto sample = mean + (log_variance / 2).exp() * torch::randn_like(mean);
    const auto images = static_cast<double>(batch.size());
    const auto lost = torch::binary_cross_entropy_with_logits(
                          decoder_->forward(sample), batch.input.flatten(1), {}, {}, at::Reduction::Sum) /
                      images;
    const auto divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum() / images;
    auto loss = lost + beta_ * divergence;
    const rtrain::LogOptions each{.on_epoch = true, .sync_dist = true};
    log(prefix + "reconstruction", lost, each);
    log(prefix + "divergence", divergence, each);
    log(prefix + "loss", loss, {.on_epoch = true, .prog_bar = true, .sync_dist = true});
    return loss;
  }

  double beta_, lr_;
  nn::Sequential encoder_{nullptr}, decoder_{nullptr};
};

rtrain::BatchCount limit(const rtrain::Config& config, const std::string& key) {
  const auto batches = config.value<std::int64_t>(key, 0);
  return batches > 0 ? rtrain::BatchCount(batches) : rtrain::BatchCount(1.0);
}

}  // namespace

/// @return of the images that the trained decoder makes on this rank: how many, and their mean brightness, 0
/// to 1.
nlohmann::json train_func(const rtrain::Config& config) {
  const auto data_dir = config.value("data_dir", "");
  const rtrain::DataLoader train(
      rtrain::data::FashionMNIST(data_dir, /*train=*/true),
      {.batch_size = config.value<std::int64_t>("batch_size", 128), .shuffle = true});
  const rtrain::DataLoader test(rtrain::data::FashionMNIST(data_dir, /*train=*/false), {.batch_size = 500});
  const auto latent = config.value<std::int64_t>("latent", 16);
  const auto seed = config.value<std::uint64_t>("seed", 0);
  rtrain::Trainer trainer({.max_epochs = config.value<std::int64_t>("max_epochs", 5),
                           .limit_train_batches = limit(config, "limit_train_batches"),
                           .limit_val_batches = limit(config, "limit_val_batches"),
                           .callbacks = {rtrain::TrainReportCallback()},
                           .seed = seed});
  Autoencoder model(latent, config.value<std::int64_t>("width", 256), config.value("beta", 1.0),
                    config.value("lr", 1e-3));
  rtrain::prepare_trainer(trainer).fit(model, train, test, rtrain::get_checkpoint());

  const auto noise = torch::randn({64, latent});
  const auto images = torch::cat(
      trainer.predict(model, rtrain::DataLoader(rtrain::data::TensorDataset(noise), {.batch_size = 64})));
  return {{"images", images.size(0)}, {"brightness", images.mean().item<double>()}};
}
RTRAIN_TRAIN_FUNCTION(train_func);
