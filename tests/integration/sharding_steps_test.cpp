// Fifty optimizer steps with everything at once: under every strategy that shards they are those of one
// process on the joined batches, and those of PyTorch's FSDP2.
#include "tests/support/sharded_runs.h"
#include "tests/support/small_transformer.h"

#include <cstdlib>

using namespace rtrain;
using rtrain::test::check_against_alone;
using rtrain::test::SmallBlockImpl;
using rtrain::test::SmallTransformer;
using rtrain::test::SmallTransformerImpl;

namespace {

constexpr std::int64_t kSteps = 50, kSamples = 96;

/// Tied embedding, checkpointed blocks, a frozen block, parameter groups, a scheduler.
struct Language : LightningModule {
  Language() {
    for (auto& parameter : net->blocks[1]->parameters()) parameter.set_requires_grad(false);
    to(torch::kFloat64);
  }
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    auto x = net->wte(batch.input) + net->wpe(torch::arange(batch.input.size(1)));
    for (const auto& block : *net->blocks)
      x = rtrain::checkpoint(
          [&block](const torch::Tensor& in) { return block->as<SmallBlockImpl>()->forward(in); }, x);
    return torch::cross_entropy_loss(torch::linear(net->ln(x), net->wte->weight).flatten(0, 1),
                                     batch.target.flatten());
  }
  Optimizers configure_optimizers() override {
    auto adam = optim::AdamW(optim::split_decay(*this, 0.1), {.lr = 0.01});
    auto scheduler = lr::StepLR(adam, {.step_size = 1, .gamma = 0.9});
    return {{adam}, {scheduler}};
  }
  SmallTransformer net = register_module("net", SmallTransformer());
};

std::shared_ptr<Dataset> tokens() {
  torch::manual_seed(4);
  const std::vector<std::int64_t> shape{kSamples, SmallTransformerImpl::kLength};
  const auto x = torch::randint(SmallTransformerImpl::kTokens, shape, torch::kInt64);
  return data::TensorDataset(x, (x * 3 + 1) % SmallTransformerImpl::kTokens);
}

/// ResNet's blocks, small: its batch norms see the joined batch.
struct ResidualBlockImpl : torch::nn::Module {
  ResidualBlockImpl(std::int64_t in, std::int64_t out, std::int64_t stride)
      : conv1(register_module("conv1", conv(in, out, 3, stride))),
        conv2(register_module("conv2", conv(out, out, 3, 1))),
        bn1(register_module("bn1", torch::nn::BatchNorm2d(out))),
        bn2(register_module("bn2", torch::nn::BatchNorm2d(out))) {
    if (in != out) down = register_module("down", conv(in, out, 1, stride));
  }
  static torch::nn::Conv2d conv(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride) {
    return torch::nn::Conv2d(
        torch::nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).bias(false));
  }
  torch::Tensor forward(const torch::Tensor& x) {
    return torch::relu(bn2(conv2(torch::relu(bn1(conv1(x))))) + (down ? down(x) : x));
  }
  torch::nn::Conv2d conv1, conv2, down{nullptr};
  torch::nn::BatchNorm2d bn1, bn2;
};
TORCH_MODULE(ResidualBlock);

struct ResNet : LightningModule {
  ResNet() { to(torch::kFloat64); }
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    const auto x = second(first(torch::relu(bn(stem(batch.input))))).mean({2, 3});
    return torch::cross_entropy_loss(head(x), batch.target);
  }
  Optimizers configure_optimizers() override {
    return optim::SGD(parameters(), {.lr = 0.05, .momentum = 0.9, .weight_decay = 1e-3});
  }
  torch::nn::Conv2d stem = register_module("stem", ResidualBlockImpl::conv(1, 4, 3, 1));
  torch::nn::BatchNorm2d bn = register_module("bn", torch::nn::BatchNorm2d(4));
  ResidualBlock first = register_module("first", ResidualBlock(4, 4, 1)),
                second = register_module("second", ResidualBlock(4, 8, 2));
  torch::nn::Linear head = register_module("head", torch::nn::Linear(8, 3));
};

std::shared_ptr<Dataset> pictures() {
  torch::manual_seed(4);
  const auto x = torch::randn({kSamples, 1, 6, 6}, torch::kFloat64);
  return data::TensorDataset(x, x.flatten(1).sum(1).mul(0.5).floor().to(torch::kInt64).remainder(3));
}

struct Named {
  std::string name;
  std::function<AnyStrategy()> make;
};
Named fsdp(const std::string& name, FSDPOptions options) {
  return {name, [options] { return FSDPStrategy(options); }};
}
Named stage(int number, const std::vector<std::string>& units) {
  return {"ZeRO stage " + std::to_string(number),
          [=] { return DeepSpeedStrategy({.stage = number, .auto_wrap_policy = wrap::names(units)}); }};
}

/// All that shard, of a module with these units. Unless RTRAIN_TEST_ALL_WORLDS asks for all, those but
/// FULL_SHARD are tried with 3 ranks only.
std::vector<Named> strategies(int world, const std::vector<std::string>& units) {
  const auto options = [&](FSDPOptions given) {
    given.auto_wrap_policy = wrap::names(units);
    return given;
  };
  std::vector<Named> all{fsdp("FULL_SHARD", options({}))};
  if (world == 4)
    all.push_back(fsdp("HYBRID_SHARD", options({.sharding_strategy = ShardingStrategy::kHybridShard,
                                                .device_mesh = {{2, 2}}})));
  if (world != 3 && std::getenv("RTRAIN_TEST_ALL_WORLDS") == nullptr) return all;
  all.push_back(fsdp("SHARD_GRAD_OP", options({.sharding_strategy = ShardingStrategy::kShardGradOp})));
  all.push_back(fsdp("NO_SHARD", options({.sharding_strategy = ShardingStrategy::kNoShard})));
  for (const int number : {1, 2, 3}) all.push_back(stage(number, units));
  return all;
}

}  // namespace

TEST_CASE(
    "sharding_steps: a GPT with a tied embedding, accumulation, clipping, checkpointing, a frozen block",
    "[integration][sharding]") {
  for (const int world : {1, 2, 3, 4})
    for (const auto& strategy : strategies(world, {"net.blocks.?"})) {
      INFO(strategy.name << ", " << world << " ranks");
      check_against_alone({.data = tokens(),
                           .make = [] { return std::make_shared<Language>(); },
                           .strategy = strategy.make,
                           .options =
                               [] {
                                 return TrainerOptions{.max_epochs = -1,
                                                       .max_steps = kSteps,
                                                       .limit_val_batches = std::int64_t{0},
                                                       .accumulate_grad_batches = 2,
                                                       .gradient_clip_val = 0.05};
                               }},
                          world);
    }
}

TEST_CASE("sharding_steps: a ResNet whose batch norms see the joined batch", "[integration][sharding]") {
  for (const int world : {1, 2, 3, 4})
    for (const auto& strategy : strategies(world, {"first", "second"})) {
      INFO(strategy.name << ", " << world << " ranks");
      check_against_alone({.data = pictures(),
                           .make = [] { return std::make_shared<ResNet>(); },
                           .strategy = strategy.make,
                           .options =
                               [] {
                                 return TrainerOptions{.max_epochs = -1,
                                                       .max_steps = kSteps,
                                                       .limit_val_batches = std::int64_t{0},
                                                       .gradient_clip_val = 0.5,
                                                       .sync_batchnorm = true};
                               }},
                          world);
    }
}
