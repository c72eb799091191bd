// Batches on their way to the device: page-locked, made ahead, copied while others are made.
#include "tests/support/catch.h"

#include "tests/gpu/device.h"

#ifdef RTRAIN_WITH_NCCL
#include <ATen/cuda/Sleep.h>
#endif

#include <c10/core/CachingDeviceAllocator.h>

#include <vector>

using namespace rtrain;
using rtrain::test::device;
using rtrain::test::on_cuda;

namespace {

constexpr std::int64_t kSamples = 1003, kBatch = 64, kWidth = 512;

/// Row i holds i everywhere, and its target is i.
DataLoader rows(int num_workers) {
  const auto numbers = torch::arange(kSamples);
  return {data::TensorDataset(numbers.to(torch::kFloat).unsqueeze(1).expand({kSamples, kWidth}), numbers),
          {.batch_size = kBatch, .num_workers = num_workers, .pin_memory = on_cuda()}};
}

}  // namespace

TEST_CASE("gpu: batches arrive whole and in order, from page-locked memory", "[gpu][data]") {
  for (const int num_workers : {0, 1, 4}) {
    INFO("num_workers " << num_workers);
    auto batches = rows(num_workers).epoch(0);
    std::vector<Batch> arrived;
    while (auto batch = batches.next()) {
      CHECK(batch->input.is_cpu());
      if (on_cuda()) {
        CHECK(batch->input.is_pinned());
        CHECK(batch->target.is_pinned());
      }
      // The copy may still run when the batch goes: its memory must not be given to the next one before.
      arrived.push_back(batch->to(device(), /*non_blocking=*/true));
    }
    test::synchronize();
    REQUIRE(arrived.size() == (kSamples + kBatch - 1) / kBatch);
    for (std::size_t i = 0; i < arrived.size(); ++i) {
      const auto first = static_cast<std::int64_t>(i) * kBatch;
      const auto wanted = torch::arange(first, std::min(first + kBatch, kSamples));
      INFO("batch " << i);
      CHECK(arrived[i].input.device().type() == device().type());
      CHECK(torch::equal(arrived[i].target.cpu(), wanted));
      CHECK(torch::equal(arrived[i].input.cpu(), wanted.to(torch::kFloat).unsqueeze(1).expand({-1, kWidth})));
    }
  }
}

TEST_CASE("gpu: a batch that is let go while the GPU still computes with it keeps its values",
          "[gpu][data]") {
  constexpr int kBatches = 60;
  auto sum = torch::zeros({1}, torch::TensorOptions(torch::kDouble).device(device()));
  for (int i = 0; i < kBatches; ++i) {
    auto numbers = torch::full({kBatch, kWidth}, static_cast<double>(i));
    const Batch batch{on_cuda() && i % 2 == 0 ? numbers.pin_memory() : numbers, {}};
#ifdef RTRAIN_WITH_NCCL
    if (on_cuda()) at::cuda::sleep(2'000'000);  // the copies are far ahead of what reads them
#endif
    sum += batch.to(device()).input.to(torch::kDouble).mean();
  }
  CHECK(sum.item<double>() == kBatches * (kBatches - 1) / 2);
}

TEST_CASE("gpu: a host that is far ahead holds the memory of a few batches", "[gpu][data]") {
  constexpr int kBatches = 60;
  constexpr std::int64_t kBytes = 4 << 20;
  const auto pinned = [] {
    auto numbers = torch::ones({kBytes / 4});
    return Batch{on_cuda() ? numbers.pin_memory() : numbers, {}};
  }();
  auto sum = torch::zeros({1}, torch::TensorOptions().device(device()));
  c10::DeviceAllocator* memory = on_cuda() ? at::getDeviceAllocator(device().type()) : nullptr;
  if (memory != nullptr) memory->resetPeakStats(0);
  const auto active = [&](bool peak) {  // of memory that is not free for others yet
    const auto bytes = memory->getDeviceStats(0).active_bytes[0];
    return peak ? bytes.peak : bytes.current;
  };
  const auto before = memory != nullptr ? active(false) : 0;
  for (int i = 0; i < kBatches; ++i) {
#ifdef RTRAIN_WITH_NCCL
    if (on_cuda()) at::cuda::sleep(2'000'000);
#endif
    sum += pinned.to(device()).input[0];
  }
  CHECK(sum.item<float>() == kBatches);
  if (memory != nullptr) CHECK(active(true) - before < 12 * kBytes);
}

TEST_CASE("gpu: samples that lie on the device are picked there", "[gpu][data]") {
  const auto numbers = torch::arange(kSamples).to(device());
  const DataLoader loader(data::TensorDataset(numbers.to(torch::kFloat).unsqueeze(1), numbers),
                          {.batch_size = kBatch, .shuffle = true, .num_workers = 2, .seed = 5});
  auto batches = loader.epoch(0);
  std::vector<torch::Tensor> seen;
  while (const auto batch = batches.next()) {
    CHECK(batch->input.device().type() == device().type());
    CHECK(torch::equal(batch->input.squeeze(1).to(torch::kLong), batch->target));
    seen.push_back(batch->target);
  }
  CHECK(torch::equal(std::get<0>(torch::cat(seen).sort()), numbers));
}

TEST_CASE("gpu: the Trainer gives each sample to the step once, on the device", "[gpu][data]") {
  struct Sums : LightningModule {
    torch::Tensor weight = register_parameter("weight", torch::ones({1}));
    torch::Tensor sum;
    StepOutput training_step(const Batch& batch, std::int64_t) override {
      CHECK(batch.input.device().type() == device().type());
      const auto seen = batch.input.select(1, 0).sum().to(torch::kDouble) + batch.target.sum();
      sum = sum.defined() ? sum + seen : seen;
      return weight.sum();
    }
    Optimizers configure_optimizers() override { return optim::SGD(parameters(), {.lr = 0.1}); }
  };
  Sums net;
  Trainer trainer(test::on_device({.max_epochs = 1}));
  trainer.fit(net, rows(4));
  CHECK(net.sum.item<double>() == static_cast<double>(kSamples * (kSamples - 1)));
}
