// One rank of benchmarks/strategies.py: trains a GPT one step for each line of stdin that rank 0 gets.
//   strategies_probe STRATEGY WIDTH BATCH    with RANK, WORLD_SIZE and MASTER_PORT
// Rank 0 prints "ready", then the seconds of each step of all ranks.
#include "worker/sdk/group.h"

#include <rtrain/rtrain.h>

#include <torch/torch.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <string>

namespace {

using namespace rtrain;
using Clock = std::chrono::steady_clock;

constexpr std::int64_t kVocabulary = 2048, kLength = 64, kLayers = 4, kHeads = 4;

struct BlockImpl : torch::nn::Module {
  explicit BlockImpl(std::int64_t d)
      : ln1(register_module("ln1", torch::nn::LayerNorm(torch::nn::LayerNormOptions({d})))),
        ln2(register_module("ln2", torch::nn::LayerNorm(torch::nn::LayerNormOptions({d})))),
        qkv(register_module("qkv", torch::nn::Linear(d, 3 * d))),
        proj(register_module("proj", torch::nn::Linear(d, d))),
        fc(register_module("fc", torch::nn::Linear(d, 4 * d))),
        out(register_module("out", torch::nn::Linear(4 * d, d))) {}
  torch::Tensor forward(torch::Tensor x) {
    const auto n = x.size(0), t = x.size(1), d = x.size(2);
    const auto q = qkv(ln1(x)).view({n, t, 3, kHeads, d / kHeads}).permute({2, 0, 3, 1, 4});
    const auto a = at::scaled_dot_product_attention(q[0], q[1], q[2], {}, 0.0, /*is_causal=*/true);
    x = x + proj(a.transpose(1, 2).reshape({n, t, d}));
    return x + out(torch::gelu(fc(ln2(x))));
  }
  torch::nn::LayerNorm ln1, ln2;
  torch::nn::Linear qkv, proj, fc, out;
};
TORCH_MODULE(Block);

struct GPT : LightningModule {
  explicit GPT(std::int64_t d)
      : wte(register_module("wte", torch::nn::Embedding(kVocabulary, d))),
        wpe(register_module("wpe", torch::nn::Embedding(kLength, d))),
        blocks(register_module("blocks", torch::nn::ModuleList())),
        ln(register_module("ln", torch::nn::LayerNorm(torch::nn::LayerNormOptions({d})))) {
    for (std::int64_t i = 0; i < kLayers; ++i) blocks->push_back(Block(d));
    const torch::NoGradGuard no_grad;
    wte->weight.mul_(0.02);  // without it activations are denormal, and slow
    wpe->weight.mul_(0.02);
  }
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    auto x = wte(batch.input) + wpe(torch::arange(batch.input.size(1)));
    for (const auto& block : *blocks) x = block->as<Block>()->forward(x);
    return torch::cross_entropy_loss(torch::linear(ln(x), wte->weight).flatten(0, 1), batch.target.flatten());
  }
  Optimizers configure_optimizers() override { return optim::AdamW(parameters()); }
  torch::nn::Embedding wte, wpe;
  torch::nn::ModuleList blocks;
  torch::nn::LayerNorm ln;
};

AnyStrategy strategy_of(const std::string& name) {
  FSDPOptions options{.auto_wrap_policy = wrap::modules<BlockImpl>(), .forward_prefetch = true};
  if (name == "fsdp") return FSDPStrategy(options);
  options.sharding_strategy = ShardingStrategy::kShardGradOp;
  if (name == "zero2") return FSDPStrategy(options);
  return DDPStrategy({.gradient_as_bucket_view = true});
}

int number_of(const char* variable) {
  const char* text = std::getenv(variable);
  if (text == nullptr) throw std::runtime_error(std::string(variable) + " is not set");
  return std::atoi(text);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  try {
    at::set_num_threads(1);
    comm::JobGroupOptions group;
    group.rank = number_of("RANK");
    group.world_size = number_of("WORLD_SIZE");
    group.master_addr = group.node_address = "127.0.0.1";
    group.master_port = number_of("MASTER_PORT");
    sdk::join_group(group);
    torch::manual_seed(7);
    const auto width = std::atoll(argv[2]), batch = std::atoll(argv[3]);
    GPT model(width);
    torch::manual_seed(11);
    const auto tokens = torch::randint(kVocabulary, {1024 * batch, kLength}, torch::kInt64);
    Clock::time_point begin;
    TrainerOptions options{.max_epochs = -1,
                           .strategy = strategy_of(argv[1]),
                           .enable_checkpointing = false,
                           .enable_progress_bar = false};
    options.accelerator = "cpu";
    options.callbacks.push_back(LambdaCallback(
        {.on_train_batch_start =
             [&](Trainer& trainer, LightningModule&, const Batch&, std::int64_t step) {
               std::string line = "step";
               if (trainer.is_global_zero()) {
                 if (step == 0) std::cout << "ready" << std::endl;
                 if (!std::getline(std::cin, line)) line = "end";
               }
               if (trainer.strategy().broadcast(line) == "end") std::_Exit(0);
               begin = Clock::now();
             },
         .on_train_batch_end =
             [&](Trainer& trainer, LightningModule&, const StepOutput&, const Batch&, std::int64_t) {
               if (trainer.is_global_zero())
                 std::cout << std::chrono::duration<double>(Clock::now() - begin).count() << std::endl;
             }}));
    Trainer trainer(std::move(options));
    if (trainer.world_size() != group.world_size)
      throw std::runtime_error("the Trainer has " + std::to_string(trainer.world_size()) +
                               " ranks, expected " + std::to_string(group.world_size));
    trainer.fit(model, DataLoader(data::TensorDataset(tokens, tokens.roll(1, 1)), {.batch_size = batch}));
  } catch (const std::exception& error) {
    std::cerr << "strategies_probe: " << error.what() << std::endl;
    return 1;
  }
}
