// The whole step as a CUDA graph: losses of eager steps, with clipping, schedulers, dropout and mixed
// precision; what a capture cannot hold. On the CPU the steps are eager, and the tests are tried.
#include "tests/support/catch.h"

#include "tests/gpu/device.h"
#include "tests/support/training.h"

#include <rtrain/schedulers.h>

#include <chrono>
#include <iostream>

using namespace rtrain;
using Catch::Contains;
using rtrain::test::on_cuda;
using rtrain::test::on_device;

namespace {

struct Images : LightningModule {
  torch::nn::Conv2d conv = register_module("conv", torch::nn::Conv2d(3, 16, 3));
  torch::nn::BatchNorm2d norm = register_module("norm", torch::nn::BatchNorm2d(16));
  torch::nn::Dropout dropout = register_module("dropout", torch::nn::Dropout(0.2));
  torch::nn::Linear head = register_module("head", torch::nn::Linear(16 * 10 * 10, 10));
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    const auto features = dropout(torch::relu(norm(conv(batch.input))).flatten(1));
    auto loss = torch::nn::functional::cross_entropy(head(features).to(torch::kFloat32), batch.target);
    log("loss", loss, {.on_step = true, .on_epoch = true});
    return loss;
  }
  void on_train_batch_end(const StepOutput& output, const Batch&, std::int64_t) override {
    losses.push_back(output.loss);
  }
  Optimizers configure_optimizers() override {
    auto adam = optim::AdamW(parameters(), {.lr = 1e-3});
    return {adam, LRSchedulerConfig{.scheduler = lr::CosineAnnealingLR(adam, {.t_max = 50}),
                                    .interval = Interval::kStep}};
  }
  std::vector<torch::Tensor> losses;
};

struct Outcome {
  torch::Tensor losses;
  double epoch_loss = 0, seconds = 0;
  std::int64_t graphed = 0;
};

/// 4 batches of 16 and one of 8: two shapes.
DataLoader images(DataLoaderOptions options = {.num_workers = 0, .pin_memory = on_cuda()}) {
  torch::manual_seed(11);
  options.batch_size = 16;
  return {data::TensorDataset(torch::randn({72, 3, 12, 12}), torch::randint(10, {72})), options};
}

Outcome fitted(TrainerOptions options, bool graph, const DataLoader& data = images()) {
  torch::manual_seed(12);
  Images net;
  options.max_epochs = -1;
  options.max_steps = 50;
  options.cuda_graph = graph;
  options.seed = 5;
  Trainer trainer(on_device(std::move(options)));
  const auto begin = std::chrono::steady_clock::now();
  trainer.fit(net, data);
  test::synchronize();
  return {torch::stack(net.losses).cpu().to(torch::kDouble), trainer.callback_metrics().at("loss_epoch"),
          std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(),
          trainer.graphed_steps()};
}

}  // namespace

TEST_CASE("gpu: a graph has the losses of eager steps over 50 steps", "[gpu][graph]") {
  at::globalContext().setDeterministicCuDNN(true);
  for (const std::string precision : {"32-true", "bf16-mixed", "16-mixed"}) {
    if (!on_cuda() && precision == "16-mixed") continue;
    INFO(precision);
    const auto eager = fitted({.gradient_clip_val = 1.0, .precision = precision}, false);
    const auto graphed = fitted({.gradient_clip_val = 1.0, .precision = precision}, true);
    // The learning rate of a graph is a float32; half precision rounds what comes of it.
    const double tolerance = precision == "32-true" ? 1e-4 : 2e-2;
    CHECK(torch::allclose(graphed.losses, eager.losses, tolerance, tolerance));
    CHECK(graphed.epoch_loss == Approx(eager.epoch_loss).epsilon(tolerance));
    CHECK(graphed.losses[-1].item<double>() < graphed.losses[0].item<double>());
    CHECK(graphed.graphed == (on_cuda() ? 47 : 0));
    std::cout << precision << ": 50 steps eager " << eager.seconds << " s, with graphs " << graphed.seconds
              << " s\n";
  }
  at::globalContext().setDeterministicCuDNN(false);
}

TEST_CASE("gpu: threads that make batches on the device go on while a step is captured", "[gpu][graph]") {
  at::globalContext().setDeterministicCuDNN(true);
  const auto eager = fitted({}, false);
  for (int i = 0; i < 5; ++i) {  // two captures each
    const auto graphed = fitted({}, true, images({.num_workers = 3, .residency = Residency::kAuto}));
    CHECK(torch::allclose(graphed.losses, eager.losses, 1e-4, 1e-4));
    CHECK(graphed.graphed == (on_cuda() ? 47 : 0));
  }
  at::globalContext().setDeterministicCuDNN(false);
}

TEST_CASE("gpu: a step that reads the device is named when it is captured", "[gpu][graph]") {
  if (!on_cuda()) {
    SUCCEED("the steps are eager");
    return;
  }
  struct Reading : Images {
    StepOutput training_step(const Batch& batch, std::int64_t index) override {
      auto loss = Images::training_step(batch, index).loss;
      return loss.item<double>() > 1e9 ? StepOutput() : StepOutput(loss);
    }
  } net;
  const DataLoader data(data::TensorDataset(torch::randn({64, 3, 12, 12}), torch::randint(10, {64})),
                        {.batch_size = 16, .num_workers = 0});
  Trainer trainer(on_device({.max_epochs = 2, .cuda_graph = true}));
  CHECK_THROWS_WITH(trainer.fit(net, data), Contains("cannot be captured") && Contains("item()"));
}

TEST_CASE("gpu: channels_last learns what the usual layout does", "[gpu][channels_last]") {
  const auto usual = fitted({}, false), last = fitted({.channels_last = true}, true);
  CHECK(torch::allclose(last.losses, usual.losses, 5e-2, 5e-2));
}
