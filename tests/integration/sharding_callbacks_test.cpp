// Callbacks that read and change weights between steps, under strategies that shard them.
#include "tests/support/sharded_runs.h"
#include "tests/support/small_language.h"
#include "tests/support/state.h"

#include <c10/util/Exception.h>

using namespace rtrain;
using rtrain::test::blocks;
using rtrain::test::check_against_alone;
using rtrain::test::check_close;
using rtrain::test::Folder;
using rtrain::test::kBothEnded;
using rtrain::test::Language;
using rtrain::test::quiet;
using rtrain::test::run_ranks;
using rtrain::test::same_bits;
using rtrain::test::samples;
using rtrain::test::SmallBlockImpl;
namespace fs = std::filesystem;

namespace {

using MakeCallback = std::function<std::shared_ptr<Callback>()>;

template <class C, class Options>
MakeCallback made(const Options& options) {
  return [options] { return std::make_shared<C>(options); };
}

const MakeCallback kMean = made<WeightAveraging>(WeightAveragingOptions{});
const MakeCallback kExponential =
    made<EMAWeightAveraging>(EMAWeightAveragingOptions{.decay = 0.8, .update_starting_at_step = 3});
const MakeCallback kOfEpochs = made<StochasticWeightAveraging>(
    StochasticWeightAveragingOptions{.swa_lrs = {0.02}, .swa_epoch_start = 2, .annealing_epochs = 2});

void check(const MakeCallback& callback, const FSDPOptions& fsdp, int world) {
  check_against_alone({.data = samples(),
                       .make = [] { return std::make_shared<Language>(); },
                       .strategy = [&] { return FSDPStrategy(fsdp); },
                       .options =
                           [&] {
                             TrainerOptions options{.max_epochs = 3};
                             options.callbacks.push_back(callback());
                             return options;
                           }},
                      world);
}

/// Fits on this rank and leaves what it has in the end, and a checkpoint of every epoch.
/// @param ranks 0: this process trains alone on the joined batches of two.
void fit(const fs::path& folder, int ranks, const MakeCallback& callback, const CheckpointPath& from = {},
         const fs::path& weights = {}) {
  torch::manual_seed(100);
  Language net;
  TrainerOptions options{.max_epochs = 4};
  if (ranks == 0)
    options.strategy = "single_device";
  else
    options.strategy = FSDPStrategy(blocks());
  options.callbacks.push_back(callback());
  options.callbacks.push_back(
      ModelCheckpoint({.dirpath = folder, .filename = "{epoch}", .save_top_k = -1, .every_n_epochs = 1}));
  Trainer trainer(quiet(std::move(options)));
  DataLoaderOptions loading{.batch_size = ranks == 0 ? 4 : 2, .shuffle = ranks != 0};
  if (ranks == 0)
    loading.sampler = std::make_shared<DistributedSampler>(
        test::kSamples, DistributedSamplerOptions{.num_replicas = 1, .rank = 0});
  const DataLoader loader(samples(), loading);
  trainer.fit(net, loader, loader, from);
  if (weights.empty()) return;
  full_parameters(net, [&] { save_safetensors(weights, {test::state_of(net), {}}); });
}

}  // namespace

TEST_CASE("sharded: averages of the weights are those of one process", "[integration][fsdp]") {
  for (const auto& callback : {kMean, kExponential, kOfEpochs}) {
    check(callback, blocks(), 2);
    check(callback, blocks({.sharding_strategy = ShardingStrategy::kShardGradOp}), 2);
  }
  check(kExponential, {.auto_wrap_policy = wrap::min_elements(100)}, 3);
  check(kMean, blocks({.sharding_strategy = ShardingStrategy::kHybridShard, .device_mesh = {{2, 2}}}), 4);
}

TEST_CASE("sharded: a checkpoint with averages holds whole tensors, and resumes with the same bits",
          "[integration][fsdp]") {
  for (const auto& callback : {kMean, kExponential, kOfEpochs}) {
    const Folder folder;
    REQUIRE(run_ranks(2, [&](int rank) {
              fit(folder / "whole", 2, callback, {}, folder / ("whole" + std::to_string(rank)));
            }) == kBothEnded);
    REQUIRE(run_ranks(2, [&](int rank) {
              fit(folder / "rest", 2, callback, folder / "whole/epoch=1.ckpt",
                  folder / ("rest" + std::to_string(rank)));
            }) == kBothEnded);
    const auto whole = load_safetensors(folder / "whole0").tensors;
    CHECK(same_bits(whole, load_safetensors(folder / "rest0").tensors));
    CHECK(same_bits(whole, load_safetensors(folder / "rest1").tensors));
    // One process saves the same averages and current weights, by the same names.
    fit(folder / "alone", 0, callback);
    for (const std::string file : {"model.safetensors", "extra.safetensors", "optimizer.safetensors"}) {
      INFO(file);
      const auto sharded = load_safetensors(folder / "whole/epoch=2.ckpt" / file).tensors;
      const auto alone = load_safetensors(folder / "alone/epoch=2.ckpt" / file).tensors;
      REQUIRE(!alone.empty());
      check_close(alone, sharded, 1e-9);
      for (const auto& [name, tensor] : alone) CHECK(tensor.sizes() == sharded.at(name).sizes());
    }
    // Another number of ranks goes on from it, and so does one process.
    CHECK(run_ranks(3, [&](int) { fit(folder / "three", 3, callback, folder / "whole/epoch=1.ckpt"); }) ==
          std::vector<int>{0, 0, 0});
    fit(folder / "one", 0, callback, folder / "whole/epoch=1.ckpt");
    check_close(load_safetensors(folder / "whole/epoch=3.ckpt/model.safetensors").tensors,
                load_safetensors(folder / "one/epoch=3.ckpt/model.safetensors").tensors, 1e-9);
  }
}

TEST_CASE("sharded: the learning rate that is found is that of one process", "[integration][fsdp]") {
  // Rates at which rounding does not grow to anything.
  check(made<LearningRateFinder>(LearningRateFinderOptions{
            .min_lr = 1e-4, .max_lr = 0.02, .num_training_steps = 15, .early_stop_threshold = std::nullopt}),
        blocks(), 2);
}

TEST_CASE("sharded: trials of batch sizes leave no trace, also where they run out of memory",
          "[integration][fsdp]") {
  struct Sized : test::Language {
    explicit Sized(std::int64_t batch_size) : size(batch_size) {
      to(torch::kFloat32);
      // Late in backward: other units have their gradients by then.
      net->wte->weight.register_hook([this](const torch::Tensor& gradient) {
        TORCH_CHECK_WITH(OutOfMemoryError, latest <= 8, "no memory is left for this test");
        return gradient;
      });
    }
    bool set_batch_size(std::int64_t to) override { return size = to, true; }
    DataLoaders train_dataloader() override { return DataLoader(samples(), {.batch_size = size}); }
    StepOutput training_step(const Batch& batch, std::int64_t) override {
      latest = batch.size();
      return loss_of(batch);
    }
    std::int64_t size, latest = 0;
  };
  const auto run = [](const std::shared_ptr<Callback>& finder, std::int64_t size) {
    torch::manual_seed(100);
    Sized net(size);
    TrainerOptions options{.max_epochs = 1,
                           .strategy = FSDPStrategy(blocks(
                               {.mixed_precision = ShardedMixedPrecision{.param_dtype = torch::kBFloat16}}))};
    if (finder) options.callbacks.push_back(finder);
    Trainer trainer(quiet(std::move(options)));
    trainer.fit(net);
    // The float32 weights of the shards.
    test::State state;
    for (const auto& [name, piece] : trainer.strategy().module_state(net))
      state.emplace(name, piece.tensor.detach().clone());
    return state;
  };
  const auto finder = std::make_shared<BatchSizeFinder>(BatchSizeFinderOptions{.init_val = 2});
  const auto found = run(finder, 1);
  CHECK(finder->optimal_batch_size() == 8);
  CHECK(same_bits(found, run(nullptr, 8)));
}
