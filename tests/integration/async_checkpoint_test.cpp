// Asynchronous saves by several ranks, and by a process that is killed.
#include "tests/support/checksums.h"
#include "tests/support/ranks.h"
#include "tests/support/state.h"

#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

using namespace rtrain;
using rtrain::test::Folder;
using rtrain::test::kBothEnded;
using rtrain::test::quiet;
using rtrain::test::run_ranks;
using rtrain::test::same_bits;
using rtrain::test::state_of;
namespace fs = std::filesystem;

namespace {

struct Net : LightningModule {
  torch::nn::Linear first = register_module("first", torch::nn::Linear(16, 64));
  torch::nn::Dropout dropout = register_module("dropout", torch::nn::Dropout(0.3));
  torch::nn::Linear second = register_module("second", torch::nn::Linear(64, 1));
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    return second(dropout(torch::relu(first(batch.input)))).square().mean();
  }
  Optimizers configure_optimizers() override { return optim::Adam(parameters(), {.lr = 0.01}); }
};

DataLoader samples(std::int64_t count) {
  torch::manual_seed(5);
  return {data::TensorDataset(torch::randn({count, 16})), {.batch_size = 4, .shuffle = true}};
}

void train(const fs::path& folder, std::int64_t epochs, std::int64_t samples_of_epoch,
           const CheckpointPath& from = {}, const fs::path& weights = {}) {
  auto data = samples(samples_of_epoch);
  torch::manual_seed(9);
  Net net;
  Trainer trainer(
      quiet({.max_epochs = epochs,
             .plugins = {AsyncCheckpointIO()},
             .callbacks = {ModelCheckpoint(
                 {.dirpath = folder, .save_top_k = -1, .save_last = true, .every_n_train_steps = 1})}}));
  trainer.fit(net, data, {}, from);
  if (!weights.empty()) save_safetensors(weights, {state_of(net), {}});
}

std::vector<fs::path> checkpoints_in(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code missing;
  for (const auto& entry : fs::directory_iterator(folder, missing)) {
    const auto name = entry.path().filename().string();
    if (name.front() != '.' && !entry.is_symlink()) found.push_back(entry.path());
  }
  return found;
}

}  // namespace

TEST_CASE("async saves: two ranks write one checkpoint, and resume from it with the same bits",
          "[integration][checkpoint]") {
  const Folder folder;
  CHECK(run_ranks(2, [&](int rank) {
          train(folder / "whole", 3, 32, {}, folder / ("whole" + std::to_string(rank)));
        }) == kBothEnded);
  const auto saved = checkpoints_in(folder / "whole");
  CHECK(saved.size() == 12);
  for (const auto& checkpoint : saved) {
    CHECK(test::checksums_of(checkpoint).contains("rng-rank1.safetensors"));
    CHECK(test::is_whole(checkpoint));
  }
  CHECK(fs::read_symlink(folder / "whole/last.ckpt") == "epoch=2-step=12.ckpt");
  CHECK(run_ranks(2, [&](int rank) {
          train(folder / "rest", 3, 32, folder / "whole/epoch=1-step=6.ckpt",
                folder / ("rest" + std::to_string(rank)));
        }) == kBothEnded);
  for (const auto* rank : {"0", "1"})
    CHECK(same_bits(load_safetensors(folder / (std::string("rest") + rank)).tensors,
                    load_safetensors(folder / (std::string("whole") + rank)).tensors));
}

TEST_CASE("async saves: the failure of one rank's part is an error of both", "[integration][checkpoint]") {
  const Folder folder;
  std::vector<std::string> failures;
  const auto codes = run_ranks(
      2,
      [&](int rank) {
        struct Broken : LocalCheckpointIO {
          std::unique_ptr<CheckpointDraft> begin(const fs::path& path, int of) override {
            if (of == 1) throw std::runtime_error("the disk of rank 1 is gone");
            return LocalCheckpointIO::begin(path, of);
          }
        };
        (void)rank;
        Net net;
        Trainer trainer(quiet({.max_epochs = 1,
                               .plugins = {AsyncCheckpointIO({.checkpoint_io = std::make_shared<Broken>()})},
                               .callbacks = {ModelCheckpoint({.dirpath = folder / "c"})}}));
        trainer.fit(net, samples(8));
      },
      &failures);
  CHECK(codes == std::vector<int>{3, 3});
  for (const auto& failure : failures) {
    INFO(failure);
    CHECK(failure.find("the disk of rank 1 is gone") != std::string::npos);
  }
  CHECK(checkpoints_in(folder / "c").empty());
}

TEST_CASE("async saves: a process that is killed leaves whole checkpoints only",
          "[integration][checkpoint]") {
  at::set_num_threads(1);
  const Folder folder;
  const auto in_child = [](const std::function<void()>& body) {
    const auto pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid != 0) return pid;
    ::alarm(60);
    try {
      body();
      ::_exit(0);
    } catch (...) {
      ::_exit(3);
    }
  };
  for (const std::size_t after : {1U, 4U, 9U}) {
    const auto place = folder / std::to_string(after);
    const auto pid = in_child([&] { train(place, 1000, 16); });
    while (checkpoints_in(place).size() < after) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    const auto left = checkpoints_in(place);
    CHECK(left.size() >= after);
    for (const auto& checkpoint : left) {
      INFO(checkpoint);
      CHECK(test::is_whole(checkpoint));
    }
    const auto again = in_child([&] { train(place, 4, 16, left.front()); });
    int status = 0;
    ::waitpid(again, &status, 0);
    CHECK(status == 0);
  }
}
