// Fifty optimizer steps with everything at once: under every strategy that shards they are those of one
// process on the joined batches, and those of PyTorch's FSDP2.
#include "tests/support/reference.h"
#include "tests/support/sharded_runs.h"
#include "tests/support/small_language.h"

#include <cstdlib>

using namespace rtrain;

namespace {

constexpr std::int64_t kSteps = 50;

/// Tied embedding, checkpointed blocks, a frozen block, parameter groups, a scheduler.
struct Checkpointed : test::Language {
  Checkpointed() : Language(true) {}
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    auto x = net->wte(batch.input) + net->wpe(torch::arange(batch.input.size(1)));
    for (const auto& block : *net->blocks)
      x = rtrain::checkpoint(
          [&block](const torch::Tensor& in) { return block->as<test::SmallBlockImpl>()->forward(in); }, x);
    return torch::cross_entropy_loss(torch::linear(net->ln(x), net->wte->weight).flatten(0, 1),
                                     batch.target.flatten());
  }
  /// The learning rate stays large enough for fifty steps to count.
  Optimizers configure_optimizers() override {
    auto adam = optim::AdamW(optim::split_decay(*this, 0.1), {.lr = 0.01});
    auto scheduler = lr::StepLR(adam, {.step_size = 1, .gamma = 0.9});
    return {{adam}, {scheduler}};
  }
};

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
  const auto x = torch::randn({test::kSamples, 1, 6, 6}, torch::kFloat64);
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

/// Under all strategies that shard, in worlds of 1 to 4 ranks. @param units what a unit is made of
void check_all(test::Comparison one, const std::vector<std::string>& units) {
  for (const int world : {1, 2, 3, 4}) {
    const auto expected = test::fitted_alone(one, world);
    for (const auto& strategy : strategies(world, units)) {
      INFO(strategy.name << ", " << world << " ranks");
      one.strategy = strategy.make;
      test::check_against(expected, one, world);
    }
  }
}

TrainerOptions fifty_steps() {
  return {.max_epochs = -1, .max_steps = kSteps, .limit_val_batches = std::int64_t{0}};
}

}  // namespace

TEST_CASE(
    "sharding_steps: a GPT with a tied embedding, accumulation, clipping, checkpointing, a frozen block",
    "[integration][sharding]") {
  check_all({.data = test::samples(),
             .make = [] { return std::make_shared<Checkpointed>(); },
             .options =
                 [] {
                   auto options = fifty_steps();
                   options.accumulate_grad_batches = 2;
                   options.gradient_clip_val = 0.05;
                   return options;
                 }},
            {"net.blocks.?"});
}

TEST_CASE("sharding_steps: a ResNet whose batch norms see the joined batch", "[integration][sharding]") {
  check_all({.data = pictures(),
             .make = [] { return std::make_shared<ResNet>(); },
             .options =
                 [] {
                   auto options = fifty_steps();
                   options.gradient_clip_val = 0.5;
                   options.sync_batchnorm = true;
                   return options;
                 }},
            {"first", "second"});
}

namespace {

/// What tests/reference/fsdp2.py trains.
struct Plain : LightningModule {
  explicit Plain(torch::Dtype dtype) { to(dtype); }
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    return torch::cross_entropy_loss(net(batch.input).flatten(0, 1), batch.target.flatten());
  }
  Optimizers configure_optimizers() override {
    const bool wide = net->wte->weight.dtype() == torch::kFloat64;
    return optim::AdamW(parameters(), {.lr = 1e-3, .eps = wide ? 1e-8 : 1e-3, .weight_decay = 0.1});
  }
  test::SmallTransformer net = register_module("net", test::SmallTransformer());
};

test::Tensors parameters_of(torch::nn::Module& module) {
  test::Tensors all;
  for (const auto& item : module.named_parameters()) all.emplace(item.key(), item.value().detach().clone());
  return all;
}

struct Width {
  torch::Dtype dtype;
  double tolerance;
};

}  // namespace

TEST_CASE("sharding_steps: two ranks train what PyTorch's FSDP2 trains", "[integration][sharding]") {
  const auto x = torch::randint(test::SmallTransformerImpl::kTokens,
                                {kSteps * 4, test::SmallTransformerImpl::kLength}, torch::kInt64);
  const auto y = (x * 3 + 1) % test::SmallTransformerImpl::kTokens;
  for (const auto& [dtype, tolerance] : {Width{torch::kFloat64, 1e-9}, Width{torch::kFloat32, 1e-5}}) {
    INFO(c10::toString(dtype));
    const auto make = [dtype = dtype] {
      torch::manual_seed(11);
      return std::make_shared<Plain>(dtype);
    };
    const test::Folder folder;
    const auto before = parameters_of(*make()->net);
    save_safetensors(folder / "initial.safetensors", {before, {}});
    save_safetensors(folder / "tokens.safetensors", {{{"x", x}, {"y", y}}, {}});
    if (!test::make_reference("fsdp2.py", folder.path())) return;
    const auto theirs = load_safetensors(folder / "final.safetensors").tensors;
    for (const auto& [name, tensor] : before)  // they did train
      CHECK((theirs.at(name) - tensor).abs().max().item<double>() > 1e-3);
    const auto results = test::results_of(2, [&](int rank) {
      const auto module = make();
      // Unless it has a sampler for ranks, the Trainer shuffles, as Lightning does.
      const auto order = std::make_shared<DistributedSampler>(
          x.size(0), DistributedSamplerOptions{.num_replicas = 2, .rank = rank, .shuffle = false});
      return test::fitted(
          *module,
          {.max_epochs = 1,
           .limit_val_batches = std::int64_t{0},
           .gradient_clip_val = 0.1,
           .strategy = FSDPStrategy({.auto_wrap_policy = wrap::modules<test::SmallBlockImpl>()})},
          DataLoader(data::TensorDataset(x, y), {.batch_size = 2, .sampler = order}));
    });
    const auto& ours = results[0];
    for (const auto& [name, tensor] : theirs) {
      INFO(name);
      CHECK((ours.at("net." + name) - tensor).abs().max().item<double>() < tolerance);
    }
  }
}
