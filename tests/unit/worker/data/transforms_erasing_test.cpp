// Erased rectangles against torchvision's own output.
#include "tests/support/golden_images.h"

#include <rtrain/data.h>

#include <numeric>

namespace transforms_erasing_test {

using namespace rtrain;
using namespace rtrain::data::transforms;
namespace F = rtrain::data::transforms::functional;
using Catch::Matchers::Contains;

namespace {

std::vector<at::Generator> generators(std::int64_t count) {
  std::vector<std::int64_t> samples(static_cast<std::size_t>(count));
  std::iota(samples.begin(), samples.end(), 0);
  return SampleContext{.seed = 21}.generators(samples);
}

}  // namespace

TEST_CASE("transforms: erasing is torchvision's", "[unit][worker][data]") {
  test::check_golden_images(
      "transforms/erasing.txt",
      {{"erase 1 2 3 4",
        {.given = [](const auto& images) { return F::erase(images, 1, 2, 3, 4, torch::zeros({1, 1, 1})); }}},
       {"erase 0 1 2 3 with 1 2 3",
        {.given =
             [](const auto& images) {
               return F::erase(images, 0, 1, 2, 3, torch::tensor({1.0, 2.0, 3.0}).view({3, 1, 1}));
             }}},
       {"RandomErasing 1", {.seeded = RandomErasing({.p = 1})}},
       {"RandomErasing .5 with 1 2 3", {.seeded = RandomErasing({.value = {1, 2, 3}})}},
       {"RandomErasing 1 random", {.seeded = RandomErasing({.p = 1, .with = EraseWith::kNoise})}}});
}

TEST_CASE("transforms: as much is erased, and as large, as asked for", "[unit][worker][data]") {
  constexpr std::int64_t kCount = 2000;
  auto random = generators(kCount);
  const auto images = torch::ones({1, 1, 60, 60}).expand({kCount, 1, 60, 60});
  const auto erased =
      1 - RandomErasing({.p = 0.25, .scale = {0.1, 0.3}})->apply(images, random).mean({1, 2, 3});
  const auto some = erased.masked_select(erased > 0);
  // Five standard deviations of a binomial distribution.
  CHECK(std::abs(static_cast<double>(some.numel()) - 0.25 * kCount) < 5 * std::sqrt(0.25 * 0.75 * kCount));
  CHECK(some.min().item<double>() > 0.09);
  CHECK(some.max().item<double>() < 0.31);
  CHECK(std::abs(some.mean().item<double>() - 0.2) < 0.015);
  CHECK(images.min().item<float>() == 1);
}

TEST_CASE("transforms: erasing refuses what is not there", "[unit][worker][data]") {
  const auto image = test::small_image();
  auto one = generators(1);
  CHECK_THROWS_WITH(F::erase(image, 4, 0, 3, 1, torch::zeros({1})),
                    Contains("not within the image of 6 x 7"));
  CHECK_THROWS_WITH(RandomErasing({.value = {1, 2}})->apply(image, one), Contains("2 values for 3 channels"));
  CHECK_THROWS_WITH(RandomErasing({.scale = {0.5, 1.5}}), Contains("RandomErasing: scale"));
  CHECK_THROWS_WITH(RandomErasing({.ratio = {0, 1}}), Contains("ratio begins at 0"));
  CHECK_THROWS_WITH(RandomErasing({.p = -1}), Contains("expected a probability"));
}

}  // namespace transforms_erasing_test
