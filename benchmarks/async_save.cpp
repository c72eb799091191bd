// How long a save of some 400 MB holds up the training, at once and with AsyncCheckpointIO, in one run.
//   async_save FOLDER [MEGABYTES [SAVES]]
// Prints one JSON line. A save at once holds it up for the whole call of save_checkpoint(). One with
// AsyncCheckpointIO holds it up in the call, and before the next optimizer step for as long as the snapshot
// is not complete.
#include <rtrain/rtrain.h>

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace rtrain;
using Clock = std::chrono::steady_clock;

constexpr std::int64_t kWidth = 2048, kBatch = 64, kStepsASave = 6;

double seconds_since(Clock::time_point then) {
  return std::chrono::duration<double>(Clock::now() - then).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

/// Square layers of 16 MiB each.
struct Wide : LightningModule {
  torch::nn::Sequential layers = register_module("layers", torch::nn::Sequential());
  explicit Wide(std::int64_t megabytes) {
    for (std::int64_t done = 0; done < megabytes; done += kWidth * kWidth * 4 / 1'000'000) {
      layers->push_back(torch::nn::Linear(torch::nn::LinearOptions(kWidth, kWidth).bias(false)));
      layers->push_back(torch::nn::Tanh());
    }
  }
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    return layers->forward(batch.input).square().mean();
  }
  Optimizers configure_optimizers() override { return optim::SGD(parameters(), {.lr = 1e-3}); }
};

struct Held {
  std::vector<double> in_call, before_step, step;
  /// Without the first save, which makes the buffers.
  [[nodiscard]] double stall() const {
    std::vector<double> all;
    for (std::size_t i = 1; i < in_call.size(); ++i) all.push_back(in_call[i] + before_step[i]);
    return median(all);
  }
};

Held train(const std::filesystem::path& folder, std::int64_t megabytes, std::int64_t saves,
           std::vector<AnyPlugin> plugins) {
  Held held;
  Clock::time_point learned{}, begun = Clock::now();
  bool saved = false;
  const auto measure = LambdaCallback(
      {.on_train_batch_start = [&](Trainer&, LightningModule&, const Batch&,
                                   std::int64_t) { begun = Clock::now(); },
       .on_after_backward = [&](Trainer&, LightningModule&) { learned = Clock::now(); },
       .on_before_optimizer_step =
           [&](Trainer&, LightningModule&, Optimizer&) {
             if (std::exchange(saved, false)) held.before_step.push_back(seconds_since(learned));
           },
       .on_train_batch_end =
           [&](Trainer& trainer, LightningModule&, const StepOutput&, const Batch&, std::int64_t index) {
             if (!saved && index % kStepsASave != 0) held.step.push_back(seconds_since(begun));
             if (index % kStepsASave != kStepsASave - 1) return;
             const auto path = folder / ("save-" + std::to_string(index));
             const auto call = Clock::now();
             trainer.save_checkpoint(path, /*weights_only=*/true);
             held.in_call.push_back(seconds_since(call));
             saved = true;
           }});
  torch::manual_seed(1);
  Wide model(megabytes);
  Trainer trainer({.max_epochs = 1,
                   .accelerator = "cpu",
                   .plugins = std::move(plugins),
                   .callbacks = {measure},
                   .enable_checkpointing = false,
                   .enable_progress_bar = false});
  const auto steps = (saves + 1) * kStepsASave + 1;
  trainer.fit(
      model, DataLoader(data::TensorDataset(torch::randn({steps * kBatch, kWidth})), {.batch_size = kBatch}));
  return held;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: async_save FOLDER [MEGABYTES [SAVES]]\n";
    return 2;
  }
  const std::filesystem::path folder = argv[1];
  const std::int64_t megabytes = argc > 2 ? std::atoll(argv[2]) : 400;
  const std::int64_t saves = argc > 3 ? std::atoll(argv[3]) : 5;
  std::filesystem::create_directories(folder);
  const auto at_once = train(folder / "sync", megabytes, saves, {});
  const auto later = train(folder / "async", megabytes, saves, {AsyncCheckpointIO()});
  const auto sync_s = median({at_once.in_call.begin() + 1, at_once.in_call.end()});
  const auto pct = [&](double seconds) { return 100 * seconds / sync_s; };
  std::cout
      << nlohmann::json{{"benchmark", "async_save"},
                        {"megabytes", megabytes},
                        {"saves", saves},
                        {"step_s", median(at_once.step)},
                        {"sync_save_s", sync_s},
                        {"async_call_s", median({later.in_call.begin() + 1, later.in_call.end()})},
                        {"async_wait_s", median({later.before_step.begin() + 1, later.before_step.end()})},
                        {"async_stall_pct", pct(later.stall())},
                        {"async_first_stall_pct", pct(later.in_call.front() + later.before_step.front())}}
             .dump()
      << std::endl;
}
