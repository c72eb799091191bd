// Training functions that make way, hang, and report faster than anybody listens. Loaded by the workers of worker_yield.py and worker_hang.py.
#include <rtrain/rtrain.h>

#include "worker/strategies/process_group.h"

#include <torch/torch.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include <unistd.h>

namespace {

namespace fs = std::filesystem;
using rtrain::Config;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

void pause(std::int64_t ms) { std::this_thread::sleep_for(milliseconds(ms)); }
int rank() { return rtrain::get_context().get_world_rank(); }

/// A folder with one file of this rank.
rtrain::Checkpoint folder_with(const std::string& text) {
  const fs::path folder = fs::temp_directory_path() / ("rtrain-test-" + std::to_string(::getpid()));
  fs::create_directories(folder);
  std::ofstream(folder / ("rank-" + std::to_string(rank()))) << text;
  return rtrain::Checkpoint(folder);
}

std::int64_t step_of(const rtrain::Checkpoint& checkpoint) {
  std::ifstream file(checkpoint.path() / ("rank-" + std::to_string(rank())));
  std::int64_t step = 0;
  file >> step;
  return step;
}

/// What a user writes who has no Trainer. Ranks that do not talk to each other are far apart: rank r pauses r times as long.
nlohmann::json plain_loop(const Config& config) {
  const auto begun = rtrain::get_checkpoint() ? step_of(*rtrain::get_checkpoint()) : 0;
  auto tensor = torch::ones({8});
  for (auto step = begun; step < config.at<std::int64_t>("steps"); ++step) {
    if (rtrain::should_yield()) {
      rtrain::report({{"step", step}}, folder_with(std::to_string(step)));
      return {{"ended", "yielded"}};
    }
    pause(config.value<std::int64_t>("pause_ms", 1) * (config.value("together", false) ? 1 : 1 + 3 * rank()));
    if (config.value("together", false)) rtrain::Collectives::all_reduce(tensor);
    if (rank() == 0) std::ofstream(rtrain::get_context().get_trial_dir() / "steps", std::ios::app) << step << '\n';
  }
  return {{"begun", begun}, {"attempt", rtrain::get_context().get_attempt()}};
}

/// Everything that a place in training consists of. Feature 0 is the sample's number.
struct Net : rtrain::LightningModule {
  explicit Net(const Config& given) : config(given), seen(rtrain::get_context().get_trial_dir() / ("seen-" + std::to_string(rtrain::get_context().get_attempt()) + "-" + std::to_string(rank()))) {}
  torch::nn::Linear layer = register_module("layer", torch::nn::Linear(4, 2));
  torch::nn::BatchNorm1d norm = register_module("norm", torch::nn::BatchNorm1d(2));
  torch::nn::Dropout dropout = register_module("dropout", torch::nn::Dropout(0.3));
  Config config;
  std::ofstream seen;
  bool trained = false;  ///< else it is the sanity check
  torch::Tensor training_step(const rtrain::Batch& batch, std::int64_t) override {
    for (std::int64_t i = 0; i < batch.size(); ++i) seen << current_epoch() << ' ' << batch.input[i][0].item<int>() << std::endl;
    pause(config.value<std::int64_t>("step_ms", 0));
    trained = true;
    const auto loss = dropout(norm(layer(batch.input / 100))).pow(2).mean();
    log("loss", loss, {.on_step = true, .on_epoch = true});
    return loss;
  }
  torch::Tensor validation_step(const rtrain::Batch& batch, std::int64_t batch_idx) override {
    if (batch_idx == 0 && trained) seen << "validation" << std::endl;
    pause(config.value<std::int64_t>("val_ms", 0));
    log("noise", torch::rand({}), {.sync_dist = true});  // draws, too
    return layer(batch.input);
  }
  rtrain::Optimizers configure_optimizers() override { return rtrain::optim::Adam(parameters(), {.lr = 0.01}); }
};

nlohmann::json with_trainer(const Config& config) {
  torch::manual_seed(1);
  const auto samples = config.at<std::int64_t>("samples");
  auto input = torch::randn({samples, 4});
  input.select(1, 0).copy_(torch::arange(samples));
  const rtrain::DataLoader train(rtrain::data::TensorDataset(input), {.batch_size = config.value<std::int64_t>("batch", 4), .shuffle = true});
  const bool uneven = config.value("uneven_validation", false);  // rank 1 has fewer batches than rank 0
  const rtrain::DataLoader val(rtrain::data::TensorDataset(torch::randn({uneven && rank() == 1 ? 8 : 40, 4})), {.batch_size = 4});
  Net net(config);
  rtrain::Trainer trainer({.max_epochs = config.value<std::int64_t>("epochs", 2),
                           .accumulate_grad_batches = config.value<std::int64_t>("accumulate", 1),
                           .elastic_batch = config.value<std::string>("elastic_batch", "per_worker"),
                           .strategy = rtrain::DDPStrategy(),
                           .callbacks = {rtrain::TrainReportCallback()},
                           .use_distributed_sampler = !uneven});
  trainer.fit(net, train, config.value("validate", false) ? val : rtrain::DataLoader(), rtrain::get_checkpoint());
  double digest = 0;
  for (const auto& p : net.parameters()) digest += p.to(torch::kDouble).abs().sum().item<double>();
  for (const auto& b : net.buffers()) digest += b.to(torch::kDouble).abs().sum().item<double>();
  return {{"digest", digest}, {"steps", trainer.global_step()}, {"attempt", rtrain::get_context().get_attempt()}, {"world", rtrain::get_context().get_world_size()}};
}

/// Rank 1 never comes to the sum.
void hang(const Config& config) {
  auto tensor = torch::ones({8});
  for (std::int64_t step = 0; step < config.value<std::int64_t>("good_steps", 0); ++step) {
    rtrain::Collectives::all_reduce(tensor);
    rtrain::report({{"step", step}});
  }
  while (rank() == 1) pause(1000);
  rtrain::Collectives::all_reduce(tensor);
}

void sleep_for_ever(const Config&) {
  for (;;) pause(1000);
}

/// As fast as it can: how long the longest report() took, and how many there were.
nlohmann::json flood(const Config& config) {
  const std::string text(config.value<std::size_t>("bytes", 10'000), 'x');
  double longest_ms = 0;
  std::int64_t reports = 0;
  for (; reports < config.at<std::int64_t>("reports"); ++reports) {
    const auto begun = Clock::now();
    rtrain::report({{"i", reports}, {"text", text}});
    longest_ms = std::max(longest_ms, std::chrono::duration<double, std::milli>(Clock::now() - begun).count());
  }
  rtrain::report({{"i", reports}, {"longest_ms", longest_ms}}, folder_with("end"));
  std::ofstream(config.at<std::string>("done_file")) << longest_ms;
  return {{"longest_ms", longest_ms}, {"reports", reports + 1}};
}

}  // namespace

RTRAIN_TRAIN_FUNCTION(plain_loop);
RTRAIN_TRAIN_FUNCTION(with_trainer);
RTRAIN_TRAIN_FUNCTION(hang);
RTRAIN_TRAIN_FUNCTION(sleep_for_ever);
RTRAIN_TRAIN_FUNCTION(flood);
