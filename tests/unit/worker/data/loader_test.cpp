#include "tests/support/catch.h"

#include <rtrain/data.h>

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <atomic>
#include <stdexcept>
#include <thread>

namespace loader_test {

using namespace rtrain;

namespace {

std::vector<std::int64_t> values(const torch::Tensor& t) {
  return {t.const_data_ptr<std::int64_t>(), t.const_data_ptr<std::int64_t>() + t.numel()};
}

std::vector<std::vector<std::int64_t>> batches(DataLoader::Iterator iterator) {
  std::vector<std::vector<std::int64_t>> all;
  while (auto batch = iterator.next()) all.push_back(values(batch->input));
  return all;
}

std::shared_ptr<Dataset> numbers(std::int64_t count) { return data::TensorDataset(torch::arange(count)); }

/// Tells what happens in get_batch, and throws at sample `bad`.
struct Watched : Dataset {
  std::int64_t samples = 100, bad = -1;
  mutable std::atomic<int> calls{0}, threads{-1};
  mutable std::atomic<bool> grad{true};
  mutable std::thread::id where;
  [[nodiscard]] std::int64_t size() const override { return samples; }
  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices) const override {
    ++calls;
    threads = at::get_num_threads();
    grad = torch::GradMode::is_enabled();
    where = std::this_thread::get_id();
    for (const auto i : indices) {
      if (i == bad) throw std::runtime_error("sample 7 is broken");
    }
    return {torch::tensor(std::vector<std::int64_t>(indices.begin(), indices.end())), {}};
  }
};

}  // namespace

TEST_CASE("loader: batches are cut from the order, the last one short or dropped", "[unit][worker][data]") {
  for (const int num_workers : {0, 1, 3}) {
    CHECK(batches(DataLoader(numbers(7), {.batch_size = 3, .num_workers = num_workers}).epoch(0)) ==
          std::vector<std::vector<std::int64_t>>{{0, 1, 2}, {3, 4, 5}, {6}});
    CHECK(batches(DataLoader(numbers(7), {.batch_size = 3, .drop_last = true, .num_workers = num_workers})
                      .epoch(0)) == std::vector<std::vector<std::int64_t>>{{0, 1, 2}, {3, 4, 5}});
    CHECK(
        batches(
            DataLoader(numbers(2), {.batch_size = 3, .drop_last = true, .num_workers = num_workers}).epoch(0))
            .empty());
    CHECK(batches(DataLoader(numbers(0), {.batch_size = 3, .num_workers = num_workers}).epoch(0)).empty());
    CHECK(batches(DataLoader(numbers(2), {.batch_size = 64, .num_workers = num_workers}).epoch(0)) ==
          std::vector<std::vector<std::int64_t>>{{0, 1}});
  }
  CHECK(DataLoader(numbers(7), {.batch_size = 3}).size() == 3);
  CHECK(DataLoader(numbers(7), {.batch_size = 3, .drop_last = true}).size() == 2);
  CHECK(DataLoader().size() == 0);
  CHECK_FALSE(DataLoader().defined());
  CHECK(batches(DataLoader().epoch(0)).empty());
}

TEST_CASE("loader: resuming gives the tail of the same epoch and reads nothing before it",
          "[unit][worker][data]") {
  for (const int num_workers : {0, 1, 3}) {
    const auto watched = std::make_shared<Watched>();
    const DataLoader loader(watched,
                            {.batch_size = 9, .shuffle = true, .num_workers = num_workers, .seed = 5});
    const auto whole = batches(loader.epoch(3));
    REQUIRE(whole.size() == 12);
    watched->calls = 0;
    const auto tail = batches(loader.epoch(3, 8));
    CHECK(watched->calls == 4);
    CHECK(tail == std::vector(whole.begin() + 8, whole.end()));
    CHECK(batches(loader.epoch(3, 12)).empty());
    CHECK(batches(loader.epoch(3, 99)).empty());
    CHECK(batches(loader.epoch(4)) != whole);
    CHECK(batches(loader.epoch(3)) == whole);
  }
}

TEST_CASE("loader: an exception of the data set comes out of next(), after the batches before it",
          "[unit][worker][data]") {
  for (const int num_workers : {0, 1, 4}) {
    const auto watched = std::make_shared<Watched>();
    watched->bad = 7;
    auto iterator = DataLoader(watched, {.batch_size = 2, .num_workers = num_workers}).epoch(0);
    for (int i = 0; i < 3; ++i) CHECK(iterator.next().has_value());
    CHECK_THROWS_WITH(iterator.next(), "sample 7 is broken");
    CHECK_THROWS_WITH(iterator.next(), "sample 7 is broken");
  }
}

TEST_CASE("loader: an iterator given up early ends its thread and reads no further than it was told",
          "[unit][worker][data]") {
  const auto watched = std::make_shared<Watched>();
  {
    auto iterator = DataLoader(watched, {.batch_size = 1, .prefetch_factor = 2}).epoch(0);
    CHECK(iterator.next().has_value());
    auto moved = std::move(iterator);
    CHECK(values(moved.next()->input) == std::vector<std::int64_t>{1});
  }
  CHECK(watched->calls <= 4);  // two taken, two ahead
  CHECK(watched.use_count() == 1);
}

TEST_CASE("loader: its thread runs operators alone, without gradients, and leaves the caller's threads",
          "[unit][worker][data]") {
  const int before = at::get_num_threads();
  at::set_num_threads(2);
  const auto watched = std::make_shared<Watched>();
  (void)batches(DataLoader(watched, {.batch_size = 50}).epoch(0));
  CHECK(watched->threads == 1);
  CHECK_FALSE(watched->grad);
  CHECK(watched->where != std::this_thread::get_id());
  CHECK(at::get_num_threads() == 2);
  CHECK(torch::GradMode::is_enabled());
  (void)batches(DataLoader(watched, {.batch_size = 50, .num_workers = 0}).epoch(0));
  CHECK(watched->where == std::this_thread::get_id());
  at::set_num_threads(before);
}

TEST_CASE("loader: another sampler gives the same data in its order", "[unit][worker][data]") {
  const DataLoader loader(numbers(6), {.batch_size = 2, .shuffle = true});
  const auto half = loader.with_sampler(std::make_shared<DistributedSampler>(
      6, DistributedSamplerOptions{.num_replicas = 2, .rank = 1, .shuffle = false}));
  CHECK(half.size() == 2);
  CHECK(batches(half.epoch(0)) == std::vector<std::vector<std::int64_t>>{{1, 3}, {5}});
}

TEST_CASE("tensor data set: samples and targets stay together", "[unit][worker][data]") {
  const auto set = data::TensorDataset(torch::arange(12).view({4, 3}), torch::arange(4) * 10);
  const std::vector<std::int64_t> order{3, 0, 3};
  const auto batch = set->get_batch(order);
  CHECK(torch::equal(batch.input, torch::tensor({9, 10, 11, 0, 1, 2, 9, 10, 11}).view({3, 3})));
  CHECK(torch::equal(batch.target, torch::tensor({30, 0, 30})));
  CHECK_FALSE(
      data::TensorDataset(torch::zeros({2}))->get_batch(std::vector<std::int64_t>{0}).target.defined());
  CHECK_THROWS_AS(data::TensorDataset(torch::zeros({2}), torch::zeros({3})), std::invalid_argument);
  CHECK_THROWS_AS(data::TensorDataset(torch::tensor(1)), std::invalid_argument);
}

}  // namespace loader_test
