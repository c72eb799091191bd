// Data sets that are read sample by sample: MapDataset, collate, pad_collate, and those of torch::data.
#include "tests/support/catch.h"
#include "tests/support/golden.h"

#include <rtrain/data.h>

#include <torch/torch.h>

#include <functional>

namespace map_dataset_test {

using namespace rtrain;
using Catch::Matchers::Contains;

namespace {

template <class Sample>
struct Made : MapDataset<Sample> {
  std::function<Sample(std::int64_t)> make;
  explicit Made(std::function<Sample(std::int64_t)> of_index) : make(std::move(of_index)) {}
  [[nodiscard]] std::int64_t size() const override { return 10; }
  [[nodiscard]] Sample get(std::int64_t index) const override { return make(index); }
};

/// The batch of samples 3 and 1.
template <class Sample>
Batch two(std::function<Sample(std::int64_t)> make) {
  return Made<Sample>(std::move(make)).get_batch(std::vector<std::int64_t>{3, 1});
}

struct Boxes {
  torch::Tensor image, boxes;
  void for_each_tensor(auto&& visit) { visit(image), visit(boxes); }
};
struct Named {
  torch::Tensor image;
  std::string file;
  void for_each_tensor(auto&& visit) { visit(image); }
};

}  // namespace

TEST_CASE("collate: tensors and numbers become input and target", "[unit][worker][data]") {
  const auto row = [](std::int64_t i) { return torch::full({2}, static_cast<double>(i)); };
  CHECK(torch::equal(two<torch::Tensor>(row).input, torch::tensor({{3.0F, 3.0F}, {1.0F, 1.0F}})));
  CHECK(torch::equal(two<int>([](auto i) { return static_cast<int>(i); }).input, torch::tensor({3L, 1L})));
  CHECK(two<std::uint8_t>([](auto i) { return static_cast<std::uint8_t>(i); }).input.scalar_type() ==
        torch::kLong);
  CHECK(two<float>([](auto) { return 0.5F; }).input.scalar_type() == torch::kFloat);
  CHECK(two<double>([](auto) { return 0.5; }).input.scalar_type() == torch::kDouble);
  CHECK_THROWS_WITH(two<std::uint64_t>([](auto) { return ~std::uint64_t{0}; }), Contains("does not fit"));

  const auto pair =
      two<std::pair<torch::Tensor, int>>([&](auto i) { return std::pair(row(i), static_cast<int>(i) * 10); });
  CHECK(pair.input.sizes() == std::vector<std::int64_t>{2, 2});
  CHECK(torch::equal(pair.target, torch::tensor({30L, 10L})));
  CHECK_FALSE(pair.has_value());
  const auto flags = two<std::tuple<torch::Tensor, bool>>([&](auto i) { return std::tuple(row(i), i == 3); });
  CHECK(torch::equal(flags.target, torch::tensor({true, false})));
  const auto whole = two<Batch>([&](auto i) { return Batch(row(i), torch::scalar_tensor(i)); });
  CHECK(whole.input.size(0) == 2);
  CHECK(whole.target.sizes() == std::vector<std::int64_t>{2});
}

TEST_CASE("collate: maps, longer tuples, strings and structs", "[unit][worker][data]") {
  using Sample = std::map<std::string, std::tuple<double, std::string>>;
  const auto batch =
      two<Sample>([](auto i) { return Sample{{"b", {static_cast<double>(i), std::to_string(i)}}}; });
  const auto& b = batch.as<Nested>()["b"].as<Nested>();
  CHECK(torch::equal(b["0"].input, torch::tensor({3.0, 1.0}, torch::kDouble)));
  CHECK(b["1"].as<data::List<std::string>>().items == std::vector<std::string>{"3", "1"});
  CHECK(batch.size() == 2);

  const auto three = two<std::tuple<int, int, torch::Tensor>>(
      [](auto i) { return std::tuple(static_cast<int>(i), 0, torch::ones({4})); });
  CHECK(three.as<Nested>()["2"].input.sizes() == std::vector<std::int64_t>{2, 4});

  const auto boxes = two<Boxes>([](auto i) { return Boxes{torch::ones({3}) * i, torch::zeros({i / i, 4})}; });
  CHECK(boxes.as<Boxes>().image.sizes() == std::vector<std::int64_t>{2, 3});
  CHECK(boxes.as<Boxes>().boxes.sizes() == std::vector<std::int64_t>{2, 1, 4});
  CHECK_THROWS_WITH(two<Named>([](auto) { return Named{torch::ones({3}), "a"}; }),
                    Contains("Named (40 bytes)") && Contains("override collate()"));
}

TEST_CASE("collate: samples that do not fit are named, with both shapes", "[unit][worker][data]") {
  CHECK_THROWS_WITH(
      two<torch::Tensor>([](auto i) { return torch::ones({i}); }),
      Contains("sample 1 of the batch has shape [1] of Float, sample 0 has shape [3] of Float") &&
          Contains("in the data set they are the samples 1 and 3"));
  CHECK_THROWS_AS(two<torch::Tensor>([](auto i) { return torch::ones({i}); }), data::CollateError);
  CHECK_THROWS_WITH(
      two<torch::Tensor>([](auto i) { return torch::ones({2}, i == 1 ? torch::kLong : torch::kFloat); }),
      Contains("shape [2] of Long"));
  using Pair = std::pair<torch::Tensor, torch::Tensor>;
  CHECK_THROWS_WITH(two<Pair>([](auto i) { return Pair(torch::ones({2}), torch::ones({i})); }),
                    Contains("(in 1)"));
  using Map = std::map<std::string, int>;
  CHECK_THROWS_WITH(two<Map>([](auto i) { return i == 3 ? Map{{"a", 1}, {"b", 2}} : Map{{"a", 1}}; }),
                    Contains("sample 1 of the batch has no \"b\""));
  CHECK_THROWS_WITH(data::collate(std::span<const int>()), Contains("no samples"));
}

TEST_CASE("pad_collate: sequences, their lengths and targets", "[unit][worker][data]") {
  using Pair = std::pair<torch::Tensor, torch::Tensor>;
  std::vector<Pair> samples{{torch::tensor({1L, 2L, 3L}), torch::tensor({7L})},
                            {torch::tensor({4L}), torch::tensor({8L})}};
  auto batch = data::pad_collate(std::span<const Pair>(samples), {.padding_value = -1});
  CHECK(torch::equal(batch.input, torch::tensor({{1L, 2L, 3L}, {4L, -1L, -1L}})));
  CHECK(torch::equal(batch.as<data::Lengths>().input, torch::tensor({3L, 1L})));
  CHECK_FALSE(batch.as<data::Lengths>().target.defined());
  CHECK(torch::equal(batch.target, torch::tensor({{7L}, {8L}})));

  samples[1].second = torch::tensor({8L, 9L});
  batch = data::pad_collate(std::span<const Pair>(samples), {.target_padding_value = -100});
  CHECK(torch::equal(batch.target, torch::tensor({{7L, -100L}, {8L, 9L}})));
  CHECK(torch::equal(batch.as<data::Lengths>().target, torch::tensor({1L, 2L})));

  const std::vector<torch::Tensor> wide{torch::ones({2, 3}), torch::ones({1, 4})};
  CHECK_THROWS_WITH(
      data::pad_collate(std::span<const torch::Tensor>(wide)),
      Contains("sample 1 of the batch has shape [1, 4]") && Contains("only the first dimension"));
  const std::vector<torch::Tensor> rows{torch::ones({2, 3}), torch::ones({0, 3})};
  CHECK(data::pad_collate(std::span<const torch::Tensor>(rows)).input.sizes() ==
        std::vector<std::int64_t>{2, 2, 3});
}

TEST_CASE("map data set: the loader hands the context to get()", "[unit][worker][data]") {
  struct Noisy : MapDataset<std::int64_t> {
    [[nodiscard]] std::int64_t size() const override { return 3; }
    [[nodiscard]] std::int64_t get(std::int64_t) const override { return -1; }
    [[nodiscard]] std::int64_t get(std::int64_t index, const SampleContext& context) const override {
      return static_cast<std::int64_t>(context.seed) * 100 + context.epoch * 10 + index;
    }
  };
  const auto set = std::make_shared<Noisy>();
  const auto read = [](const std::shared_ptr<const Dataset>& of) {
    return DataLoader(of, {.batch_size = 8, .seed = 4}).epoch(2).next()->input;
  };
  CHECK(torch::equal(read(set), torch::tensor({420L, 421L, 422L})));
  CHECK(torch::equal(read(data::Subset(set, {2, 0})), torch::tensor({422L, 420L})));
  CHECK(torch::equal(read(data::ConcatDataset({set, set})),
                     torch::tensor({420L, 421L, 422L, 420L, 421L, 422L})));
  CHECK(torch::equal(set->get_batch(std::vector<std::int64_t>{0, 1}).input, torch::tensor({-1L, -1L})));
}

TEST_CASE("data sets together: names and strings keep their order, other values are refused",
          "[unit][worker][data]") {
  using Sample = std::tuple<int, std::string, torch::Tensor>;
  const auto of = [](int base) {
    return std::make_shared<Made<Sample>>([base](std::int64_t i) {
      const auto number = base + static_cast<int>(i);
      return Sample(number, std::to_string(number), torch::ones({2}));
    });
  };
  const auto both = data::ConcatDataset({of(0), of(100)});
  const auto batch = both->get_batch(std::vector<std::int64_t>{15, 2, 11, 3});
  CHECK(torch::equal(batch.as<Nested>()["0"].input, torch::tensor({105L, 2L, 101L, 3L})));
  CHECK(batch.as<Nested>()["1"].as<data::List<std::string>>().items ==
        std::vector<std::string>{"105", "2", "101", "3"});
  const auto boxes = std::make_shared<Made<Boxes>>(
      [](std::int64_t) { return Boxes{torch::ones({3}), torch::zeros({1, 4})}; });
  CHECK_THROWS_WITH(data::ConcatDataset({boxes, boxes})->get_batch(std::vector<std::int64_t>{0, 10}),
                    Contains("values of a type of their own"));
}

TEST_CASE("torch::data: its map-style data sets are read as they are", "[unit][worker][data]") {
  namespace td = torch::data;
  struct Squares : td::datasets::Dataset<Squares> {
    td::Example<> get(std::size_t index) override {
      const auto number = static_cast<std::int64_t>(index);
      return {torch::full({2}, number), torch::scalar_tensor(number * number, torch::kLong)};
    }
    [[nodiscard]] std::optional<std::size_t> size() const override { return 9; }
  };
  const std::vector<std::int64_t> wanted{4, 0};
  for (const auto& set :
       {data::from_torch(Squares()), data::from_torch(Squares().map(td::transforms::Stack<>()))}) {
    CHECK(set->size() == 9);
    const auto batch = set->get_batch(wanted);
    CHECK(torch::equal(batch.input, torch::tensor({{4L, 4L}, {0L, 0L}})));
    CHECK(torch::equal(batch.target, torch::tensor({16L, 0L})));
  }
  const auto tensors = data::from_torch(td::datasets::TensorDataset(torch::arange(4)));
  CHECK(torch::equal(tensors->get_batch(std::vector<std::int64_t>{3, 1}).input, torch::tensor({3L, 1L})));
}

TEST_CASE("torch::data: each thread has a copy to itself", "[unit][worker][data]") {
  namespace td = torch::data;
  struct Counting : td::datasets::Dataset<Counting, td::TensorExample> {
    bool busy = false;
    td::TensorExample get(std::size_t index) override {
      if (std::exchange(busy, true)) throw std::logic_error("read by two threads");
      auto sample = torch::scalar_tensor(static_cast<std::int64_t>(index), torch::kLong);
      busy = false;
      return sample;
    }
    [[nodiscard]] std::optional<std::size_t> size() const override { return 400; }
  };
  auto iterator = DataLoader(data::from_torch(Counting()), {.batch_size = 8, .num_workers = 4}).epoch(0);
  std::int64_t next = 0;
  while (const auto batch = iterator.next()) {
    CHECK(torch::equal(batch->input, torch::arange(next, next + 8)));
    next += 8;
  }
  CHECK(next == 400);
  struct Endless : td::datasets::Dataset<Endless, td::TensorExample> {
    td::TensorExample get(std::size_t) override { return torch::ones({1}); }
    [[nodiscard]] std::optional<std::size_t> size() const override { return std::nullopt; }
  };
  CHECK_THROWS_WITH(data::from_torch(Endless()), Contains("does not know its size"));
}

}  // namespace map_dataset_test
