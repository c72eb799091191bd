// Mixed precision on two ranks: gradients are those of the ranks' batches, averaged in float32, and an
// infinity on one rank is one on all.
#include "tests/support/ranks.h"
#include "tests/support/state.h"

#include <limits>
#include <map>

using namespace rtrain;
using rtrain::test::Folder;
using rtrain::test::kBothEnded;
using rtrain::test::quiet;
using rtrain::test::run_ranks;
using rtrain::test::state_of;

namespace {

constexpr std::int64_t kBatch = 8, kSteps = 6;
constexpr double kRate = 0.25;

struct Line : LightningModule {
  torch::nn::Linear layer = register_module("layer", torch::nn::Linear(6, 3));
  bool infinite = false;  ///< the loss of the second batch
  Line() {
    torch::manual_seed(9);
    const torch::NoGradGuard no_grad;
    for (auto& p : parameters()) p.uniform_(-1, 1);
  }
  torch::Tensor loss_of(const Batch& batch) { return torch::mse_loss(layer(batch.input), batch.target); }
  StepOutput training_step(const Batch& batch, std::int64_t i) override {
    const auto loss = loss_of(batch);
    return infinite && i == 1 ? loss * std::numeric_limits<float>::infinity() : loss;
  }
  Optimizers configure_optimizers() override { return optim::SGD(parameters(), {.lr = kRate}); }
};

/// The batch of a rank in a step.
Batch batch_of(std::int64_t step, int rank) {
  torch::manual_seed(static_cast<std::uint64_t>(100 + 2 * step + rank));
  return {torch::randn({kBatch, 6}), torch::randn({kBatch, 3})};
}

DataLoader loader_of(int rank) {
  std::vector<torch::Tensor> x, y;
  for (std::int64_t step = 0; step < kSteps; ++step) {
    const auto batch = batch_of(step, rank);
    x.push_back(batch.input);
    y.push_back(batch.target);
  }
  return {data::TensorDataset(torch::cat(x), torch::cat(y)), {.batch_size = kBatch}};
}

std::map<std::string, torch::Tensor> train(Line& model, int rank, AnyPrecision precision) {
  Trainer trainer(quiet({.max_epochs = 1,
                         .precision = std::move(precision),
                         .strategy = DDPStrategy(),
                         .use_distributed_sampler = false}));
  trainer.fit(model, loader_of(rank));
  auto end = state_of(model);
  if (const auto state = trainer.precision_plugin().state(); !state.is_null())
    end.emplace("scale", torch::tensor(state.at("scale").get<double>()));
  return end;
}

}  // namespace

TEST_CASE("ddp: bf16-mixed averages what each rank's autocast gives", "[integration][ddp][precision]") {
  const Folder folder;
  REQUIRE(run_ranks(2, [&](int rank) {
            Line model;
            save_safetensors(folder / std::to_string(rank), {train(model, rank, "bf16-mixed"), {}});
          }) == kBothEnded);
  const auto first = load_safetensors(folder / "0").tensors, second = load_safetensors(folder / "1").tensors;

  // w -= lr (g0 + g1) / 2, with g of autocast in bfloat16 and w in float32.
  const auto by_hand = [](bool autocast) {
    Line model;
    for (std::int64_t step = 0; step < kSteps; ++step) {
      std::map<std::string, torch::Tensor> sum;
      for (int rank = 0; rank < 2; ++rank) {
        torch::Tensor loss;
        if (autocast) {
          const AutocastScope scope(torch::kCPU, torch::kBFloat16);
          loss = model.loss_of(batch_of(step, rank));
        } else {
          loss = model.loss_of(batch_of(step, rank));
        }
        model.zero_grad();
        loss.backward();
        for (const auto& item : model.named_parameters()) {
          const auto part = item.value().grad() / 2;
          sum[item.key()] = rank == 0 ? part : sum[item.key()] + part;
        }
      }
      const torch::NoGradGuard no_grad;
      for (auto& item : model.named_parameters()) item.value().sub_(sum.at(item.key()), kRate);
    }
    return state_of(model);
  };
  const auto expected = by_hand(true), in_float32 = by_hand(false);
  for (const auto& [name, tensor] : expected) {
    INFO(name);
    CHECK(torch::equal(first.at(name), second.at(name)));
    CHECK(torch::allclose(first.at(name), tensor, 1e-6, 1e-7));
    CHECK_FALSE(torch::allclose(first.at(name), in_float32.at(name), 1e-4, 1e-5));
  }
}

TEST_CASE("ddp: an infinity on one rank leaves the step out on all", "[integration][ddp][precision]") {
  const Folder folder;
  REQUIRE(run_ranks(2, [&](int rank) {
            Line model;
            model.infinite = rank == 1;
            save_safetensors(
                folder / std::to_string(rank),
                {train(model, rank, MixedPrecision("16-mixed", GradScalerOptions{.init_scale = 256})), {}});
          }) == kBothEnded);
  const auto first = load_safetensors(folder / "0").tensors, second = load_safetensors(folder / "1").tensors;
  for (const auto& [name, tensor] : first) {
    INFO(name);
    CHECK(torch::equal(tensor, second.at(name)));
    CHECK(tensor.isfinite().all().item<bool>());
  }
  CHECK(first.at("scale").item<double>() == 128);
}
