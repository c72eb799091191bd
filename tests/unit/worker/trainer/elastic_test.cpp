// Another number of ranks goes on in the middle of an epoch: each sample is seen once.
#include "tests/support/catch.h"
#include "tests/support/training.h"

#include <algorithm>
#include <map>
#include <vector>

namespace trainer_elastic_test {

using namespace rtrain;
using rtrain::test::quiet;

namespace {

constexpr std::int64_t kSamples = 100;

/// A world that only the Trainer sees: its ranks run one after the other, each with its own optimizer.
struct World : ClusterEnvironment {
  World(int ranks, int own) : ranks_(ranks), own_(own) {}
  int world_size() const override { return ranks_; }
  int global_rank() const override { return own_; }
  int ranks_, own_;
};

struct Seeing : test::BoringModel {
  std::map<std::int64_t, std::vector<std::int64_t>> seen;  ///< by epoch
  StepOutput training_step(const Batch& batch, std::int64_t) override {
    for (std::int64_t i = 0; i < batch.size(); ++i)
      seen[current_epoch()].push_back(batch.input[i][0].item<std::int64_t>());
    return loss_of(batch);
  }
};

DataLoader numbered(int ranks, int rank) {
  auto input = torch::zeros({kSamples, 32});
  input.select(1, 0).copy_(torch::arange(kSamples));
  return {data::TensorDataset(input),
          {.batch_size = 2,
           .sampler = std::make_shared<DistributedSampler>(
               kSamples, DistributedSamplerOptions{.num_replicas = ranks, .rank = rank, .seed = 5}),
           .num_workers = 0}};
}

struct Seen {
  std::map<std::int64_t, std::vector<std::int64_t>> by_epoch;  ///< sorted
  std::int64_t batches_an_epoch = 0, steps = 0;
};

/// All ranks of a world, from a checkpoint of each, until each has trained `batches` (0: to the end).
Seen train(const test::Folder& folder, int ranks, const std::string& from, const std::string& to,
           std::int64_t batches, std::int64_t accumulate = 1) {
  Seen all;
  for (int rank = 0; rank < ranks; ++rank) {
    Seeing net;
    std::int64_t done = 0;
    const auto stop = [&](Trainer& trainer, LightningModule&, const StepOutput&, const Batch&, std::int64_t) {
      all.batches_an_epoch = trainer.num_training_batches();
      if (++done != batches) return;
      trainer.save_checkpoint(folder / (to + std::to_string(rank)));
      trainer.set_should_stop();
    };
    Trainer trainer(quiet({.max_epochs = 2,
                           .accumulate_grad_batches = accumulate,
                           .strategy = "single_device",
                           .plugins = {World(ranks, rank)},
                           .callbacks = {LambdaCallback({.on_train_batch_end = stop})}}));
    // The checkpoint of a job is one folder: rank 0's, with a file of each rank.
    trainer.fit(net, numbered(ranks, rank), {},
                from.empty() ? CheckpointPath() : CheckpointPath(folder / (from + "0")));
    for (const auto& [epoch, samples] : net.seen)
      std::ranges::copy(samples, std::back_inserter(all.by_epoch[epoch]));
    all.steps = trainer.global_step();
  }
  for (auto& [epoch, samples] : all.by_epoch) std::ranges::sort(samples);
  return all;
}

std::vector<std::int64_t> operator+(std::vector<std::int64_t> a, const std::vector<std::int64_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  std::ranges::sort(a);
  return a;
}

std::vector<std::int64_t> each_once() {
  std::vector<std::int64_t> all;
  for (std::int64_t i = 0; i < kSamples; ++i) all.push_back(i);
  return all;
}

}  // namespace

TEST_CASE("elastic: over 4, then 2, then 3 ranks an epoch is exactly an epoch", "[unit][trainer]") {
  const test::Folder folder;
  const auto four = train(folder, 4, "", "a", 5);
  const auto two = train(folder, 2, "a", "b", 6);
  const auto three = train(folder, 3, "b", "", 0);
  CHECK(four.by_epoch.at(0).size() == 40);
  CHECK(two.by_epoch.at(0).size() == 24);
  CHECK(four.by_epoch.at(0) + two.by_epoch.at(0) + three.by_epoch.at(0) == each_once());
  CHECK(two.batches_an_epoch == 5 + 15);
  // The next epoch is a whole one of 3 ranks, padded as PyTorch pads.
  auto next = three.by_epoch.at(1);
  CHECK(next.size() == 102);
  CHECK(three.batches_an_epoch == 17);
  next.erase(std::unique(next.begin(), next.end()), next.end());
  CHECK(next == each_once());
}

TEST_CASE("elastic: the same number of ranks goes on after another one's part as well", "[unit][trainer]") {
  const test::Folder folder;
  const auto four = train(folder, 4, "", "a", 5);
  const auto two = train(folder, 2, "a", "b", 6);
  const auto again = train(folder, 2, "b", "c", 3);
  const auto last = train(folder, 1, "c", "", 0);
  CHECK(four.by_epoch.at(0) + two.by_epoch.at(0) + again.by_epoch.at(0) + last.by_epoch.at(0) == each_once());
}

TEST_CASE("elastic: an accumulation that was not complete is begun again, its gradients are gone",
          "[unit][trainer]") {
  const test::Folder folder;
  const auto four = train(folder, 4, "", "a", 6, /*accumulate=*/4);  // 4 batches are learned, 2 are not
  const auto two = train(folder, 2, "a", "", 0, 4);
  CHECK(two.by_epoch.at(0).size() == kSamples - 4 * 4 * 2);
  const auto rest = two.by_epoch.at(0);
  CHECK(std::ranges::adjacent_find(rest) == rest.end());
}

TEST_CASE("elastic: a sampler that starts later pads like a whole epoch", "[unit][data]") {
  std::vector<std::int64_t> seen;
  for (int rank = 0; rank < 3; ++rank) {
    DistributedSampler sampler(10, {.num_replicas = 3, .rank = rank, .shuffle = false});
    CHECK(sampler.size() == 4);
    REQUIRE(sampler.start_after(6));
    CHECK(sampler.size() == 2);
    std::ranges::copy(sampler.indices(), std::back_inserter(seen));
    REQUIRE(sampler.start_after(0));
    CHECK(sampler.size() == 4);
  }
  std::ranges::sort(seen);
  CHECK(seen == std::vector<std::int64_t>{0, 1, 6, 7, 8, 9});
  CHECK_FALSE(RandomSampler(10, 1).start_after(3));
}

}  // namespace trainer_elastic_test
