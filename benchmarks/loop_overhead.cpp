// What the Trainer costs a step: a model that does nothing, in a bare loop, under the Trainer, and under it
// with a metric and a logger. One line of JSON: microseconds a step of each, one number a window.
//   loop_overhead STEPS WINDOWS FOLDER
#include <rtrain/rtrain.h>

#include <torch/torch.h>

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

namespace {

constexpr std::int64_t kSamples = 4096, kBatch = 8, kWarm = 500;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// One parameter and the least that has a gradient.
struct Nothing : rtrain::LightningModule {
  explicit Nothing(bool logs_each_step = false) : logs(logs_each_step) {}
  rtrain::StepOutput training_step(const rtrain::Batch&, std::int64_t) override {
    auto loss = weight.sum();
    if (logs) log("loss", loss);
    return loss;
  }
  rtrain::Optimizers configure_optimizers() override {
    return rtrain::optim::SGD(parameters(), {.lr = 1e-3});
  }
  bool logs;
  torch::Tensor weight = register_parameter("weight", torch::zeros({1}));
};

/// The seconds from step kWarm to the end.
class Clock : public rtrain::Callback {
 public:
  explicit Clock(double& taken) : taken_(taken) {}
  void on_train_batch_end(rtrain::Trainer& trainer, rtrain::LightningModule&, const rtrain::StepOutput&,
                          const rtrain::Batch&, std::int64_t) override {
    if (trainer.global_step() == kWarm) begin_ = seconds();
  }
  void on_train_end(rtrain::Trainer&, rtrain::LightningModule&) override { taken_ = seconds() - begin_; }

 private:
  double& taken_;
  double begin_ = 0;
};

double with_trainer(const rtrain::DataLoader& data, std::int64_t steps, const std::string& logs_to) {
  double taken = 0;
  rtrain::TrainerOptions options{.max_epochs = -1,
                                 .max_steps = kWarm + steps,
                                 .callbacks = {Clock(taken)},
                                 .enable_checkpointing = false,
                                 .enable_progress_bar = false,
                                 .enable_model_summary = false};
  if (!logs_to.empty()) options.loggers = {rtrain::CSVLogger({.save_dir = logs_to})};
  rtrain::Trainer(std::move(options)).fit(Nothing(!logs_to.empty()), data);
  return taken;
}

double bare(const rtrain::DataLoader& data, std::int64_t steps) {
  Nothing net;
  const auto optimizer = rtrain::optim::SGD(net.parameters(), {.lr = 1e-3});
  const auto& parameters = optimizer->parameters();
  double begin = 0;
  for (std::int64_t epoch = 0, step = 0; step < kWarm + steps; ++epoch) {
    auto batches = data.epoch(epoch);
    while (step < kWarm + steps) {
      const auto batch = batches.next();
      if (!batch) break;
      auto loss = net.weight.sum();
      for (const auto& parameter : parameters) parameter.mutable_grad().reset();
      loss.backward();
      optimizer->step();
      if (++step == kWarm) begin = seconds();
    }
  }
  return seconds() - begin;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: loop_overhead STEPS WINDOWS FOLDER\n";
    return 2;
  }
  const std::int64_t steps = std::atoll(argv[1]), windows = std::atoll(argv[2]);
  torch::set_num_threads(1);
  const rtrain::DataLoader data(
      rtrain::data::TensorDataset(torch::zeros({kSamples, 4}), torch::zeros({kSamples}, torch::kInt64)),
      {.batch_size = kBatch, .drop_last = true, .num_workers = 0});
  std::vector<double> plain, ours, logging;
  const auto us = [&](double taken) { return taken / static_cast<double>(steps) * 1e6; };
  for (std::int64_t window = 0; window < windows; ++window) {
    plain.push_back(us(bare(data, steps)));
    ours.push_back(us(with_trainer(data, steps, {})));
    logging.push_back(us(with_trainer(data, steps, argv[3])));
  }
  std::cout << nlohmann::json({{"plain_us", plain}, {"ours_us", ours}, {"ours_logging_us", logging}}).dump()
            << std::endl;
}
