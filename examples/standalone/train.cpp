// A training function: what every worker of the job runs.
#include <rtrain/rtrain.h>

#include <torch/nn/functional/loss.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/linear.h>

namespace nn = torch::nn;

/// Tells on which side of a circle a point lies.
struct Classifier : rtrain::LightningModule {
  explicit Classifier(double learning_rate) : lr(learning_rate) {}

  rtrain::StepOutput training_step(const rtrain::Batch& batch, std::int64_t) override {
    auto loss = nn::functional::cross_entropy(net->forward(batch.input), batch.target);
    log("loss", loss, {.on_step = true, .on_epoch = true, .prog_bar = true});
    return loss;
  }
  torch::Tensor validation_step(const rtrain::Batch& batch, std::int64_t) override {
    log("accuracy", net->forward(batch.input).argmax(1).eq(batch.target).to(torch::kFloat).mean(),
        {.on_epoch = true, .sync_dist = true});
    return {};
  }
  rtrain::Optimizers configure_optimizers() override {
    return rtrain::optim::AdamW(parameters(), {.lr = lr});
  }

  double lr;
  nn::Sequential net = register_module(
      "net",
      nn::Sequential(nn::Linear(2, 64), nn::ReLU(), nn::Linear(64, 64), nn::ReLU(), nn::Linear(64, 2)));
};

std::shared_ptr<rtrain::Dataset> points(std::int64_t count, std::uint64_t seed) {
  torch::manual_seed(seed);
  const auto at = torch::rand({count, 2}) * 2 - 1;
  return rtrain::data::TensorDataset(at, at.square().sum(1).lt(0.6).to(torch::kLong));
}

void train_func(const rtrain::Config& config) {
  const rtrain::DataLoader train(points(4096, 1),
                                 {.batch_size = config.value("batch_size", 64), .shuffle = true});
  const rtrain::DataLoader check(points(1024, 2), {.batch_size = 256});
  rtrain::Trainer trainer({.max_epochs = config.value("max_epochs", 5),
                           .strategy = rtrain::DDPStrategy(),
                           .plugins = {rtrain::ClusterEnvironment()},
                           .callbacks = {rtrain::TrainReportCallback()}});
  rtrain::prepare_trainer(trainer).fit(Classifier(config.value("lr", 1e-2)), train, check,
                                       rtrain::get_checkpoint());
}
RTRAIN_TRAIN_FUNCTION(train_func);
