// Ranks that shard a model train what one process trains on the joined batches.
#include "tests/support/sharded_runs.h"
#include "tests/support/small_language.h"

#include <rtrain/strategies/fsdp.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <numeric>
#include <thread>

using namespace rtrain;
using Catch::Matchers::Contains;
using rtrain::test::blocks;
using rtrain::test::Folder;
using rtrain::test::Language;
using rtrain::test::quiet;
using rtrain::test::run_ranks;
using rtrain::test::samples;
using rtrain::test::SmallBlockImpl;

namespace {

struct Case {
  std::string name;
  FSDPOptions fsdp{};
  TrainerOptions trainer{.max_epochs = 2};
  bool frozen_block = false;
};

void check(const Case& one, int world) {
  INFO(one.name << ", " << world << " ranks");
  test::check_against_alone({.data = samples(),
                             .make = [&] { return std::make_shared<Language>(one.frozen_block); },
                             .strategy = [&] { return FSDPStrategy(one.fsdp); },
                             .options = [&] { return one.trainer; }},
                            world);
}

}  // namespace

TEST_CASE("fsdp: ranks that shard a model train what one process trains", "[integration][fsdp]") {
  for (const int world : {2, 3, 4}) {
    check({.name = "a unit a block", .fsdp = blocks()}, world);
    check({.name = "ZeRO-2", .fsdp = blocks({.sharding_strategy = ShardingStrategy::kShardGradOp})}, world);
  }
}

TEST_CASE("fsdp: prefetching and the cut into units change no result", "[integration][fsdp]") {
  check({.name = "forward and backward", .fsdp = blocks({.forward_prefetch = true})}, 2);
  check(
      {.name = "after the reduction", .fsdp = blocks({.backward_prefetch = BackwardPrefetch::kBackwardPost})},
      2);
  check({.name = "none", .fsdp = blocks({.backward_prefetch = BackwardPrefetch::kNone})}, 2);
  check({.name = "one unit", .fsdp = {.auto_wrap_policy = wrap::none()}}, 2);
  check({.name = "many units", .fsdp = {.auto_wrap_policy = wrap::min_elements(100)}}, 3);
  check({.name = "by name", .fsdp = {.auto_wrap_policy = wrap::names({"net.blocks.?"})}}, 2);
  check({.name = "a part that stays whole", .fsdp = blocks({.ignored_modules = {"net.blocks.0", "net.wpe"}})},
        2);
}

TEST_CASE("fsdp: accumulation, clipping and frozen parts", "[integration][fsdp]") {
  check({.name = "accumulated", .fsdp = blocks(), .trainer = {.max_epochs = 2, .accumulate_grad_batches = 3}},
        2);
  check({.name = "clipped by the norm",
         .fsdp = blocks(),
         .trainer = {.max_epochs = 2, .gradient_clip_val = 0.05}},
        3);
  check({.name = "clipped by value",
         .fsdp = blocks(),
         .trainer = {.max_epochs = 2, .gradient_clip_val = 0.001, .gradient_clip_algorithm = "value"}},
        2);
  check({.name = "a frozen block", .fsdp = blocks(), .frozen_block = true}, 2);
}

TEST_CASE("fsdp: replicas of sharded models", "[integration][fsdp]") {
  check({.name = "2 x 2",
         .fsdp = blocks({.sharding_strategy = ShardingStrategy::kHybridShard, .device_mesh = {{2, 2}}})},
        4);
  check({.name = "not sharded", .fsdp = blocks({.sharding_strategy = ShardingStrategy::kNoShard})}, 2);
}

TEST_CASE("fsdp: what a checkpoint holds is whole, and any number of ranks goes on from it",
          "[integration][fsdp]") {
  const Folder folder;
  const auto fit = [&](int epochs, AnyStrategy strategy, std::int64_t batch_size, const std::string& from,
                       const std::string& to) {
    torch::manual_seed(100);
    Language net;
    Trainer trainer(quiet({.max_epochs = epochs, .strategy = std::move(strategy)}));
    const DataLoader loader(samples(), {.batch_size = batch_size, .shuffle = true});
    trainer.fit(net, loader, {}, from.empty() ? CheckpointPath() : CheckpointPath(folder / from));
    trainer.save_checkpoint(folder / to);
  };
  const auto ranks = [](int world) { return std::vector<int>(static_cast<std::size_t>(world), 0); };
  REQUIRE(run_ranks(2, [&](int) { fit(1, FSDPStrategy(blocks()), 2, "", "two"); }) == ranks(2));
  for (const int world : {1, 2, 3, 4}) {
    // Nothing is trained: what is loaded is saved again.
    REQUIRE(run_ranks(world, [&](int) {
              fit(1, FSDPStrategy(blocks()), 2, "two", "again" + std::to_string(world));
            }) == ranks(world));
    for (const std::string file : {"model.safetensors", "optimizer.safetensors"}) {
      const auto before = load_safetensors(folder / "two" / file).tensors;
      const auto after = load_safetensors(folder / ("again" + std::to_string(world)) / file).tensors;
      REQUIRE(before.size() == after.size());
      for (const auto& [name, tensor] : before) {
        INFO(world << " ranks, " << file << ", " << name);
        CHECK(torch::equal(tensor, after.at(name)));
      }
    }
  }
  REQUIRE(run_ranks(2, [&](int) { fit(1, "ddp", 2, "two", "ddp"); }) == ranks(2));
  for (const std::string file : {"model.safetensors", "optimizer.safetensors"}) {
    const auto before = load_safetensors(folder / "two" / file).tensors;
    const auto after = load_safetensors(folder / "ddp" / file).tensors;
    REQUIRE(before.size() == after.size());
    for (const auto& [name, tensor] : before) CHECK(torch::equal(tensor, after.at(name)));
  }
}

TEST_CASE("fsdp: a rank that is killed while a checkpoint is saved leaves a whole one",
          "[integration][fsdp]") {
  const auto* rounds = std::getenv("RTRAIN_TEST_SAVE_KILLS");
  for (int round = 0; round < (rounds != nullptr ? std::atoi(rounds) : 6); ++round) {
    const Folder folder;
    const auto path = folder / "saved";
    std::vector<std::string> failures;
    const auto codes = run_ranks(
        2,
        [&](int rank) {
          torch::manual_seed(100);
          Language net;
          std::thread killer;
          TrainerOptions options{.max_epochs = 100000, .strategy = FSDPStrategy(blocks())};
          options.callbacks.push_back(
              LambdaCallback({.on_train_batch_end = [&](Trainer& trainer, LightningModule&, const StepOutput&,
                                                        const Batch&, std::int64_t) {
                trainer.save_checkpoint(path);
                if (rank != round % 2 || killer.joinable()) return;
                killer = std::thread([round] {
                  std::this_thread::sleep_for(std::chrono::microseconds(700 * round + 311));
                  ::kill(::getpid(), SIGKILL);
                });
              }}));
          Trainer trainer(quiet(std::move(options)));
          trainer.fit(net, DataLoader(samples(), {.batch_size = 2, .shuffle = true}));
        },
        &failures);
    CHECK(codes.at(static_cast<std::size_t>(round % 2)) == 128 + SIGKILL);
    // The other one notices.
    CHECK(codes.at(static_cast<std::size_t>(1 - round % 2)) == 3);
    Language net;
    Trainer trainer(quiet({.max_epochs = 1, .limit_train_batches = std::int64_t{1}}));
    CHECK_NOTHROW(trainer.validate(net, DataLoader(samples(), {.batch_size = 8}), CheckpointPath(path)));
  }
}

TEST_CASE("fsdp: ranks with different numbers of batches evaluate what all of them have",
          "[integration][fsdp]") {
  const auto codes = run_ranks(2, [&](int rank) {
    struct Own final : Sampler {
      explicit Own(std::int64_t count) : count_(count) {}
      [[nodiscard]] std::vector<std::int64_t> indices() const override {
        std::vector<std::int64_t> all(static_cast<std::size_t>(count_));
        std::iota(all.begin(), all.end(), 0);
        return all;
      }
      [[nodiscard]] std::int64_t size() const override { return count_; }
      std::int64_t count_;
    };
    Language net;
    Trainer trainer(quiet({.strategy = FSDPStrategy(blocks()), .use_distributed_sampler = false}));
    const auto result = trainer.validate(
        net, DataLoader(samples(), {.batch_size = 2, .sampler = std::make_shared<Own>(rank == 0 ? 6 : 10)}));
    if (!std::isfinite(result.at("val_loss"))) throw std::runtime_error("no loss");
  });
  CHECK(codes == test::kBothEnded);
}

TEST_CASE("fsdp: a parameter that is read outside of a step is an error that says where",
          "[integration][fsdp]") {
  std::vector<std::string> failures;
  const auto codes = run_ranks(
      2,
      [&](int) {
        Language net;
        TrainerOptions options{.max_epochs = 1, .strategy = FSDPStrategy(blocks())};
        options.callbacks.push_back(
            LambdaCallback({.on_train_batch_end = [&](Trainer&, LightningModule&, const StepOutput&,
                                                      const Batch&, std::int64_t) {
              (void)net.net->blocks[0]->as<SmallBlockImpl>()->up->weight.sum();
            }}));
        Trainer trainer(quiet(std::move(options)));
        trainer.fit(net, DataLoader(samples(), {.batch_size = 2}));
      },
      &failures);
  CHECK(codes == std::vector<int>{3, 3});
  CHECK_THAT(failures.at(0), Contains("unit net.blocks.0 outside of a step"));
}

TEST_CASE("fsdp: optimizers that look at whole parameters are refused", "[integration][fsdp]") {
  struct WithMuon : Language {
    Optimizers configure_optimizers() override {
      std::vector<torch::Tensor> matrices, others;
      for (const auto& parameter : net->blocks->parameters())
        (parameter.dim() == 2 ? matrices : others).push_back(parameter);
      return optim::Chain({optim::SGD(others, {.lr = 0.1}), optim::Muon(matrices)});
    }
  };
  std::vector<std::string> failures;
  const auto codes = run_ranks(
      2,
      [&](int) {
        WithMuon net;
        Trainer trainer(quiet({.max_epochs = 1, .strategy = FSDPStrategy(blocks())}));
        trainer.fit(net, DataLoader(samples(), {.batch_size = 2}));
      },
      &failures);
  CHECK(codes == std::vector<int>{3, 3});
  CHECK_THAT(failures.at(1), Contains("Muon, in a Chain cannot step a part of a parameter"));
}
