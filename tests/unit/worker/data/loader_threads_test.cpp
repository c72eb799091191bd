// The threads of a loader, its batch_sampler, and the options that it refuses.
#include "tests/support/catch.h"
#include "tests/support/golden.h"

#include <rtrain/data.h>

#include <torch/torch.h>

#include <atomic>
#include <cmath>
#include <functional>
#include <latch>
#include <map>
#include <set>
#include <stdexcept>

namespace loader_threads_test {

using namespace rtrain;
using Catch::Matchers::Contains;

namespace {

using Lists = std::vector<std::vector<std::int64_t>>;

std::vector<std::int64_t> values(const torch::Tensor& t) {
  return {t.const_data_ptr<std::int64_t>(), t.const_data_ptr<std::int64_t>() + t.numel()};
}

Lists batches(DataLoader::Iterator iterator) {
  Lists all;
  while (auto batch = iterator.next()) all.push_back(values(batch->input));
  return all;
}

/// Sample i is i. `before` runs in each call, with the first sample of the batch.
struct Numbers : Dataset {
  std::int64_t samples;
  std::function<void(std::int64_t)> before;
  mutable std::atomic<int> calls{0};
  explicit Numbers(std::int64_t count, std::function<void(std::int64_t)> first = {})
      : samples(count), before(std::move(first)) {}
  [[nodiscard]] std::int64_t size() const override { return samples; }
  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices) const override {
    ++calls;
    if (before) before(indices.front());
    return {torch::tensor(std::vector<std::int64_t>(indices.begin(), indices.end())), {}};
  }
};

/// Draws one number per sample, and one for the batch's first.
struct Noise : Dataset {
  [[nodiscard]] std::int64_t size() const override { return 20; }
  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices) const override {
    return get_batch(indices, {});
  }
  [[nodiscard]] Batch get_batch(std::span<const std::int64_t> indices,
                                const SampleContext& context) const override {
    std::vector<torch::Tensor> drawn;
    for (const auto i : indices) drawn.push_back(at::randint(1'000'000, {1}, context.generator(i)));
    return {torch::cat(drawn).to(torch::kLong),
            torch::tensor(std::vector<std::int64_t>(indices.begin(), indices.end()))};
  }
};

std::map<std::int64_t, std::int64_t> noise(const DataLoader& loader, std::int64_t epoch,
                                           std::int64_t first = 0) {
  std::map<std::int64_t, std::int64_t> of_sample;
  auto iterator = loader.epoch(epoch, first);
  while (const auto batch = iterator.next())
    for (std::int64_t i = 0; i < batch->size(); ++i)
      of_sample[batch->target[i].item<std::int64_t>()] = batch->input[i].item<std::int64_t>();
  return of_sample;
}

/// Three batches of other sizes, the other way round in odd epochs.
struct Uneven : BatchSampler {
  std::int64_t epoch = 0;
  [[nodiscard]] Lists batches() const override {
    if (epoch % 2 == 0) return {{0, 1, 2}, {3}, {4, 5}};
    return {{5, 4}, {3}, {2, 1, 0}};
  }
  [[nodiscard]] std::int64_t size() const override { return 3; }
  void set_epoch(std::int64_t now) override { epoch = now; }
};

}  // namespace

TEST_CASE("loader threads: batches come in order, however they end", "[unit][worker][data]") {
  std::latch second(1);
  const auto set = std::make_shared<Numbers>(6, [&](std::int64_t first) {
    if (first == 0) second.wait();
    if (first == 2) second.count_down();
  });
  CHECK(batches(DataLoader(set, {.batch_size = 2, .num_workers = 2}).epoch(0)) ==
        Lists{{0, 1}, {2, 3}, {4, 5}});
}

TEST_CASE("loader threads: any number gives the same batches", "[unit][worker][data]") {
  const auto with = [](int num_workers) {
    return DataLoader(std::make_shared<Numbers>(101),
                      {.batch_size = 4, .shuffle = true, .num_workers = num_workers, .seed = 3});
  };
  const auto alone = batches(with(0).epoch(2));
  REQUIRE(alone.size() == 26);
  for (const int num_workers : {1, 2, 5, 40}) {
    CHECK(batches(with(num_workers).epoch(2)) == alone);
    CHECK(batches(with(num_workers).epoch(2, 9)) == Lists(alone.begin() + 9, alone.end()));
  }
}

TEST_CASE("loader threads: the exception of a batch comes when that batch is asked for",
          "[unit][worker][data]") {
  std::latch failed(1);
  const auto set = std::make_shared<Numbers>(100, [&](std::int64_t first) {
    if (first == 0) failed.wait();
    if (first != 2) return;
    failed.count_down();
    throw std::domain_error("sample 2 is broken");
  });
  auto iterator = DataLoader(set, {.batch_size = 1, .num_workers = 3, .prefetch_factor = 1}).epoch(0);
  CHECK(values(iterator.next()->input) == std::vector<std::int64_t>{0});
  CHECK(values(iterator.next()->input) == std::vector<std::int64_t>{1});
  CHECK_THROWS_AS(iterator.next(), std::domain_error);
  CHECK_THROWS_WITH(iterator.next(), "sample 2 is broken");
  CHECK(set->calls <= 5);  // of those behind it, what had begun
}

TEST_CASE("loader threads: no more batches are made than were asked for", "[unit][worker][data]") {
  std::latch six(6);
  const auto set = std::make_shared<Numbers>(100, [&](std::int64_t first) {
    if (first < 6) six.count_down();
  });
  {
    auto iterator = DataLoader(set, {.num_workers = 3, .prefetch_factor = 2}).epoch(0);
    six.wait();
    CHECK(set->calls == 6);
    CHECK(iterator.next().has_value());
  }
  CHECK(set->calls <= 7);
  CHECK(set.use_count() == 1);
}

TEST_CASE("loader threads: a batch that does not come in time is an error, and may still come",
          "[unit][worker][data]") {
  std::latch late(1);
  const auto set = std::make_shared<Numbers>(4, [&](std::int64_t first) {
    if (first == 2) late.wait();
  });
  auto iterator = DataLoader(set, {.batch_size = 2, .timeout_s = 0.02}).epoch(0);
  while (true) {
    try {  // the first batch may take longer on a machine that is busy
      CHECK(values(iterator.next()->input) == std::vector<std::int64_t>{0, 1});
      break;
    } catch (const std::runtime_error&) {
    }
  }
  CHECK_THROWS_WITH(iterator.next(),
                    Contains("batch 1 was not ready after 0.02 s (timeout_s)") && Contains("num_workers"));
  late.count_down();
  const auto last = [&] {
    while (true) {
      try {
        return iterator.next();
      } catch (const std::runtime_error&) {
      }
    }
  }();
  CHECK(values(last->input) == std::vector<std::int64_t>{2, 3});
  CHECK_FALSE(iterator.next().has_value());
}

TEST_CASE("random samples: the same for any threads, batch size, order and place of resuming",
          "[unit][worker][data]") {
  const auto set = std::make_shared<Noise>();
  const auto want = noise(DataLoader(set, {.batch_size = 3, .num_workers = 0, .seed = 5}), 1);
  REQUIRE(want.size() == 20);
  CHECK(noise(DataLoader(set, {.batch_size = 7, .shuffle = true, .num_workers = 3, .seed = 5}), 1) == want);
  for (const auto& [sample, number] : noise(DataLoader(set, {.batch_size = 3, .seed = 5}), 1, 4))
    CHECK(want.at(sample) == number);
  CHECK(noise(DataLoader(set, {.batch_size = 3, .seed = 5}), 2) != want);
  CHECK(noise(DataLoader(set, {.batch_size = 3, .seed = 6}), 1) != want);
  std::set<std::int64_t> distinct;
  for (const auto& [sample, number] : want) distinct.insert(number);
  CHECK(distinct.size() >= 19);

  const SampleContext context{.seed = 5, .epoch = 1};
  CHECK(context.seed_of(0) != context.seed_of(1));
  CHECK(context.seed_of(2) != SampleContext{.seed = 5, .epoch = 2}.seed_of(1));
  auto generator = context.generator(3);
  const auto first = at::rand({2}, generator);
  CHECK(torch::equal(first, at::rand({2}, context.generator(3))));
  CHECK_FALSE(torch::equal(first, at::rand({2}, generator)));
  // A checkpoint of today continues with these numbers.
  CHECK(context.seed_of(3) == 17622605168387468854U);
}

TEST_CASE("loader: batches of a batch_sampler of one's own", "[unit][worker][data]") {
  const auto set = std::make_shared<Numbers>(6);
  for (const int num_workers : {0, 2}) {
    const DataLoader loader(set, {.batch_sampler = std::make_shared<Uneven>(), .num_workers = num_workers});
    CHECK(loader.size() == 3);
    CHECK(batches(loader.epoch(0)) == Lists{{0, 1, 2}, {3}, {4, 5}});
    CHECK(batches(loader.epoch(1)) == Lists{{5, 4}, {3}, {2, 1, 0}});
    CHECK(batches(loader.epoch(1, 2)) == Lists{{2, 1, 0}});
    CHECK(loader.sampler().size() == 6);
    CHECK(loader.sampler().indices() == std::vector<std::int64_t>{5, 4, 3, 2, 1, 0});
    CHECK_FALSE(loader.sampler().start_after(3));
  }
  const DataLoader plain(set, {.batch_sampler = std::make_shared<BatchSampler>(
                                   std::make_shared<SequentialSampler>(6), 4, true)});
  CHECK(plain.batch_sampler() == nullptr);
  CHECK(plain.options().batch_size == 4);
  CHECK(batches(plain.epoch(0)) == Lists{{0, 1, 2, 3}});
  CHECK(batches(plain.with_batch_sampler(std::make_shared<Uneven>()).epoch(0)).size() == 3);
  CHECK(batches(DataLoader(set, {.batch_sampler = std::make_shared<Uneven>()})
                    .with_sampler(std::make_shared<SequentialSampler>(2))
                    .epoch(0)) == Lists{{0}, {1}});

  struct Wrong : Uneven {
    [[nodiscard]] std::int64_t size() const override { return 4; }
  };
  CHECK_THROWS_WITH(DataLoader(set, {.batch_sampler = std::make_shared<Wrong>()}).epoch(1),
                    Contains("gives 3 batches in epoch 1, but its size() is 4"));
  struct Hollow : Uneven {
    [[nodiscard]] Lists batches() const override { return {{0}, {}, {1}}; }
  };
  CHECK_THROWS_WITH(DataLoader(set, {.batch_sampler = std::make_shared<Hollow>()}).epoch(0),
                    Contains("batch 1 of the batch_sampler is empty"));
}

TEST_CASE("loader: what PyTorch's DataLoader refuses is refused by name", "[unit][worker][data]") {
  const auto set = std::make_shared<Numbers>(3);
  const auto order = std::make_shared<SequentialSampler>(3);
  const auto cut = std::make_shared<BatchSampler>(order, 2, false);
  const std::map<std::string, std::pair<DataLoaderOptions, std::string>> ours{
      {"sampler and shuffle", {{.shuffle = true, .sampler = order}, "exclude each other"}},
      {"batch_size 0", {{.batch_size = 0}, "batch_size is 0"}},
      {"num_workers -1", {{.num_workers = -1}, "num_workers is -1"}},
      {"timeout -1", {{.timeout_s = -1}, "timeout_s is -1"}},
      {"prefetch_factor without workers",
       {{.num_workers = 0, .prefetch_factor = 2}, "prefetch_factor is for"}},
      {"timeout without workers", {{.num_workers = 0, .timeout_s = 1}, "timeout_s needs num_workers"}},
      {"batch_sampler and batch_size", {{.batch_size = 3, .batch_sampler = cut}, "batch_sampler excludes"}},
      {"batch_sampler and drop_last", {{.batch_sampler = cut, .drop_last = true}, "batch_sampler excludes"}}};
  std::size_t seen = 0;
  for (const auto& line : test::golden_lines("data/torch_utils_data.txt")) {
    if (!line.starts_with("refused ")) continue;
    const auto found = ours.find(line.substr(8, line.find(": ") - 8));
    if (found == ours.end()) continue;  // of samplers and splits
    INFO(line);
    ++seen;
    CHECK_THROWS_WITH(DataLoader(set, found->second.first), Contains(found->second.second));
  }
  CHECK(seen == ours.size());
  CHECK_THROWS_WITH(DataLoader(nullptr, {}), Contains("no data set"));
  CHECK_THROWS_WITH(DataLoader(set, {.prefetch_factor = 0}), Contains("prefetch_factor is 0"));
  CHECK_THROWS_WITH(DataLoader(set, {.timeout_s = NAN}), Contains("timeout_s is"));
  CHECK_THROWS_WITH(DataLoader(set, {}).epoch(0, -1), Contains("first batch is -1"));
}

}  // namespace loader_threads_test
