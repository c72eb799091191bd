// TrainerOptions::cuda_graph in a fit, with a recorder for the CPU: same losses and metrics as eager, and the
// reasons why a step is not captured.
#include "tests/support/catch.h"
#include "tests/support/fake_recorder.h"
#include "tests/support/state.h"
#include "tests/support/training.h"

#include <rtrain/callbacks.h>
#include <rtrain/schedulers.h>

namespace cuda_graph_test {

using namespace rtrain;
using Catch::Contains;
using rtrain::test::BoringModel;
using rtrain::test::Heard;
using rtrain::test::quiet;
using rtrain::test::same_bits;
using rtrain::test::State;
using rtrain::test::state_of;
using rtrain::test::WithFakeRecorder;

namespace {

struct Net : BoringModel {
  std::vector<double> losses;
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    const auto loss = loss_of(batch);
    log("loss", loss, {.on_step = true, .on_epoch = true});
    log("largest", batch.input.max(), {.on_epoch = true, .reduce_fx = ReduceFx::kMax});
    return {loss, {{"first", batch.input[0]}}};
  }
  void on_train_batch_end(const StepOutput& output, const Batch& batch, std::int64_t) override {
    CHECK(torch::equal(output.extras.at("first"), batch.input[0]));
    losses.push_back(output.loss.item<double>());
  }
  Optimizers configure_optimizers() override {
    auto adam = optim::AdamW(parameters(), {.lr = 0.1});
    return {adam, LRSchedulerConfig{.scheduler = lr::CosineAnnealingLR(adam, {.t_max = 20}),
                                    .interval = Interval::kStep}};
  }
};

struct Outcome {
  std::vector<double> losses;
  Metrics metrics;
  State weights;
  std::int64_t graphed = 0;
};

template <class Model = Net>
Outcome fitted(TrainerOptions options) {
  torch::manual_seed(7);
  Model net;
  // 7 batches of 4 and one of 2, three times
  const DataLoader loader(data::TensorDataset(torch::randn({30, 32})), {.batch_size = 4, .num_workers = 0});
  options.max_epochs = 3;
  Trainer trainer(quiet(std::move(options)));
  trainer.fit(net, loader, loader);
  return {net.losses, trainer.callback_metrics(), state_of(net), trainer.graphed_steps()};
}

std::string refusal(LightningModule& net, TrainerOptions options) {
  options.max_epochs = 1;
  options.cuda_graph = true;
  Trainer trainer(quiet(std::move(options)));
  try {
    trainer.fit(net, rtrain::test::boring_loader(8, 2));
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return {};
}

}  // namespace

TEST_CASE("cuda_graph: losses, metrics and weights are those of eager steps", "[graph][trainer]") {
  const auto eager = fitted({.gradient_clip_val = 0.5});
  const WithFakeRecorder fake;
  const Heard heard;
  const auto graphed = fitted({.gradient_clip_val = 0.5, .cuda_graph = true});
  CHECK(graphed.losses == eager.losses);
  CHECK(graphed.metrics == eager.metrics);
  CHECK(same_bits(graphed.weights, eager.weights));
  CHECK(eager.graphed == 0);
  CHECK(graphed.graphed == 21);  // of 24, without the warm-up
  CHECK(fake.recorder->records == 2);
  CHECK_THAT(heard.text(), !Contains("cuda_graph"));
}

TEST_CASE("cuda_graph on the CPU: one warning, and eager steps", "[graph][trainer]") {
  const auto eager = fitted({});
  const Heard heard;
  const auto asked = fitted({.cuda_graph = true});
  CHECK(asked.losses == eager.losses);
  CHECK(asked.graphed == 0);
  CHECK_THAT(heard.text(), Contains("cuda_graph: steps run eagerly: the device is the CPU"));
}

TEST_CASE("cuda_graph: what is logged as a number makes the steps eager, with one warning",
          "[graph][trainer]") {
  struct Counting : Net {
    StepOutput training_step(const Batch& batch, std::int64_t index) override {
      log("batch_idx", static_cast<double>(index));
      return Net::training_step(batch, index);
    }
  };
  const auto eager = fitted<Counting>({});
  const WithFakeRecorder fake;
  const Heard heard;
  const auto graphed = fitted<Counting>({.cuda_graph = true});
  CHECK(graphed.losses == eager.losses);
  CHECK(graphed.metrics == eager.metrics);
  CHECK(graphed.graphed == 0);
  CHECK_THAT(heard.text(), Contains("eagerly from here on: log(\"batch_idx\") of a number"));
}

TEST_CASE("cuda_graph: a step without a loss makes the steps eager", "[graph][trainer]") {
  struct Sometimes : Net {
    StepOutput training_step(const Batch& batch, std::int64_t index) override {
      if (index == 1) return std::nullopt;
      return Net::training_step(batch, index);
    }
    void on_train_batch_end(const StepOutput&, const Batch&, std::int64_t) override {}
  };
  const WithFakeRecorder fake;
  const Heard heard;
  CHECK(fitted<Sometimes>({.cuda_graph = true}).graphed == 0);
  CHECK_THAT(heard.text(), Contains("training_step returned no loss"));
}

TEST_CASE("cuda_graph: parameters that unfreeze are captured anew", "[graph][trainer]") {
  struct Late : Net {
    Late() { layer->bias.set_requires_grad(false); }
    void on_train_epoch_start() override {
      if (current_epoch() == 1) layer->bias.set_requires_grad(true);
    }
  };
  const auto eager = fitted<Late>({});
  const WithFakeRecorder fake;
  const auto graphed = fitted<Late>({.cuda_graph = true});
  CHECK(graphed.losses == eager.losses);
  CHECK(same_bits(graphed.weights, eager.weights));
  CHECK(fake.recorder->records == 4);  // two shapes, twice
}

TEST_CASE("cuda_graph: what a program cannot capture is refused at setup, all at once", "[graph][trainer]") {
  struct Hooked : Net {
    void on_after_backward() override {}
    void backward(const torch::Tensor& loss, const BackwardOptions& options) override {
      LightningModule::backward(loss, options);
    }
    Optimizers configure_optimizers() override { return optim::NAdam(parameters()); }
  };
  Hooked net;
  const auto text =
      refusal(net, {.accumulate_grad_batches = 2,
                    .detect_anomaly = true,
                    .callbacks = {LambdaCallback(
                        {.on_before_optimizer_step = [](Trainer&, LightningModule&, Optimizer&) {}})}});
  CHECK_THAT(text, Contains("set cuda_graph = false, or:"));
  CHECK_THAT(text, Contains("a step takes 2 batches"));
  CHECK_THAT(text, Contains("detect_anomaly"));
  CHECK_THAT(text, Contains("NAdam decides on the host"));
  CHECK_THAT(text, Contains("Hooked::on_after_backward()") && Contains("Hooked::backward()"));
  CHECK_THAT(text, Contains("LambdaCallback::on_before_optimizer_step()"));
  CHECK_THAT(text, !Contains("on_before_backward"));
}

TEST_CASE("cuda_graph: LBFGS and manual optimization are refused", "[graph][trainer]") {
  struct Exact : Net {
    Optimizers configure_optimizers() override { return optim::LBFGS(parameters()); }
  } exact;
  CHECK_THAT(refusal(exact, {}), Contains("LBFGS decides on the host"));
  struct Manual : Net {
    Manual() { set_automatic_optimization(false); }
  } manual;
  CHECK_THAT(refusal(manual, {}), Contains("automatic_optimization = false"));
}

TEST_CASE("cuda_graph: hooks of the batch, and callbacks that only measure, are no hindrance",
          "[graph][trainer]") {
  Net net;
  CHECK(refusal(net, {.callbacks = {LambdaCallback({.on_train_batch_end = [](auto&&...) {}})}}).empty());
}

TEST_CASE("cuda_graph: an accumulation that begins later makes the steps eager", "[graph][trainer]") {
  struct Accumulating : Net {
    void on_train_epoch_start() override {
      if (current_epoch() == 1) trainer().set_accumulate_grad_batches(2);
    }
  };
  const auto eager = fitted<Accumulating>({});
  const WithFakeRecorder fake;
  const Heard heard;
  const auto graphed = fitted<Accumulating>({.cuda_graph = true});
  CHECK(graphed.losses == eager.losses);
  CHECK(graphed.graphed == 5);
  CHECK_THAT(heard.text(), Contains("a step takes several batches now"));
}

TEST_CASE("channels_last lays weights and batches of images out as NHWC and learns the same",
          "[trainer][channels_last]") {
  struct Images : LightningModule {
    torch::nn::Conv2d layer = register_module("layer", torch::nn::Conv2d(3, 4, 3));
    bool as_wanted = true;
    bool wanted = false;
    StepOutput training_step(const Batch& batch, std::int64_t) override {
      for (const auto& tensor : {batch.input, layer->weight})
        as_wanted = as_wanted && tensor.is_contiguous(at::MemoryFormat::ChannelsLast) == wanted;
      return layer(batch.input).square().mean();
    }
    Optimizers configure_optimizers() override { return optim::AdamW(parameters()); }
  };
  const auto run = [](bool channels_last) {
    torch::manual_seed(3);
    Images net;
    net.wanted = channels_last;
    const DataLoader loader(data::TensorDataset(torch::randn({8, 3, 6, 6})),
                            {.batch_size = 4, .num_workers = 0});
    Trainer trainer(quiet({.max_epochs = 2, .channels_last = channels_last}));
    trainer.fit(net, loader);
    CHECK(net.as_wanted);
    return net.layer->weight.detach().contiguous();
  };
  CHECK(torch::allclose(run(true), run(false), 1e-4, 1e-6));
}

}  // namespace cuda_graph_test
