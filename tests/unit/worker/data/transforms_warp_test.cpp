// Turned, sheared, blurred and chosen images against torchvision's own output.
#include "tests/support/golden_images.h"

#include <rtrain/data.h>

#include <numeric>

namespace transforms_warp_test {

using namespace rtrain;
using namespace rtrain::data::transforms;
namespace F = rtrain::data::transforms::functional;
using Catch::Matchers::Contains;
using test::GoldenCase;

namespace {

/// Bilinear values in float32 are rounded: another CPU may differ by one.
double bytes_of(Interpolation interpolation) { return interpolation == Interpolation::kBilinear ? 1 : 0; }

GoldenCase rotate(double angle, WarpOptions options = {}, Canvas canvas = Canvas::kKeep) {
  return {.given = [=](const auto& images) { return F::rotate(images, angle, options, canvas); },
          .bytes = bytes_of(options.interpolation)};
}
GoldenCase affine(F::AffineParameters parameters, WarpOptions options = {}) {
  return {.given = [=](const auto& images) { return F::affine(images, parameters, options); },
          .bytes = bytes_of(options.interpolation)};
}
GoldenCase perspective(WarpOptions options) {
  return {.given =
              [=](const auto& images) {
                return F::perspective(images, {Point{0, 0}, {6, 0}, {6, 5}, {0, 5}},
                                      {Point{1, 1}, {5, 0}, {6, 4}, {0, 5}}, options);
              },
          .bytes = bytes_of(options.interpolation)};
}
GoldenCase seeded(std::shared_ptr<const Transform> transform, double bytes = 0) {
  return {.seeded = std::move(transform), .bytes = bytes};
}
constexpr auto kBilinear = Interpolation::kBilinear;

}  // namespace

TEST_CASE("transforms: warps are torchvision's", "[unit][worker][data]") {
  test::check_golden_images(
      "transforms/warp.txt",
      {{"rotate 30", rotate(30)},
       {"rotate 30 bilinear", rotate(30, {.interpolation = kBilinear})},
       {"rotate 30 bilinear expand with .5",
        rotate(30, {.interpolation = kBilinear, .fill = {0.5}}, Canvas::kExpand)},
       {"rotate -75 expand with 1 2 3", rotate(-75, {.fill = {1, 2, 3}}, Canvas::kExpand)},
       {"rotate 90", rotate(90)},
       {"rotate 90 expand", rotate(90, {}, Canvas::kExpand)},
       {"rotate 180", rotate(180)},
       {"rotate -90 expand", rotate(-90, {}, Canvas::kExpand)},
       {"rotate 20 around 1 2", rotate(20, {.center = Point{1, 2}})},
       {"affine", affine({.angle = 10, .translate = {1, 2}, .scale = 1.2, .shear = {5, 0}})},
       {"affine bilinear with 9",
        affine({.angle = -25, .translate = {-1, 0}, .scale = 0.7, .shear = {5, -12}},
               {.interpolation = kBilinear, .fill = {9}})},
       {"affine bilinear around 0 0",
        affine({.angle = 15}, {.interpolation = kBilinear, .center = Point{0, 0}})},
       {"perspective", perspective({.interpolation = kBilinear})},
       {"perspective nearest with 5", perspective({.fill = {5}})},
       {"RandomRotation 40", seeded(RandomRotation(40))},
       {"RandomRotation (10, 20) bilinear around 1 2 with 8",
        seeded(RandomRotation({10, 20}, {.interpolation = kBilinear, .center = Point{1, 2}, .fill = {8}}),
               1)},
       {"RandomAffine 15", seeded(RandomAffine(15))},
       {"RandomAffine 15 all", seeded(RandomAffine(15, {.translate = Point{0.2, 0.3},
                                                        .scale = Range{0.8, 1.1},
                                                        .shear_x = 10,
                                                        .interpolation = kBilinear,
                                                        .fill = {3}}),
                                      1)},
       {"RandomAffine 0 shear of both",
        seeded(RandomAffine(0, {.shear_x = Spread{-5, 5}, .shear_y = Spread{10, 20}}))},
       {"RandomPerspective", seeded(RandomPerspective(), 1)},
       {"RandomPerspective 1 nearest with 4",
        seeded(RandomPerspective(
            {.distortion_scale = 0.8, .p = 1, .interpolation = Interpolation::kNearest, .fill = {4}}))}});
}

TEST_CASE("transforms: blur and noise are torchvision's", "[unit][worker][data]") {
  test::check_golden_images(
      "transforms/gaussian.txt",
      {{"gaussian_blur 3 sigma 1",
        {.given = [](const auto& images) { return F::gaussian_blur(images, {3, 3}, {1, 1}); }, .bytes = 1}},
       {"gaussian_blur [5, 3] sigma .6 1.5",
        {.given = [](const auto& images) { return F::gaussian_blur(images, {5, 3}, {0.6, 1.5}); },
         .bytes = 1}},
       {"gaussian_blur 5",
        {.given = [](const auto& images) { return F::gaussian_blur(images, {5, 5}); }, .bytes = 1}},
       {"GaussianBlur 3", seeded(GaussianBlur(3), 1)},
       {"GaussianNoise", seeded(GaussianNoise(), 1)},
       {"GaussianNoise .2 .05 unclipped", seeded(GaussianNoise(0.2, 0.05, /*clip=*/false), 1)}});
}

TEST_CASE("transforms: choices are torchvision's", "[unit][worker][data]") {
  test::check_golden_images(
      "transforms/choice.txt",
      {{"RandomApply", seeded(RandomApply({RandomCrop(4, {.padding = 2}), RandomHorizontalFlip()}, 1))},
       {"RandomApply .6", seeded(RandomApply({RandomInvert(1), RandomVerticalFlip()}, 0.6))},
       {"RandomChoice",
        seeded(RandomChoice({RandomInvert(1), RandomVerticalFlip(1), RandomCrop(6, {.padding = 2})},
                            {1, 2, 3}))},
       {"RandomOrder", seeded(RandomOrder({RandomSolarize(99, 1), RandomPosterize(2, 1),
                                           ColorJitter({.brightness = 0.9})}))},
       {"Compose", seeded(Compose({RandomResizedCrop(5), RandomHorizontalFlip(),
                                   ColorJitter({.brightness = 0.4, .contrast = 0.4, .saturation = 0.4}),
                                   RandomErasing()}),
                          2)}});
}

TEST_CASE("transforms: warps refuse what they cannot do", "[unit][worker][data]") {
  const auto image = test::small_image();
  std::vector<std::int64_t> samples{0, 1};
  auto two = SampleContext{}.generators(samples);
  CHECK_THROWS_WITH(F::rotate(image, 5, {.interpolation = Interpolation::kBicubic}),
                    Contains("kNearest or kBilinear"));
  CHECK_THROWS_WITH(F::affine(image, {.scale = 0}), Contains("scale is 0"));
  CHECK_THROWS_WITH(F::affine(image, {.angle = 1}, {.fill = {1, 2}}),
                    Contains("2 fill values for 3 channels"));
  CHECK_THROWS_WITH(RandomRotation(-3), Contains("degrees is -3"));
  CHECK_THROWS_WITH(RandomAffine(0, {.translate = Point{0, 1.5}}), Contains("RandomAffine: translate"));
  CHECK_THROWS_WITH(RandomAffine(0, {.scale = Range{0, 1}}), Contains("scale begins at 0"));
  CHECK_THROWS_WITH(RandomPerspective({.distortion_scale = 2}), Contains("distortion_scale"));
  CHECK_THROWS_WITH(GaussianBlur(4), Contains("expected odd numbers"));
  CHECK_THROWS_WITH(F::gaussian_blur(image, {15, 3}), Contains("must be less than the image"));
  CHECK_THROWS_WITH(GaussianBlur(3, {0, 1}), Contains("sigma begins at 0"));
  CHECK_THROWS_WITH(RandomApply({}), Contains("no transform to choose"));
  CHECK_THROWS_WITH(RandomOrder({nullptr}), Contains("a transform is null"));
  CHECK_THROWS_WITH(RandomRotation(40, {.canvas = Canvas::kExpand})->apply(torch::stack({image, image}), two),
                    Contains("became different in size"));
}

}  // namespace transforms_warp_test
