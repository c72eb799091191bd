// Loaders of IterableDatasets: order against PyTorch's own (tests/golden/data/streams.txt, made by
// make_streams.py there), places to resume at, and what is refused.
#include "tests/support/catch.h"
#include "tests/support/golden.h"

#include <rtrain/data.h>

#include <torch/torch.h>

#include <atomic>
#include <latch>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace iterable_dataset_test {

using namespace rtrain;
using Catch::Matchers::Contains;

namespace {

using Lists = std::vector<std::vector<std::int64_t>>;

/// Worker w has the numbers 100 w, 100 w + 1, ...; ranks begin at thousands, epochs at ten thousands.
struct Shards : IterableDataset<std::int64_t> {
  explicit Shards(std::vector<std::int64_t> of_workers, bool with_state = false)
      : lengths(std::move(of_workers)), states(with_state) {}
  std::vector<std::int64_t> lengths;
  bool states;
  mutable std::atomic<int> reads{0};
  std::optional<std::int64_t> length{};

  struct Counting : Stream<std::int64_t> {
    Counting(const Shards& all, std::int64_t from, std::int64_t to) : set(all), at(from), end(to) {}
    std::optional<std::int64_t> next() override {
      ++set.reads;
      return at < end ? std::optional(at++) : std::nullopt;
    }
    [[nodiscard]] nlohmann::json save_state() const override {
      return set.states ? nlohmann::json{{"at", at}} : nlohmann::json();
    }
    void load_state(const nlohmann::json& state) override { at = state.at("at").get<std::int64_t>(); }
    const Shards& set;
    std::int64_t at, end;
  };
  [[nodiscard]] std::unique_ptr<Stream<std::int64_t>> open(const Shard& shard,
                                                           std::int64_t epoch) const override {
    const auto begin = 100 * shard.worker + 1000 * shard.rank + 10000 * epoch;
    const auto place = static_cast<std::size_t>(shard.worker) % lengths.size();
    return std::make_unique<Counting>(*this, begin, begin + lengths[place]);
  }
  [[nodiscard]] std::optional<std::int64_t> size() const override { return length; }
};

std::vector<std::int64_t> values(const torch::Tensor& t) {
  return {t.const_data_ptr<std::int64_t>(), t.const_data_ptr<std::int64_t>() + t.numel()};
}

Lists rest_of(DataLoader::Iterator& iterator) {
  Lists all;
  while (auto batch = iterator.next()) all.push_back(values(batch->input));
  return all;
}
Lists all_of(const DataLoader& loader, std::int64_t epoch = 0, std::int64_t first = 0) {
  auto iterator = loader.epoch(epoch, first);
  return rest_of(iterator);
}

std::string text_of(const Lists& batches) {
  std::ostringstream text;
  text << "[";
  for (std::size_t i = 0; i < batches.size(); ++i) {
    text << (i > 0 ? ", [" : "[");
    for (std::size_t k = 0; k < batches[i].size(); ++k) text << (k > 0 ? ", " : "") << batches[i][k];
    text << "]";
  }
  text << "]";
  return text.str();
}

DataLoader loader_of(std::vector<std::int64_t> lengths, int workers, bool with_state = false) {
  return {std::make_shared<Shards>(std::move(lengths), with_state),
          {.batch_size = 2, .num_workers = workers}};
}

}  // namespace

TEST_CASE("streams: batches come in PyTorch's order, for shards of any lengths", "[unit][data]") {
  int seen = 0;
  for (const auto& line : test::golden_lines("data/streams.txt")) {
    INFO(line);
    std::istringstream text(line.substr(line.find('[') + 1));
    std::vector<std::int64_t> lengths;
    char separator = ',';
    for (std::int64_t length = 0; separator == ',' && text >> length >> separator;) lengths.push_back(length);
    int workers = 0, drop_last = 0;
    REQUIRE(text >> workers >> drop_last);
    const DataLoader loader(std::make_shared<Shards>(lengths),
                            {.batch_size = 2, .drop_last = drop_last == 1, .num_workers = workers});
    CHECK(text_of(all_of(loader)) == line.substr(line.find(": ") + 2));
    ++seen;
  }
  CHECK(seen == 48);
}

TEST_CASE("streams: each rank and thread has a shard of its own", "[unit][data]") {
  struct Told : IterableDataset<std::int64_t> {
    struct One : Stream<std::int64_t> {
      explicit One(const Shard& shard) : value(shard.index() * 100 + shard.count()) {}
      std::optional<std::int64_t> next() override {
        return std::exchange(given, true) ? std::nullopt : std::optional(value);
      }
      std::int64_t value;
      bool given = false;
    };
    [[nodiscard]] std::unique_ptr<Stream<std::int64_t>> open(const Shard& shard,
                                                             std::int64_t) const override {
      if (shard.seed != 7) throw std::logic_error("seed");
      return std::make_unique<One>(shard);
    }
  };
  const DataLoader loader(std::make_shared<Told>(), {.num_workers = 2, .seed = 7});
  CHECK(all_of(loader) == Lists{{2}, {102}});
  CHECK(all_of(loader.with_ranks(1, 3)) == Lists{{206}, {306}});
  CHECK_THROWS_WITH(loader.with_ranks(3, 3), Contains("rank 3 is outside [0, 3)"));
}

TEST_CASE("streams: the order does not depend on which thread is faster", "[unit][data]") {
  /// Worker 0 begins when worker 1 has ended.
  struct Slow : Shards {
    using Shards::Shards;
    mutable std::latch other{1};
    [[nodiscard]] std::unique_ptr<Stream<std::int64_t>> open(const Shard& shard,
                                                             std::int64_t epoch) const override {
      struct Waits : Stream<std::int64_t> {
        Waits(std::unique_ptr<Stream<std::int64_t>> of, std::latch& gate, bool opens)
            : inner(std::move(of)), latch(gate), opener(opens) {}
        std::optional<std::int64_t> next() override {
          if (!opener) latch.wait();
          auto value = inner->next();
          if (opener && !value) latch.count_down();
          return value;
        }
        std::unique_ptr<Stream<std::int64_t>> inner;
        std::latch& latch;
        bool opener;
      };
      return std::make_unique<Waits>(Shards::open(shard, epoch), other, shard.worker == 1);
    }
  };
  const DataLoader loader(std::make_shared<Slow>(std::vector<std::int64_t>{4, 3}),
                          {.batch_size = 2, .num_workers = 2, .prefetch_factor = 3});
  CHECK(all_of(loader) == Lists{{0, 1}, {100, 101}, {2, 3}, {102}});
}

TEST_CASE("streams: has_next() looks ahead and takes nothing away", "[unit][data]") {
  for (const int workers : {0, 1, 2}) {
    INFO(workers);
    const auto loader = loader_of({3, 2}, workers);
    auto iterator = loader.epoch(0);
    Lists all;
    while (iterator.has_next() && iterator.has_next()) all.push_back(values(iterator.next()->input));
    CHECK_FALSE(iterator.next());
    CHECK_FALSE(iterator.has_next());
    CHECK(all == all_of(loader));
  }
  const DataLoader map(data::TensorDataset(torch::arange(3)), {.batch_size = 2});
  auto iterator = map.epoch(0);
  CHECK(iterator.has_next());
  (void)iterator.next();
  CHECK(iterator.has_next());
  (void)iterator.next();
  CHECK_FALSE(iterator.has_next());
  CHECK(iterator.save_state().is_null());
}

TEST_CASE("streams: from any place that was saved, the rest follows", "[unit][data]") {
  for (const bool with_state : {false, true}) {
    for (const auto& lengths : std::vector<std::vector<std::int64_t>>{{7, 2}, {2, 7, 4}, {0, 5}, {5}}) {
      for (const int workers : {0, 1, 2, 3}) {
        const auto loader = loader_of(lengths, workers, with_state);
        const auto whole = all_of(loader, 1);
        for (std::size_t taken = 0; taken <= whole.size(); ++taken) {
          for (const bool looked_ahead : {false, true}) {
            INFO("state " << with_state << " workers " << workers << " taken " << taken << " "
                          << looked_ahead);
            auto before = loader.epoch(1);
            for (std::size_t i = 0; i < taken; ++i) (void)before.next();
            if (looked_ahead) (void)before.has_next();
            const auto place = before.save_state();
            auto after = loader.resume(1, place);
            CHECK(after.save_state() == place);
            const auto rest = rest_of(after);
            CHECK(rest == Lists(whole.begin() + static_cast<std::ptrdiff_t>(taken), whole.end()));
            CHECK(all_of(loader, 1, static_cast<std::int64_t>(taken)) == rest);
          }
        }
      }
    }
  }
}

TEST_CASE("streams: a stream with a state is not read up to its place", "[unit][data]") {
  for (const bool with_state : {false, true}) {
    const auto set = std::make_shared<Shards>(std::vector<std::int64_t>{100}, with_state);
    const DataLoader loader(set, {.batch_size = 10, .num_workers = 0});
    auto before = loader.epoch(0);
    for (int i = 0; i < 9; ++i) (void)before.next();
    const auto place = before.save_state();
    set->reads = 0;
    CHECK(loader.resume(0, place).next()->input[0].item<std::int64_t>() == 90);
    CHECK(set->reads == (with_state ? 10 : 100));
  }
}

TEST_CASE("streams: a place of other ranks or threads is refused", "[unit][data]") {
  const auto loader = loader_of({5}, 2);
  const auto place = loader.epoch(0).save_state();
  CHECK_THROWS_WITH(loader_of({5}, 3).resume(0, place), Contains("num_workers 2, this loader has 3"));
  CHECK_THROWS_WITH(loader.with_ranks(0, 2).resume(0, place), Contains("ranks: 1, this loader has 2"));
  CHECK_THROWS_AS(loader.resume(0, nlohmann::json{{"rank", 0}}), std::invalid_argument);
  CHECK_THROWS_WITH(DataLoader(data::TensorDataset(torch::arange(3)), {}).resume(0, place),
                    Contains("is for streams"));
}

TEST_CASE("streams: what is thrown while reading comes when its batch is asked for", "[unit][data]") {
  struct Broken : Shards {
    using Shards::Shards;
    [[nodiscard]] Batch collate(std::span<const std::int64_t> samples) const override {
      if (samples.front() == 2) throw std::runtime_error("sample 2");
      return Shards::collate(samples);
    }
  };
  for (const int workers : {0, 1}) {
    const DataLoader loader(std::make_shared<Broken>(std::vector<std::int64_t>{9}),
                            {.batch_size = 2, .num_workers = workers});
    auto iterator = loader.epoch(0);
    CHECK(iterator.next());
    CHECK_THROWS_WITH(iterator.next(), "sample 2");
  }
}

TEST_CASE("streams: options, and a length that is known", "[unit][data]") {
  const auto set = std::make_shared<Shards>(std::vector<std::int64_t>{5});
  CHECK_THROWS_WITH(DataLoader(set, {.shuffle = true}), Contains("decides its order itself"));
  CHECK_THROWS_WITH(DataLoader(set, {.sampler = std::make_shared<SequentialSampler>(5)}),
                    Contains("decides its order itself"));
  CHECK_THROWS_WITH(DataLoader(std::shared_ptr<const StreamDataset>(), {}), Contains("no data set"));
  const DataLoader unknown(set, {.batch_size = 2});
  CHECK(unknown.size() == kUnknownBatches);
  CHECK(unknown.defined());
  CHECK_THROWS_WITH(unknown.sampler(), Contains("has no sampler"));
  set->length = 11;
  CHECK(unknown.size() == 6);
  CHECK(unknown.with_ranks(0, 2).size() == 3);
  CHECK(DataLoader(set, {.batch_size = 2, .drop_last = true}).size() == 5);
}

}  // namespace iterable_dataset_test
