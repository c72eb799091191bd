// What estimate_memory() counts, held against sizes that are known.
#include <rtrain/rtrain.h>

#include "tests/support/catch.h"

#include <torch/torch.h>

namespace memory_estimate_test {

using namespace rtrain;
using Catch::Matchers::Contains;

namespace {

constexpr std::int64_t kWidth = 64, kBatch = 16, kBytes = 4;

struct Net : LightningModule {
  torch::nn::Linear a = register_module("a", torch::nn::Linear(kWidth, kWidth)),
                    frozen = register_module("frozen", torch::nn::Linear(kWidth, kWidth));
  torch::nn::BatchNorm1d norm = register_module("norm", torch::nn::BatchNorm1d(kWidth));
  Net() {
    for (auto& parameter : frozen->parameters()) parameter.set_requires_grad(false);
  }
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    const auto loss = frozen(torch::sigmoid(norm(a(batch.input)))).square().mean();
    log("loss", loss);
    return loss;
  }
  Optimizers configure_optimizers() override { return optim::Adam(parameters(), {.lr = 0.1}); }
};

DataLoader loader(std::int64_t batches = 4) {
  return {data::TensorDataset(torch::randn({batches * kBatch, kWidth})), {.batch_size = kBatch}};
}

constexpr std::int64_t kLinear = (kWidth * kWidth + kWidth) * kBytes, kNorm = 2 * kWidth * kBytes;

}  // namespace

TEST_CASE("memory estimate: parameters, gradients, state and buffers are what they are", "[unit][worker]") {
  Net net;
  const auto estimate = estimate_memory(net, loader(), {.num_ranks = {1, 2}});
  CHECK(estimate.parameters == 2 * kLinear + kNorm);
  CHECK(estimate.gradients == kLinear + kNorm);
  CHECK(estimate.buffers == 2 * kWidth * kBytes + 8);  // mean, variance, number of batches
  // Two moments, and a counter of steps at most.
  CHECK(estimate.optimizer_state >= 2 * estimate.gradients);
  CHECK(estimate.optimizer_state <= 2 * estimate.gradients + 1024);
  // The backward of the sigmoid keeps what it gave, that of the norm what it got; the loss needs its input.
  constexpr std::int64_t kOne = kBatch * kWidth * kBytes;
  CHECK(estimate.activations >= 3 * kOne);
  CHECK(estimate.activations <= 8 * kOne + 2 * kWidth * kWidth * kBytes);
  CHECK(estimate.largest_unit == estimate.parameters);  // wrap::children() finds no list of layers
  std::vector<std::string> names;
  for (const auto& rank : estimate.ranks) names.push_back(rank.strategy);
  CHECK(names == std::vector<std::string>{"single_device", "ddp", "deepspeed_stage_1", "deepspeed_stage_2",
                                          "fsdp", "fsdp_cpu_offload"});
  const auto& alone = estimate.ranks[0];
  CHECK(alone.total() == estimate.parameters + estimate.buffers + estimate.gradients +
                             estimate.optimizer_state + estimate.activations);
  CHECK(alone.host == 0);
  CHECK(estimate.ranks[5].host > 0);
  CHECK_THAT(estimate.table(), Contains("fsdp_cpu_offload") && Contains("activations"));
}

TEST_CASE("memory estimate: a batch twice as large keeps twice as much", "[unit][worker]") {
  Net net;
  const auto small = estimate_memory(net, loader());
  const auto large = estimate_memory(
      net, {data::TensorDataset(torch::randn({4 * 64 * kBatch, kWidth})), {.batch_size = 64 * kBatch}});
  CHECK(large.gradients == small.gradients);
  const double ratio = static_cast<double>(large.activations) / static_cast<double>(small.activations);
  CHECK(ratio > 20);
  CHECK(ratio < 65);
}

TEST_CASE("memory estimate: the module is afterwards as before", "[unit][worker]") {
  torch::manual_seed(3);
  Net net;
  std::vector<torch::Tensor> before;
  for (const auto& item : net.named_parameters()) before.push_back(item.value().detach().clone());
  const auto mean = net.norm->running_mean.clone();
  (void)estimate_memory(net, loader());
  for (std::size_t i = 0; i < before.size(); ++i) {
    CHECK(torch::equal(net.parameters()[i], before[i]));
    CHECK_FALSE(net.parameters()[i].grad().defined());
  }
  CHECK(torch::equal(net.norm->running_mean, mean));
}

TEST_CASE("memory estimate: what cannot be measured is an error", "[unit][worker]") {
  Net net;
  CHECK_THROWS_WITH(estimate_memory(net, loader(), {.num_ranks = {2, 0}}), Contains("num_ranks has 0"));
  CHECK_THROWS_WITH(estimate_memory(net, loader(1)), Contains("two steps"));
}

TEST_CASE("memory estimate: a step that fails leaves the module as it was", "[unit][worker]") {
  struct Fails : Net {
    StepOutput training_step(const Batch&, std::int64_t) override { throw std::runtime_error("no step"); }
  } net;
  const auto before = net.a->weight.detach().clone();
  CHECK_THROWS_WITH(estimate_memory(net, loader()), Contains("no step"));
  CHECK(torch::equal(net.a->weight, before));
  const auto hooks = torch::autograd::impl::get_autograd_meta(net.a->weight)->cpp_hooks_list_;
  REQUIRE(hooks != nullptr);
  for (const auto& hook : *hooks) CHECK_FALSE(hook);
}

}  // namespace memory_estimate_test
