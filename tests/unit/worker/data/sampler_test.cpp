// Samplers and splits against torch.utils.data: tests/golden/data/torch_utils_data.txt, made by
// make_golden.py there.
#include "tests/support/catch.h"
#include "tests/support/golden.h"

#include <rtrain/data.h>

#include <torch/torch.h>

#include <algorithm>
#include <sstream>

namespace sampler_test {

using namespace rtrain;
using Catch::Matchers::Contains;

namespace {

using Lists = std::vector<std::vector<std::int64_t>>;

std::string text(const std::vector<std::int64_t>& list) {
  std::string out = "[";
  for (const auto i : list) out += (out.size() > 1 ? ", " : "") + std::to_string(i);
  return out + "]";
}
std::string text(const Lists& lists) {
  std::string out = "[";
  for (const auto& list : lists) out += (out.size() > 1 ? ", " : "") + text(list);
  return out + "]";
}

/// Of the line `key a b c: ...` what ours gives for a, b, c.
std::string ours(const std::string& key, std::istringstream& words) {
  std::vector<std::int64_t> n;
  const auto read = [&](std::size_t count) {
    n.resize(count);
    for (auto& number : n) words >> number;
  };
  const std::vector<double> weights{.1, .9, .4, .7, 3., .6};
  const auto seed = [&] { return static_cast<std::uint64_t>(n[0]); };
  if (key == "distributed") {
    read(5);
    Lists all;
    for (int rank = 0; rank < n[1]; ++rank) {
      DistributedSampler sampler(n[0], {.num_replicas = static_cast<int>(n[1]),
                                        .rank = rank,
                                        .shuffle = n[2] != 0,
                                        .drop_last = n[3] != 0});
      sampler.set_epoch(n[4]);
      all.push_back(sampler.indices());
    }
    return text(all);
  }
  if (key == "random") {
    read(4);
    const RandomSampler sampler(n[1], seed(), {.replacement = n[2] != 0, .num_samples = n[3]});
    CHECK(sampler.size() == n[3]);
    CHECK(sampler.is_permutation() == (n[2] == 0 && n[3] == n[1]));
    return text(sampler.indices());
  }
  if (key == "subset") {
    read(1);
    return text(SubsetRandomSampler({5, 6, 7, 8}, seed()).indices());
  }
  if (key == "weighted") {
    read(3);
    return text(WeightedRandomSampler(weights, n[2], seed(), n[1] != 0).indices());
  }
  if (key == "batches") {
    read(1);
    return text(BatchSampler(std::make_shared<SequentialSampler>(10), 3, n[0] != 0).batches());
  }
  REQUIRE(key == "split");
  read(1);
  std::vector<data::SplitSize> sizes;
  std::string word;
  do {
    words >> word;
    const auto number = word.substr(word.front() == '[' ? 1 : 0);
    if (number.find('.') == std::string::npos)
      sizes.emplace_back(std::stoi(number));
    else
      sizes.emplace_back(std::stod(number));
  } while (word.back() != ']');
  std::uint64_t split_seed = 0;
  words >> split_seed;
  return text(data::random_split_indices(n[0], sizes, split_seed));
}

std::vector<std::int64_t> samples(const Dataset& set) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(set.size()));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
  const auto batch = set.get_batch(all);
  return {batch.input.const_data_ptr<std::int64_t>(),
          batch.input.const_data_ptr<std::int64_t>() + batch.input.numel()};
}

}  // namespace

TEST_CASE("samplers: the orders and parts of PyTorch for a seed", "[unit][worker][data]") {
  int seen = 0;
  for (const auto& line : test::golden_lines("data/torch_utils_data.txt")) {
    if (line.starts_with("refused ") || line.starts_with("collate")) continue;
    INFO(line);
    const auto colon = line.find(": ");
    std::istringstream words(line.substr(0, colon));
    std::string key;
    words >> key;
    CHECK(ours(key, words) == line.substr(colon + 2));
    ++seen;
  }
  CHECK(seen == 39);
}

TEST_CASE("samplers: an epoch is the seed's next one, and comes again", "[unit][worker][data]") {
  std::vector<std::shared_ptr<Sampler>> at_7{
      std::make_shared<RandomSampler>(10, 7, RandomSamplerOptions{.replacement = true}),
      std::make_shared<SubsetRandomSampler>(std::vector<std::int64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9}, 7),
      std::make_shared<WeightedRandomSampler>(std::vector<double>{1, 2, 3}, 9, 7)};
  std::vector<std::shared_ptr<Sampler>> at_3{
      std::make_shared<RandomSampler>(10, 3, RandomSamplerOptions{.replacement = true}),
      std::make_shared<SubsetRandomSampler>(std::vector<std::int64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9}, 3),
      std::make_shared<WeightedRandomSampler>(std::vector<double>{1, 2, 3}, 9, 3)};
  for (std::size_t i = 0; i < at_7.size(); ++i) {
    const auto want = at_7[i]->indices();
    at_3[i]->set_epoch(4);
    CHECK(at_3[i]->indices() == want);
    CHECK(at_3[i]->indices() == want);
    at_3[i]->set_epoch(5);
    CHECK(at_3[i]->indices() != want);
  }
}

TEST_CASE("samplers: what cannot be drawn is refused", "[unit][worker][data]") {
  using Weighted = WeightedRandomSampler;
  CHECK_THROWS_WITH(RandomSampler(3, 0, {.num_samples = 0}), Contains("num_samples is 0"));
  CHECK_THROWS_WITH(RandomSampler(0, 0, {.num_samples = 2}), Contains("the data set is empty"));
  CHECK(RandomSampler(0, 0).indices().empty());
  CHECK(RandomSampler(0, 0, {.replacement = true}).indices().empty());
  CHECK(SubsetRandomSampler({}, 0).indices().empty());
  CHECK_THROWS_WITH(Weighted({}, 1, 0), Contains("no weights given"));
  CHECK_THROWS_WITH(Weighted({1, -1}, 1, 0), Contains("weight 1 is -1"));
  CHECK_THROWS_WITH(Weighted({1, std::nan("")}, 1, 0), Contains("weight 1 is"));
  CHECK_THROWS_WITH(Weighted({0, 0}, 1, 0), Contains("all weights are 0"));
  CHECK_THROWS_WITH(Weighted({1, 1, 0}, 3, 0, false), Contains("only 2 weights are above 0"));
  CHECK_THROWS_WITH(Weighted({1}, 0, 0), Contains("num_samples is 0"));
  CHECK_THROWS_WITH(BatchSampler(nullptr, 1, false), Contains("no sampler"));
  CHECK_THROWS_WITH(BatchSampler(std::make_shared<SequentialSampler>(1), 0, false),
                    Contains("batch_size is 0"));
  struct Forgotten : BatchSampler {};
  CHECK_THROWS_WITH(Forgotten().batches(), Contains("must override batches()"));
  CHECK_THROWS_WITH(Forgotten().size(), Contains("must override size()"));
}

TEST_CASE("samplers: shards of one epoch cover the data, with the head repeated or the tail dropped",
          "[unit][worker][data]") {
  for (const bool drop_last : {false, true}) {
    for (const std::int64_t size : {0, 1, 5, 8, 11}) {
      for (const int world : {1, 2, 3, 8}) {
        std::vector<std::int64_t> all;
        std::size_t each = 0;
        for (int rank = 0; rank < world; ++rank) {
          DistributedSampler sampler(
              size, {.num_replicas = world, .rank = rank, .seed = 3, .drop_last = drop_last});
          sampler.set_epoch(2);
          const auto mine = sampler.indices();
          CHECK(static_cast<std::int64_t>(mine.size()) == sampler.size());
          if (rank == 0) each = mine.size();
          CHECK(mine.size() == each);
          all.insert(all.end(), mine.begin(), mine.end());
        }
        std::sort(all.begin(), all.end());
        const auto distinct = static_cast<std::int64_t>(std::unique(all.begin(), all.end()) - all.begin());
        CHECK(distinct == (drop_last ? size / world * world : size));
      }
    }
  }
  CHECK_THROWS_AS(DistributedSampler(4, {.num_replicas = 2, .rank = 2}), std::invalid_argument);
  CHECK_THROWS_AS(DistributedSampler(4, {.num_replicas = 2, .rank = -1}), std::invalid_argument);
  CHECK_THROWS_AS(SequentialSampler(-1), std::invalid_argument);
}

TEST_CASE("splits: parts of a data set, and several as one", "[unit][worker][data]") {
  const auto all = data::TensorDataset(torch::arange(10) * 10, torch::arange(10));
  CHECK(samples(*data::Subset(all, {7, 0, 7})) == std::vector<std::int64_t>{70, 0, 70});
  const auto parts = data::random_split(all, {7, 3}, 42);
  CHECK(samples(*parts.at(0)) == std::vector<std::int64_t>{20, 60, 10, 80, 40, 50, 0});
  CHECK(samples(*parts.at(1)) == std::vector<std::int64_t>{90, 30, 70});

  const auto both = data::ConcatDataset({parts[1], data::TensorDataset(torch::arange(2), torch::arange(2)),
                                         data::TensorDataset(torch::arange(0), torch::arange(0)), parts[0]});
  CHECK(both->size() == 12);
  CHECK(samples(*both) == std::vector<std::int64_t>{90, 30, 70, 0, 1, 20, 60, 10, 80, 40, 50, 0});
  const auto batch = both->get_batch(std::vector<std::int64_t>{11, 0, 4, 5, 1});
  CHECK(torch::equal(batch.input, torch::tensor({0, 90, 1, 20, 30})));
  CHECK(torch::equal(batch.target, torch::tensor({0, 9, 1, 2, 3})));

  CHECK_THROWS_WITH(data::Subset(all, {0, 10}), Contains("index 1 is sample 10 of a data set of 10"));
  CHECK_THROWS_WITH(data::random_split(all, {7, 2}, 0), Contains("1 are left over"));
  CHECK_THROWS_WITH(data::random_split(all, {7, 4}, 0), Contains("they sum to more"));
  CHECK_THROWS_WITH(data::random_split(all, {0.5, 0.4}, 0), Contains("sum to 0.9"));
  CHECK_THROWS_WITH(data::random_split(all, {1.5, -0.5}, 0), Contains("fraction 0 is 1.5"));
  CHECK_THROWS_WITH(data::random_split(all, {0.5, 5}, 0), Contains("size 1 is a number of samples (5)"));
  CHECK_THROWS_WITH(data::ConcatDataset({}), Contains("no data sets"));
  const auto other = data::ConcatDataset({all, data::TensorDataset(torch::zeros({2, 3}), torch::arange(2))});
  CHECK_THROWS_WITH(
      other->get_batch(std::vector<std::int64_t>{0, 11}),
      Contains("the input of two data sets differ: shape [1] of Long, and shape [1, 3] of Float"));
  CHECK(other->get_batch(std::vector<std::int64_t>{10, 11}).input.dim() == 2);
}

}  // namespace sampler_test
