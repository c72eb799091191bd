// A forecaster of time series: an LSTM reads what was and says what comes, held against what a forecast
// without learning gives.
#include <rtrain/rtrain.h>

#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/rnn.h>
#include <torch/torch.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <numbers>
#include <utility>

namespace {

/// Windows of one long series: two seasons, a slow drift, and noise that comes from the place in the series,
/// so that every rank and every epoch has the same. A sample is {what was [history], what came [horizon]}.
class Windows : public rtrain::MapDataset<std::pair<torch::Tensor, torch::Tensor>> {
 public:
  Windows(std::int64_t begin, std::int64_t count, std::int64_t history, std::int64_t horizon)
      : count_(count), history_(history), horizon_(horizon) {
    auto generator = at::make_generator<at::CPUGeneratorImpl>(/*seed=*/static_cast<std::uint64_t>(begin) + 1);
    const auto at = torch::arange(begin, begin + count + history + horizon, torch::kDouble);
    const auto season = [&](double period) { return torch::sin(at * (2 * std::numbers::pi / period)); };
    const auto noise = torch::randn({at.size(0)}, generator, torch::kDouble);
    series_ = (season(24) + 0.5 * season(168) + 0.2 * torch::sin(at / 1000) + 0.1 * noise).to(torch::kFloat);
  }
  [[nodiscard]] std::int64_t size() const override { return count_; }
  [[nodiscard]] std::pair<torch::Tensor, torch::Tensor> get(std::int64_t index) const override {
    const auto now = index + history_;
    return {series_.slice(0, index, now), series_.slice(0, now, now + horizon_)};
  }

 private:
  std::int64_t count_, history_, horizon_;
  torch::Tensor series_;
};

class Forecaster : public rtrain::LightningModule {
 public:
  Forecaster(std::int64_t width, std::int64_t horizon, double lr) : lr_(lr) {
    lstm_ = register_module("lstm", torch::nn::LSTM(torch::nn::LSTMOptions(1, width).batch_first(true)));
    head_ = register_module("head", torch::nn::Linear(width, horizon));
  }
  /// @param history [N, T] @return [N, horizon]
  torch::Tensor forward(const torch::Tensor& history) {
    const auto output = std::get<0>(lstm_->forward(history.unsqueeze(-1)));
    return head_->forward(output.select(1, -1));
  }

  rtrain::StepOutput training_step(const rtrain::Batch& batch, std::int64_t) override {
    auto loss = torch::smooth_l1_loss(forward(batch.input), batch.target);
    log("loss", loss, {.on_step = true, .on_epoch = true, .prog_bar = true});
    return loss;
  }
  torch::Tensor validation_step(const rtrain::Batch& batch, std::int64_t) override {
    const auto error = [&](const torch::Tensor& forecast) { return (forecast - batch.target).abs().mean(); };
    const rtrain::LogOptions each{.on_epoch = true, .prog_bar = true, .sync_dist = true};
    log("error", error(forward(batch.input)), each);
    log("error_of_last_value", error(batch.input.slice(1, -1).expand_as(batch.target)), each);
    return {};
  }
  torch::Tensor predict_step(const rtrain::Batch& batch, std::int64_t) override {
    return forward(batch.input);
  }
  rtrain::Optimizers configure_optimizers() override {
    auto adam = rtrain::optim::AdamW(parameters(), {.lr = lr_});
    return {{adam}, {rtrain::lr::CosineAnnealingLR(adam, {.t_max = trainer().max_epochs()})}};
  }

 private:
  double lr_;
  torch::nn::LSTM lstm_{nullptr};
  torch::nn::Linear head_{nullptr};
};

}  // namespace

void train_func(const rtrain::Config& config) {
  const auto history = config.value<std::int64_t>("history", 48),
             horizon = config.value<std::int64_t>("horizon", 12);
  const auto windows = config.value<std::int64_t>("windows", 8192);
  const rtrain::DataLoader train(
      std::make_shared<Windows>(0, windows, history, horizon),
      {.batch_size = config.value<std::int64_t>("batch_size", 64), .shuffle = true});
  // What comes after the training's part of the series, and shares no value with it.
  const rtrain::DataLoader test(
      std::make_shared<Windows>(windows + history + horizon, windows / 8, history, horizon),
      {.batch_size = 256});
  rtrain::Trainer trainer({.max_epochs = config.value<std::int64_t>("max_epochs", 5),
                           .gradient_clip_val = 1.0,
                           .callbacks = {rtrain::TrainReportCallback()},
                           .seed = config.value<std::uint64_t>("seed", 0)});
  Forecaster model(config.value<std::int64_t>("width", 32), horizon, config.value("lr", 5e-3));
  rtrain::prepare_trainer(trainer).fit(model, train, test, rtrain::get_checkpoint());
}
RTRAIN_TRAIN_FUNCTION(train_func);
