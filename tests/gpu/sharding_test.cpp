// Parameters without memory on the device: layers whose kernels are CUDA's, cuDNN's and cuBLAS's read them.
#include "tests/support/catch.h"

#include "tests/gpu/device.h"

#include <map>
#include <memory>
#include <string>

using namespace rtrain;
using rtrain::test::device;
using rtrain::test::on_device;

namespace {

using State = std::map<std::string, torch::Tensor>;

struct Layers : LightningModule {
  torch::nn::Conv2d conv = register_module("conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 8, 3)));
  torch::nn::BatchNorm2d norm = register_module("norm", torch::nn::BatchNorm2d(8));
  torch::nn::LSTM lstm =
      register_module("lstm", torch::nn::LSTM(torch::nn::LSTMOptions(36, 16).batch_first(true)));
  torch::nn::MultiheadAttention attention =
      register_module("attention", torch::nn::MultiheadAttention(16, 2));
  torch::nn::LayerNorm ln = register_module("ln", torch::nn::LayerNorm(torch::nn::LayerNormOptions({16})));
  torch::nn::Embedding table = register_module("table", torch::nn::Embedding(10, 16));
  torch::nn::Linear out = register_module("out", torch::nn::Linear(16, 3));
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    auto x = torch::relu(norm(conv(batch.input))).flatten(2);
    x = std::get<0>(lstm(x)) + table(batch.target).unsqueeze(1);
    const auto t = ln(x).transpose(0, 1);
    x = std::get<0>(attention(t, t, t)).mean(0);
    return torch::nn::functional::cross_entropy(out(x), batch.target);
  }
  Optimizers configure_optimizers() override { return optim::AdamW(parameters(), {.lr = 0.01}); }
};

DataLoader images() {
  torch::manual_seed(11);
  return {data::TensorDataset(torch::randn({32, 1, 8, 8}), torch::randint(3, {32})), {.batch_size = 8}};
}

/// After two epochs.
State trained(AnyStrategy strategy) {
  torch::manual_seed(5);
  const auto module = std::make_shared<Layers>();
  Trainer trainer(on_device({.max_epochs = 2, .strategy = std::move(strategy)}));
  trainer.fit(module, images());
  State state;
  full_parameters(*module, [&] {
    for (const auto& item : module->named_parameters())
      state.emplace(item.key(), item.value().detach().cpu().clone());
  });
  return state;
}

/// With one rank nothing is sharded but where the types or the place of the shards ask for it.
FSDPOptions units(FSDPOptions options) {
  options.auto_wrap_policy = wrap::min_elements(200);
  return options;
}

double distance(const State& a, const State& b) {
  double sum = 0, count = 0;
  for (const auto& [name, tensor] : a) {
    sum += (tensor - b.at(name)).abs().sum().item<double>();
    count += static_cast<double>(tensor.numel());
  }
  return sum / count;
}

}  // namespace

TEST_CASE("gpu: layers train with parameters that come and go", "[gpu][sharding]") {
  const auto whole = trained("single_device");
  CHECK(distance(whole, trained(FSDPStrategy(units({.mixed_precision = ShardedMixedPrecision{}})))) < 1e-4);
  CHECK(distance(whole, trained(FSDPStrategy(units({.mixed_precision = ShardedMixedPrecision{},
                                                    .forward_prefetch = true})))) < 1e-4);
}

TEST_CASE("gpu: shards, gradients and the optimizer on the host", "[gpu][sharding]") {
  const auto whole = trained("single_device");
  CHECK(distance(whole, trained(FSDPStrategy(units({.cpu_offload = true})))) < 1e-4);
  CHECK(distance(whole, trained(DeepSpeedStrategy({.stage = 3,
                                                   .offload_optimizer = true,
                                                   .offload_parameters = true,
                                                   .auto_wrap_policy = wrap::min_elements(200)}))) < 1e-4);
}

TEST_CASE("gpu: bfloat16 parameters over float32 shards", "[gpu][sharding]") {
  const auto state = trained(
      FSDPStrategy(units({.mixed_precision = ShardedMixedPrecision{.param_dtype = torch::kBFloat16,
                                                                   .reduce_dtype = torch::kFloat32,
                                                                   .buffer_dtype = torch::kBFloat16}})));
  for (const auto& [name, tensor] : state) {
    INFO(name);
    CHECK(torch::isfinite(tensor).all().item<bool>());
  }
}

TEST_CASE("gpu: a model that was born sharded stays on the device from test to fit to test",
          "[gpu][sharding]") {
  struct Tested : Layers {
    torch::Tensor test_step(const Batch& batch, std::int64_t index) override {
      log("test_loss", training_step(batch, index).loss);
      return {};
    }
  };
  torch::manual_seed(5);
  const auto module = born_sharded([] { return std::make_shared<Tested>(); });
  Trainer trainer(on_device(
      {.max_epochs = 2, .strategy = FSDPStrategy(units({.mixed_precision = ShardedMixedPrecision{}}))}));
  const auto loss = [&] {
    (void)trainer.test(module, images());
    return trainer.callback_metrics().at("test_loss");
  };
  const auto before = loss();
  trainer.fit(module, images());
  for (const auto& parameter : module->parameters()) CHECK(parameter.device().type() == device().type());
  for (const auto& buffer : module->buffers()) CHECK(buffer.device().type() == device().type());
  CHECK(loss() < before);
}
