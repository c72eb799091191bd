// MixUp and CutMix against torchvision's own output.
#include "tests/support/golden_images.h"

#include <rtrain/data.h>

#include <numeric>

namespace transforms_mix_test {

using namespace rtrain;
using namespace rtrain::data::transforms;
using Catch::Matchers::Contains;

namespace {

torch::Tensor images() {
  return test::small_image().flatten().narrow(0, 0, 80).view({4, 1, 4, 5}).to(torch::kFloat) / 255;
}
torch::Tensor classes() { return torch::tensor({0, 1, 2, 1}, torch::kLong); }

const test::GoldenSection& section(const std::string& title) {
  static const auto all = test::golden_sections("transforms/mix.txt");
  for (const auto& one : all)
    if (one.title == title) return one;
  throw std::runtime_error("mix.txt has no section " + title);
}

at::Generator generator(std::uint64_t seed) { return at::detail::createCPUGenerator(seed); }

}  // namespace

TEST_CASE("transforms: MixUp and CutMix are torchvision's", "[unit][worker][data]") {
  const std::vector<std::pair<std::string, std::shared_ptr<const BatchTransform>>> cases{
      {"MixUp", MixUp({.num_classes = 3})},
      {"MixUp .2", MixUp({.alpha = 0.2, .num_classes = 3})},
      {"CutMix", CutMix({.num_classes = 3})},
      {"CutMix .5", CutMix({.alpha = 0.5, .num_classes = 3})},
      {"RandomChoice", RandomChoice({CutMix({.num_classes = 3}), MixUp({.num_classes = 3})})}};
  for (const auto& [title, transform] : cases) {
    const auto& lines = section(title).lines;
    for (std::size_t seed = 0; 2 * seed < lines.size(); ++seed) {
      INFO(title << ", seed " << seed);
      auto random = generator(seed);
      const auto mixed = transform->apply({images(), classes()}, random);
      test::check_image(mixed.input, test::golden_image(lines[2 * seed]));
      test::check_image(mixed.target, test::golden_image(lines[2 * seed + 1]));
    }
  }
  auto random = generator(1);
  const auto target = torch::tensor({0.5, 0.5, 0.0, 1.0, 1.0, 0.0, 0.25, 0.75}, torch::kFloat).view({4, 2});
  test::check_image(MixUp()->apply({images(), target}, random).target,
                    test::golden_image(section("MixUp of probabilities").lines[0]));
}

TEST_CASE("transforms: lambda of MixUp is of a Beta distribution", "[unit][worker][data]") {
  const auto input = torch::tensor({0.0F, 1.0F}).view({2, 1, 1, 1});
  const auto target = torch::tensor({0, 1}, torch::kLong);
  constexpr int kCount = 3000;
  for (const double alpha : {0.4, 1.0, 2.0}) {
    double sum = 0, squares = 0;
    const auto mix = MixUp({.alpha = alpha, .num_classes = 2});
    for (int i = 0; i < kCount; ++i) {
      auto random = SampleContext{.seed = 3}.batch_generator(std::vector<std::int64_t>{i, i + 1});
      // The second image is 1, its partner 0: what is left of it is lambda.
      const auto mixed = mix->apply({input, target}, random);
      const auto lambda = mixed.input[1].item<double>();
      CHECK(std::abs(mixed.target[1][1].item<double>() - lambda) < 1e-6);
      sum += lambda, squares += lambda * lambda;
    }
    const auto mean = sum / kCount, variance = squares / kCount - mean * mean;
    const auto expected = 1 / (4 * (2 * alpha + 1));
    INFO("alpha " << alpha);
    CHECK(std::abs(mean - 0.5) < 5 * std::sqrt(expected / kCount));
    CHECK(std::abs(variance - expected) < 0.1 * expected);
  }
}

TEST_CASE("transforms: a data set mixes batches the same in any number of threads", "[unit][worker][data]") {
  const auto set =
      data::Transformed(data::TensorDataset(torch::rand({24, 3, 4, 4}), torch::arange(24).remainder(5)),
                        RandomChoice({CutMix({.num_classes = 5}), MixUp({.num_classes = 5})}));
  const auto read = [&](int num_workers, std::int64_t epoch) {
    auto batches = DataLoader(set, {.batch_size = 6, .num_workers = num_workers, .seed = 9}).epoch(epoch);
    std::vector<torch::Tensor> inputs, targets;
    while (const auto batch = batches.next())
      inputs.push_back(batch->input), targets.push_back(batch->target);
    return std::pair(torch::cat(inputs), torch::cat(targets));
  };
  const auto [input, target] = read(0, 0);
  CHECK(target.sizes() == std::vector<std::int64_t>{24, 5});
  CHECK(torch::allclose(target.sum(1), torch::ones(24)));
  const auto [again, targets_again] = read(3, 0);
  CHECK(torch::equal(input, again));
  CHECK(torch::equal(target, targets_again));
  CHECK_FALSE(torch::equal(input, read(0, 1).first));
  // A batch of one sample does not draw that sample's numbers.
  const SampleContext context{.seed = 9};
  const std::vector<std::int64_t> one{3};
  auto of_batch = context.batch_generator(one), of_sample = context.generator(3);
  CHECK_FALSE(torch::equal(at::rand({4}, of_batch), at::rand({4}, of_sample)));
}

TEST_CASE("transforms: what cannot be mixed is named", "[unit][worker][data]") {
  auto random = generator(0);
  CHECK_THROWS_WITH(MixUp()->apply({images(), classes()}, random), Contains("num_classes must say how many"));
  CHECK_THROWS_WITH(MixUp()->apply({images()}, random), Contains("no input or no target"));
  CHECK_THROWS_WITH(MixUp({.num_classes = 3})->apply({images().to(torch::kByte), classes()}, random),
                    Contains("put ToTensor() before it"));
  CHECK_THROWS_WITH(CutMix({.num_classes = 3})->apply({images()[0], classes()}, random),
                    Contains("expected input [N, C, H, W]"));
  CHECK_THROWS_WITH(CutMix({.num_classes = 3})->apply({images(), torch::ones({4, 2})}, random),
                    Contains("targets have 2 classes"));
  CHECK_THROWS_WITH(MixUp({.alpha = 0}), Contains("alpha is 0"));
  CHECK_THROWS_WITH(RandomChoice({MixUp(), CutMix()}, {1, -1}), Contains("a weight is -1"));
  CHECK_THROWS_WITH(RandomChoice({MixUp(), CutMix()}, {1}), Contains("1 weights for 2 transforms"));
}

}  // namespace transforms_mix_test
