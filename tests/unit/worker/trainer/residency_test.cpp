// Data sets that lie on the device while they are read.
#include "worker/trainer/residency.h"

#include "tests/support/catch.h"
#include "tests/support/training.h"

#include <memory>
#include <vector>

namespace residency_test {

using namespace rtrain;
using rtrain::test::quiet;

namespace {

/// Counts its copies.
struct Counted : Dataset {
  mutable int copies = 0;
  [[nodiscard]] std::int64_t size() const override { return 6; }
  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices) const override {
    return {torch::ones({static_cast<std::int64_t>(indices.size()), 32}), {}};
  }
  [[nodiscard]] std::int64_t resident_bytes() const override { return 1000; }
  [[nodiscard]] std::shared_ptr<const Dataset> on_device(torch::Device) const override {
    ++copies;
    return data::TensorDataset(torch::zeros({6, 32}));
  }
};

struct Memory {
  explicit Memory(FreeMemory of) : before(replace_free_memory(of)) {}
  ~Memory() { replace_free_memory(before); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  FreeMemory before;
};

}  // namespace

TEST_CASE("residency: a data set may take less than a fifth of what is free", "[unit][trainer]") {
  CHECK(may_reside(199, 1000));
  CHECK_FALSE(may_reside(200, 1000));
  CHECK_FALSE(may_reside(0, 1000));
  CHECK_FALSE(may_reside(1, 0));
}

TEST_CASE("residency: a data set that fits is copied once, whoever reads it", "[unit][trainer]") {
  const auto set = std::make_shared<Counted>();
  const DataLoader loader(set, {.batch_size = 2, .residency = Residency::kAuto});
  std::vector<double> seen;
  const auto fit = [&] {
    seen.clear();
    test::BoringModel net;
    Trainer trainer(quiet({.max_epochs = 2,
                           .callbacks = {LambdaCallback(
                               {.on_train_batch_end = [&](Trainer&, LightningModule&, const StepOutput&,
                                                          const Batch& batch, std::int64_t) {
                                 seen.push_back(batch.input[0][0].item<double>());
                               }})}}));
    trainer.fit(net, loader, loader);
    return set->copies;
  };
  CHECK(fit() == 0);  // the CPU has its data where it is
  CHECK(seen == std::vector<double>(6, 1.0));
  {
    const Memory plenty([](torch::Device) { return std::int64_t{1} << 30; });
    CHECK(fit() == 1);
    CHECK(seen == std::vector<double>(6, 0.0));
  }
  const Memory little([](torch::Device) { return std::int64_t{4000}; });
  CHECK(fit() == 1);
  CHECK(seen == std::vector<double>(6, 1.0));
}

TEST_CASE("residency: nothing is copied that did not ask for it", "[unit][trainer]") {
  const Memory plenty([](torch::Device) { return std::int64_t{1} << 30; });
  const auto set = std::make_shared<Counted>();
  ResidentData resident;
  CHECK(resident.bring(DataLoader(set, {}), torch::kCPU).dataset() == set);
  const DataLoader asks(set, {.shuffle = true, .seed = 3, .residency = Residency::kAuto});
  const auto brought = resident.bring(asks, torch::kCPU);
  CHECK(brought.dataset() != set);
  CHECK(&brought.sampler() == &asks.sampler());
  CHECK(resident.bring(asks, torch::kCPU).dataset() == brought.dataset());
  CHECK(set->copies == 1);
  CHECK_THROWS_WITH(asks.with_dataset(data::TensorDataset(torch::zeros({5}))),
                    Catch::Contains("with_dataset() takes a data set of the same size"));
}

}  // namespace residency_test
