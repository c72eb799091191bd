// Transfer learning: a ResNet-18 learns five kinds of clothes, and its layers then serve as the backbone of a
// model for the other five, frozen at first.
#include <rtrain/rtrain.h>

#include <torch/nn/functional/loss.h>
#include <torch/nn/modules/linear.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <vector>

namespace transforms = rtrain::data::transforms;

namespace {

constexpr std::int64_t kClasses = 5;

/// The samples of Fashion-MNIST of the classes first to first + 4, which become 0 to 4.
class FiveClasses : public rtrain::Dataset {
 public:
  FiveClasses(std::shared_ptr<const rtrain::Dataset> all, std::int64_t first)
      : all_(std::move(all)), first_(first) {
    std::vector<std::int64_t> block(1000);
    for (std::int64_t begin = 0; begin < all_->size(); begin += std::ssize(block)) {
      block.resize(static_cast<std::size_t>(std::min<std::int64_t>(std::ssize(block), all_->size() - begin)));
      std::iota(block.begin(), block.end(), begin);
      const auto labels = all_->get_batch(block).target;
      for (std::size_t i = 0; i < block.size(); ++i) {
        const auto label = labels[static_cast<std::int64_t>(i)].item<std::int64_t>();
        if (label >= first && label < first + kClasses) samples_.push_back(block[i]);
      }
    }
  }
  [[nodiscard]] std::int64_t size() const override { return std::ssize(samples_); }
  [[nodiscard]] rtrain::Batch get_batch(std::span<const std::int64_t> indices) const override {
    std::vector<std::int64_t> samples;
    samples.reserve(indices.size());
    for (const auto index : indices) samples.push_back(samples_[static_cast<std::size_t>(index)]);
    auto batch = all_->get_batch(samples);
    batch.target = batch.target - first_;
    return batch;
  }

 private:
  std::shared_ptr<const rtrain::Dataset> all_;
  std::int64_t first_;
  std::vector<std::int64_t> samples_;
};

struct Classifier : rtrain::LightningModule {
  explicit Classifier(double learning_rate) : lr(learning_rate) {
    backbone->fc = backbone->replace_module("fc", torch::nn::Linear(512, 512));  // features, not logits
  }
  torch::Tensor forward(const torch::Tensor& images) { return head(torch::relu(backbone(images))); }

  rtrain::StepOutput training_step(const rtrain::Batch& batch, std::int64_t) override {
    auto loss = torch::nn::functional::cross_entropy(forward(batch.input), batch.target);
    log("loss", loss, {.on_step = true, .on_epoch = true, .prog_bar = true});
    return loss;
  }
  torch::Tensor validation_step(const rtrain::Batch& batch, std::int64_t) override {
    const auto right = forward(batch.input).argmax(1).eq(batch.target).to(torch::kFloat).mean();
    log("accuracy", right, {.on_epoch = true, .prog_bar = true, .sync_dist = true});
    return {};
  }
  /// Of what is trained from the start: BackboneFinetuning adds the backbone when its epoch has come.
  rtrain::Optimizers configure_optimizers() override {
    std::vector<torch::Tensor> trained;
    for (const auto& parameter : parameters())
      if (parameter.requires_grad()) trained.push_back(parameter);
    return rtrain::optim::Adam(trained, {.lr = lr});
  }

  double lr;
  rtrain::models::ResNet backbone = register_module("backbone", rtrain::models::resnet18(kClasses, 1));
  torch::nn::Linear head = register_module("head", torch::nn::Linear(512, kClasses));
};

rtrain::BatchCount limit(const rtrain::Config& config, const std::string& key) {
  const auto batches = config.value<std::int64_t>(key, 0);
  return batches > 0 ? rtrain::BatchCount(batches) : rtrain::BatchCount(1.0);
}

void fit(const rtrain::Config& config, std::int64_t first_class, Classifier& model,
         std::vector<rtrain::AnyCallback> callbacks) {
  const auto transform = transforms::Compose({transforms::ToTensor(), transforms::Normalize(0.5, 0.5)});
  const auto loader = [&](bool train, std::int64_t batch_size) {
    const auto all = rtrain::data::FashionMNIST(config.value("data_dir", ""), train, transform);
    return rtrain::DataLoader(std::make_shared<FiveClasses>(all, first_class),
                              {.batch_size = batch_size, .shuffle = train});
  };
  callbacks.emplace_back(rtrain::TrainReportCallback());
  rtrain::Trainer trainer({.max_epochs = config.value<std::int64_t>("max_epochs", 3),
                           .limit_train_batches = limit(config, "limit_train_batches"),
                           .limit_val_batches = limit(config, "limit_val_batches"),
                           .callbacks = std::move(callbacks)});
  rtrain::prepare_trainer(trainer).fit(model, loader(true, config.value<std::int64_t>("batch_size", 128)),
                                       loader(false, 500), rtrain::get_checkpoint());
}

}  // namespace

/// The first five classes, from the beginning.
void pretrain(const rtrain::Config& config) {
  rtrain::seed_everything(config.value<std::uint64_t>("seed", 0));
  Classifier model(config.value("lr", 1e-3));
  fit(config, 0, model, {});
}
RTRAIN_TRAIN_FUNCTION(pretrain);

/// The other five, with the backbone of a checkpoint of the first.
nlohmann::json train_func(const rtrain::Config& config) {
  rtrain::seed_everything(config.value<std::uint64_t>("seed", 0));
  Classifier model(config.value("lr", 1e-3));
  const auto loaded =
      rtrain::load_weights(model, config.at<std::string>("weights"),
                           {.rename = {{"head.weight", ""}, {"head.bias", ""}}, .strict = false});
  fit(config, kClasses, model,
      {rtrain::BackboneFinetuning(
          {.unfreeze_backbone_at_epoch = config.value<std::int64_t>("unfreeze_at_epoch", 2)})});
  return {{"loaded", loaded.loaded.size()}, {"new", loaded.missing}};
}
RTRAIN_TRAIN_FUNCTION(train_func);
