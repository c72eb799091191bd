// What values pixels have, against torchvision's own output.
#include "tests/support/golden_images.h"

#include <rtrain/data.h>

#include <numeric>

namespace transforms_color_test {

using namespace rtrain;
using namespace rtrain::data::transforms;
namespace F = rtrain::data::transforms::functional;
using Catch::Matchers::Contains;
using test::GoldenCase;

namespace {

template <class Function>
GoldenCase by(Function function, double factor, double bytes = 0) {
  return {.given = [=](const auto& images) { return function(images, factor); }, .bytes = bytes};
}
GoldenCase with_gamma(double gamma, double gain = 1) {
  return {.given = [=](const auto& images) { return F::adjust_gamma(images, gamma, gain); }, .bytes = 1};
}
GoldenCase posterize(std::int64_t bits) {
  return {.given = [=](const auto& images) { return F::posterize(images, bits); }};
}
GoldenCase seeded(std::shared_ptr<const Transform> transform, double bytes = 0) {
  return {.seeded = std::move(transform), .bytes = bytes};
}
/// Sums in another order (another CPU) may change a byte by one.
constexpr double kOfSums = 1;

}  // namespace

TEST_CASE("transforms: colours are torchvision's", "[unit][worker][data]") {
  std::map<std::string, GoldenCase> cases{
      {"gamma 0.8 gain 1.7", with_gamma(0.8, 1.7)},
      {"contrast 0.4 of one channel",
       {.given = [](const auto& images) { return F::adjust_contrast(images.narrow(-3, 0, 1), 0.4); },
        .bytes = kOfSums}},
      {"grayscale 1", {.given = [](const auto& images) { return F::rgb_to_grayscale(images, 1); }}},
      {"grayscale 3", {.given = [](const auto& images) { return F::rgb_to_grayscale(images, 3); }}},
      {"posterize 0", posterize(0)},
      {"posterize 3", posterize(3)},
      {"posterize 8", posterize(8)},
      {"solarize half",
       {.given =
            [](const auto& images) { return F::solarize(images, images.is_floating_point() ? 0.5 : 128); }}},
      {"autocontrast", {.given = F::autocontrast}},
      {"autocontrast of one value",
       {.given =
            [](const auto& images) {
              return F::autocontrast(torch::full_like(images, images.is_floating_point() ? 0.5 : 9));
            }}},
      {"equalize small", {.given = F::equalize}},
      {"equalize large", {.given = F::equalize, .is_large = true}},
      {"invert", {.given = F::invert}},
      {"ColorJitter .4 .4 .4 .1",
       seeded(ColorJitter({.brightness = 0.4, .contrast = 0.4, .saturation = 0.4, .hue = 0.1}), kOfSums)},
      {"ColorJitter 1.5 0 (.5, .6)", seeded(ColorJitter({.brightness = 1.5, .saturation = {0.5, 0.6}}))},
      {"RandomGrayscale .5", seeded(RandomGrayscale(0.5))},
      {"RandomPosterize 3", seeded(RandomPosterize(3))},
      {"RandomSolarize 100", seeded(RandomSolarize(100))},
      {"RandomAutocontrast", seeded(RandomAutocontrast())},
      {"RandomEqualize", seeded(RandomEqualize())},
      {"RandomInvert", seeded(RandomInvert())},
      {"RandomAdjustSharpness 1.7", seeded(RandomAdjustSharpness(1.7))}};
  for (const auto& [factor, text] : {std::pair(0.0, "0"), {0.5, "0.5"}, {1.5, "1.5"}}) {
    const std::string number = std::string(" ") + text;
    cases["brightness" + number] = by(F::adjust_brightness, factor);
    cases["contrast" + number] = by(F::adjust_contrast, factor, kOfSums);
    cases["saturation" + number] = by(F::adjust_saturation, factor);
    cases["sharpness" + number] = by(F::adjust_sharpness, factor, kOfSums);
    cases["gamma" + number] = with_gamma(factor);
  }
  for (const auto& [factor, text] : {std::pair(-0.3, "-0.3"), {0.1, "0.1"}, {0.5, "0.5"}})
    cases[std::string("hue ") + text] = by(F::adjust_hue, factor);
  test::check_golden_images("transforms/color.txt", cases);
}

TEST_CASE("transforms: ColorJitter draws uniform factors in any order", "[unit][worker][data]") {
  constexpr std::int64_t kCount = 3000;
  std::vector<std::int64_t> samples(kCount);
  std::iota(samples.begin(), samples.end(), 0);
  auto generators = SampleContext{.seed = 4}.generators(samples);
  const auto factors = ColorJitter({.brightness = 0.5})
                           ->apply(torch::full({kCount, 1, 1, 1}, 0.5, torch::kDouble), generators)
                           .flatten() /
                       0.5;
  CHECK(factors.min().item<double>() >= 0.5);
  CHECK(factors.max().item<double>() <= 1.5);
  // Uniform in [0.5, 1.5]: mean 1, variance 1 / 12; five standard deviations of the means of 3000.
  CHECK(std::abs(factors.mean().item<double>() - 1) < 5 * std::sqrt(1 / 12.0 / kCount));
  CHECK(std::abs(factors.var().item<double>() - 1 / 12.0) < 5 * std::sqrt(1 / 180.0 / kCount));
  // A factor that would be negative is 0 at least.
  generators = SampleContext{.seed = 5}.generators(samples);
  CHECK(ColorJitter({.brightness = 3})
            ->apply(torch::full({kCount, 1, 1, 1}, 0.1, torch::kDouble), generators)
            .min()
            .item<double>() >= 0);
}

TEST_CASE("transforms: colours that make no sense are refused", "[unit][worker][data]") {
  const auto image = test::small_image();
  CHECK_THROWS_WITH(F::adjust_brightness(image, -1), Contains("factor is -1"));
  CHECK_THROWS_WITH(F::adjust_hue(image, 0.6), Contains("expected -0.5 to 0.5"));
  CHECK_THROWS_WITH(F::adjust_contrast(image.narrow(0, 0, 2), 1), Contains("1 or 3 channels, found 2"));
  CHECK_THROWS_WITH(F::posterize(image, 9), Contains("expected 0 to 8"));
  CHECK_THROWS_WITH(F::solarize(image, 256), Contains("more than the images' maximum"));
  CHECK_THROWS_WITH(F::invert(image.to(torch::kInt)), Contains("expected uint8 or floating point"));
  CHECK_THROWS_WITH(ColorJitter({.contrast = -0.1}), Contains("contrast is -0.1"));
  CHECK_THROWS_WITH(ColorJitter({.hue = 0.7}), Contains("ColorJitter: hue is {-0.7"));
  CHECK_THROWS_WITH(ColorJitter({.saturation = {2, 1}}), Contains("two rising numbers"));
}

}  // namespace transforms_color_test
