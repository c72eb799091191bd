#include "worker/loops/batch_source.h"

#include "tests/support/catch.h"

#include <rtrain/data/iterable_dataset.h>
#include <rtrain/data/tensor_dataset.h>

#include <torch/torch.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace batch_source_test {

using namespace rtrain;

namespace {

DataLoader numbers(std::int64_t first, std::int64_t count) {
  return {data::TensorDataset(torch::arange(first, first + count)), {.num_workers = 0}};
}

/// "0,10 1,11 ..."; "-" for an empty batch.
std::string read(const BatchSource& source, std::int64_t first = 0) {
  std::string text;
  auto batches = source.epoch(0, first);
  for (std::int64_t i = first; i < source.size(); ++i) {
    const auto batch = batches.next();
    if (!batch) break;
    text += text.empty() ? "" : " ";
    std::string sep;
    for (const auto& [name, one] : batch->as<Nested>().items) {
      text += sep + (one.empty() ? "-" : std::to_string(one.input.item<std::int64_t>()));
      sep = ",";
    }
  }
  return text;
}

BatchSource both(CombineMode mode, const BatchCount& limit = 1.0) {
  return {{{"a", numbers(0, 3)}, {"b", numbers(10, 5)}}, mode, limit, "limit"};
}

}  // namespace

// The rows of tests/golden/data/datamodule.txt, "CombinedLoader of a (3 batches) and b (5 batches)".
TEST_CASE("batch source: several loaders are read as Lightning's CombinedLoader reads them",
          "[unit][loops]") {
  CHECK(read(both(CombineMode::kMinSize)) == "0,10 1,11 2,12");
  CHECK(read(both(CombineMode::kMaxSizeCycle)) == "0,10 1,11 2,12 0,13 1,14");
  CHECK(read(both(CombineMode::kMaxSize)) == "0,10 1,11 2,12 -,13 -,14");
  for (const auto mode : {CombineMode::kMinSize, CombineMode::kMaxSizeCycle, CombineMode::kMaxSize})
    CHECK(both(mode, 2).size() == 2);
}

TEST_CASE("batch source: a pass goes on from any batch", "[unit][loops]") {
  for (const auto mode : {CombineMode::kMinSize, CombineMode::kMaxSizeCycle, CombineMode::kMaxSize}) {
    const auto source = both(mode);
    const auto whole = read(source);
    for (std::int64_t first = 1; first < source.size(); ++first) {
      CAPTURE(first);
      CHECK(whole.ends_with(" " + read(source, first)));
    }
  }
}

TEST_CASE("batch source: ends by itself when all loaders have ended", "[unit][loops]") {
  for (const auto mode : {CombineMode::kMinSize, CombineMode::kMaxSizeCycle, CombineMode::kMaxSize}) {
    const auto source = both(mode);
    auto batches = source.epoch(0);
    for (std::int64_t i = 0; i < source.size(); ++i) REQUIRE(batches.next());
    CHECK_FALSE(batches.next());
  }
  CHECK(BatchSource().size() == 0);
  CHECK_FALSE(BatchSource().epoch(0).next());
  const BatchSource empty({{"a", numbers(0, 0)}, {"b", numbers(10, 5)}}, CombineMode::kMaxSizeCycle, 1.0,
                          "limit");
  CHECK(empty.size() == 0);
  CHECK(empty.is_empty());
}

namespace {

struct Counting : IterableDataset<std::int64_t> {
  Counting(std::int64_t from, std::int64_t count) : begin(from), end(from + count) {}
  struct Reading : Stream<std::int64_t> {
    Reading(std::int64_t from, std::int64_t to) : at(from), end(to) {}
    std::optional<std::int64_t> next() override { return at < end ? std::optional(at++) : std::nullopt; }
    std::int64_t at, end;
  };
  [[nodiscard]] std::unique_ptr<Stream<std::int64_t>> open(const Shard&, std::int64_t) const override {
    return std::make_unique<Reading>(begin, end);
  }
  std::int64_t begin, end;
};

DataLoader stream(std::int64_t first, std::int64_t count) {
  return {std::make_shared<Counting>(first, count), {.num_workers = 0}};
}

}  // namespace

TEST_CASE("batch source: streams among the loaders, and going on from any place", "[unit][loops]") {
  const std::map<CombineMode, std::string> expected{{CombineMode::kMinSize, "0,10 1,11 2,12"},
                                                    {CombineMode::kMaxSizeCycle, "0,10 1,11 2,12 0,13 1,14"},
                                                    {CombineMode::kMaxSize, "0,10 1,11 2,12 -,13 -,14"}};
  for (const auto& [mode, text] : expected) {
    for (const auto& [a, b] : std::vector<std::pair<DataLoader, DataLoader>>{
             {stream(0, 3), numbers(10, 5)}, {numbers(0, 3), stream(10, 5)}, {stream(0, 3), stream(10, 5)}}) {
      const BatchSource source({{"a", a}, {"b", b}}, mode, 1.0, "limit");
      CHECK(source.has_stream());
      CHECK(read(source) == text);
      const auto count = std::count(text.begin(), text.end(), ' ') + 1;
      for (std::int64_t taken = 0; taken <= count; ++taken) {
        auto before = source.epoch(0);
        for (std::int64_t i = 0; i < taken; ++i) REQUIRE(before.next());
        CHECK(before.has_next() == (taken < count));
        auto after = source.resume(0, taken, before.save_state());
        std::int64_t rest = 0;
        while (after.has_next()) {
          const auto mine = after.next(), theirs = before.next();
          REQUIRE(mine);
          REQUIRE(theirs);
          for (const auto& [name, one] : mine->as<Nested>().items) {
            const auto& other = theirs->as<Nested>()[name];
            CHECK(one.empty() == other.empty());
            if (!one.empty()) CHECK(torch::equal(one.input, other.input));
          }
          ++rest;
        }
        CHECK(rest == count - taken);
      }
    }
  }
  const BatchSource one({{"a", stream(0, 3)}}, CombineMode::kMaxSizeCycle, 1.0, "limit");
  CHECK(one.size() == kUnknownBatches);
  CHECK_THROWS_WITH(one.samples(), Catch::Contains("have no places"));
  CHECK_FALSE(both(CombineMode::kMinSize).has_stream());
  CHECK(both(CombineMode::kMinSize).epoch(0).save_state().is_null());
}

TEST_CASE("DataLoaders: from one, from several, with names", "[unit][data]") {
  CHECK_FALSE(DataLoaders().defined());
  CHECK_FALSE(DataLoaders(DataLoader()).defined());
  CHECK(DataLoaders(numbers(0, 3)).size() == 1);
  const DataLoaders two{numbers(0, 3), numbers(0, 5)};
  CHECK(two.all()[1].first == "1");
  const DataLoaders named{{"x", numbers(0, 3)}, {"y", numbers(0, 5)}};
  CHECK(named.all()[1].first == "y");
  CHECK_FALSE(named.mode());
  CHECK(CombinedLoader(named).mode() == CombineMode::kMinSize);
  CHECK_THROWS_WITH(CombinedLoader(named, "max"),
                    Catch::Contains("mode is \"max\", expected \"min_size\", \"max_size_cycle\""));
  CHECK_THROWS_WITH(DataLoaders({{"x", numbers(0, 3)}, {"x", numbers(0, 5)}}),
                    Catch::Contains("two loaders are called \"x\""));
  CHECK_THROWS_WITH(DataLoaders({numbers(0, 3), DataLoader()}), Catch::Contains("\"1\" has no data set"));
}

}  // namespace batch_source_test
