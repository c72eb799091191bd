#include "worker/loops/batch_source.h"

#include "tests/support/catch.h"

#include <rtrain/data/tensor_dataset.h>

#include <torch/torch.h>

#include <optional>

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
