// Sizes, crops, borders and flips against torchvision's own output.
#include "tests/support/golden_images.h"

#include <rtrain/data.h>

namespace transforms_geometry_test {

using namespace rtrain;
using namespace rtrain::data::transforms;
namespace F = rtrain::data::transforms::functional;
using Catch::Matchers::Contains;
using test::GoldenCase;

namespace {

/// Without AVX2 bytes are resized in float32, and may differ by one.
double bytes_of_resize() {
  const auto capability = at::get_cpu_capability();
  return capability == "AVX2" || capability == "AVX512" ? 0 : 1;
}

GoldenCase resize(ImageSize size, ResizeOptions options = {}, bool is_large = false) {
  return {.given = [=](const auto& images) { return F::resize(images, size, options); },
          .is_large = is_large,
          .bytes = bytes_of_resize()};
}
GoldenCase crop(std::int64_t top, std::int64_t left, std::int64_t height, std::int64_t width) {
  return {.given = [=](const auto& images) { return F::crop(images, top, left, height, width); }};
}
GoldenCase center_crop(ImageSize size) {
  return {.given = [=](const auto& images) { return F::center_crop(images, size); }};
}
GoldenCase pad(Borders borders, Fill fill = {0}, PaddingMode mode = PaddingMode::kConstant) {
  return {.given = [=](const auto& images) { return F::pad(images, borders, fill, mode); }};
}
/// The script stacks crops in front of a single image's dimensions, the transform behind those of a batch.
GoldenCase of(std::shared_ptr<const Transform> transform) {
  return {.given = [=](const auto& images) { return transform->apply(images); }};
}
GoldenCase seeded(std::shared_ptr<const Transform> transform) { return {.seeded = std::move(transform)}; }
GoldenCase resized(std::shared_ptr<const Transform> transform) {
  return {.seeded = std::move(transform), .bytes = bytes_of_resize()};
}

std::vector<at::Generator> generators(std::int64_t count) {
  std::vector<std::int64_t> samples(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < samples.size(); ++i) samples[i] = static_cast<std::int64_t>(i);
  return SampleContext{.seed = 11, .epoch = 2}.generators(samples);
}

}  // namespace

TEST_CASE("transforms: sizes, crops, borders and flips are torchvision's", "[unit][worker][data]") {
  const ResizeOptions plain{.antialias = false};
  test::check_golden_images(
      "transforms/geometry.txt",
      {{"resize [4, 5]", resize({4, 5})},
       {"resize [4, 5] plain", resize({4, 5}, plain)},
       {"resize [16, 20]", resize({16, 20})},
       {"resize [16, 20] plain", resize({16, 20}, plain)},
       {"resize [5]", resize(5)},
       {"resize [5] plain", resize(5, plain)},
       {"resize [3]", resize(3)},
       {"resize [3] plain", resize(3, plain)},
       {"resize [4, 5] bicubic", resize({4, 5}, {.interpolation = Interpolation::kBicubic})},
       {"resize [9, 5] bicubic plain",
        resize({9, 5}, {.interpolation = Interpolation::kBicubic, .antialias = false})},
       {"resize [4, 5] nearest", resize({4, 5}, {.interpolation = Interpolation::kNearest})},
       {"resize [4, 5] nearest exact", resize({4, 5}, {.interpolation = Interpolation::kNearestExact})},
       {"resize [10] max 11", resize(10, {.max_size = 11})},
       {"resize large [7, 9]", resize({7, 9}, {}, /*is_large=*/true)},
       {"crop 1 2 3 4", crop(1, 2, 3, 4)},
       {"crop -1 -2 9 11", crop(-1, -2, 9, 11)},
       {"crop 4 5 4 4", crop(4, 5, 4, 4)},
       {"crop 8 9 2 2", crop(8, 9, 2, 2)},
       {"resized_crop 1 2 4 5 to [3, 4]",
        {.given = [](const auto& images) { return F::resized_crop(images, 1, 2, 4, 5, {3, 4}); },
         .bytes = bytes_of_resize()}},
       {"center_crop 3", center_crop(3)},
       {"center_crop [8, 4]", center_crop({8, 4})},
       {"center_crop [9, 10]", center_crop({9, 10})},
       {"hflip", {.given = F::hflip}},
       {"vflip", {.given = F::vflip}},
       {"pad 2 with 7", pad(2, {7})},
       {"pad 1 2 with 1 2 3", pad({1, 2}, {1, 2, 3})},
       {"pad 1 2 3 4 reflect", pad({1, 2, 3, 4}, {0}, PaddingMode::kReflect)},
       {"pad 1 2 3 4 edge", pad({1, 2, 3, 4}, {0}, PaddingMode::kEdge)},
       {"pad 1 2 3 4 symmetric", pad({1, 2, 3, 4}, {0}, PaddingMode::kSymmetric)},
       {"pad -1 2 0 -2", pad({-1, 2, 0, -2})},
       {"pad -1 2 0 -2 symmetric", pad({-1, 2, 0, -2}, {0}, PaddingMode::kSymmetric)},
       {"five_crop [3, 4]", of(FiveCrop({3, 4}))},
       {"ten_crop 3", of(TenCrop(3))},
       {"ten_crop 3 vertical", of(TenCrop(3, /*vertical_flip=*/true))},
       {"to_dtype float",
        {.given =
             [](const auto& images) {
               return ToDtype(at::kFloat, /*scale=*/true)->apply((images * 255).round().to(at::kByte));
             }}},
       {"to_dtype bytes",
        {.given =
             [](const auto& images) {
               return ToDtype(at::kByte, true)->apply(images.to(at::kFloat) / 255);
             }}},
       {"RandomCrop 4", seeded(RandomCrop(4))},
       {"RandomCrop [6, 5] padding 2", seeded(RandomCrop({6, 5}, {.padding = 2}))},
       {"RandomCrop 4 padding 1 2 3 0 reflect",
        seeded(RandomCrop(4, {.padding = {1, 2, 3, 0}, .padding_mode = PaddingMode::kReflect}))},
       {"RandomCrop [8, 3] if needed with 9",
        seeded(RandomCrop({8, 3}, {.pad_if_needed = true, .fill = {9}}))},
       {"RandomResizedCrop 4", resized(RandomResizedCrop(4))},
       {"RandomResizedCrop [5, 3] scale .5 1 ratio .9 1.1 bicubic",
        resized(RandomResizedCrop(
            {5, 3}, {.scale = {0.5, 1}, .ratio = {0.9, 1.1}, .interpolation = Interpolation::kBicubic}))},
       {"RandomResizedCrop 4 ratio 5 6", resized(RandomResizedCrop(4, {.scale = {0.9, 1}, .ratio = {5, 6}}))},
       {"RandomResizedCrop 4 ratio .1 .2",
        resized(RandomResizedCrop(4, {.scale = {0.9, 1}, .ratio = {0.1, 0.2}}))},
       {"RandomHorizontalFlip", seeded(RandomHorizontalFlip())},
       {"RandomVerticalFlip .3", seeded(RandomVerticalFlip(0.3))}});
}

TEST_CASE("transforms: each image of a batch draws from its own generator", "[unit][worker][data]") {
  const auto images = torch::arange(64 * 3 * 5 * 5).remainder(251).to(torch::kByte).view({64, 3, 5, 5});
  const auto steps = Compose({RandomCrop(4, {.padding = 1}), RandomHorizontalFlip(), ToTensor()});
  CHECK_FALSE(steps->is_pointwise());
  auto of_batch = generators(64), of_each = generators(64);
  const auto batch = steps->apply(images, of_batch);
  CHECK(batch.sizes() == std::vector<std::int64_t>{64, 3, 4, 4});
  for (std::int64_t i = 0; i < 64; ++i)
    CHECK(
        torch::equal(batch[i], steps->apply(images[i], std::span(&of_each[static_cast<std::size_t>(i)], 1))));
  CHECK(steps->apply(images.narrow(0, 0, 0), std::span<at::Generator>()).size(0) == 0);
  CHECK(Resize({2, 9})->apply(images.narrow(0, 0, 0)).sizes() == std::vector<std::int64_t>{0, 3, 2, 9});
  // Behind a FiveCrop all crops of an image have its numbers.
  auto again = generators(64);
  const auto crops = Compose({FiveCrop(4), RandomHorizontalFlip()})->apply(images, again);
  CHECK(crops.sizes() == std::vector<std::int64_t>{64, 5, 3, 4, 4});
}

TEST_CASE("transforms: places and flips are as often as they should be", "[unit][worker][data]") {
  const std::int64_t count = 4000;
  // Pixel (y, x) of 5 x 7 has the value 7 y + x: the first of a crop says where it begins.
  const auto image = torch::arange(35).to(torch::kByte).view({1, 5, 7});
  const auto images = image.expand({count, 1, 5, 7});
  auto random = generators(count);
  const auto begins = RandomCrop({3, 4})->apply(images, random).select(-1, 0).select(-1, 0).to(torch::kLong);
  const auto rows = begins.flatten().div(7, "floor").bincount(),
             columns = begins.flatten().remainder(7).bincount();
  REQUIRE(rows.numel() == 3);
  REQUIRE(columns.numel() == 4);
  // Five standard deviations of a binomial distribution are below 150 of 4000 / 3.
  CHECK((rows - count / 3).abs().max().item<std::int64_t>() < 150);
  CHECK((columns - count / 4).abs().max().item<std::int64_t>() < 150);
  random = generators(count);
  const auto flipped = RandomHorizontalFlip(0.2)->apply(images, random).select(-1, 0).select(-1, 0) == 6;
  CHECK(std::abs(flipped.sum().item<std::int64_t>() - count / 5) < 130);
  random = generators(count);
  CHECK(torch::equal(RandomVerticalFlip(0)->apply(images, random), images));
}

TEST_CASE("transforms: area and shape of a RandomResizedCrop are as they should be", "[unit][worker][data]") {
  // Two channels with the row and the column of each pixel: what a crop is resized to, says where it was.
  constexpr std::int64_t kCount = 1500, kSize = 256;
  const auto line = torch::arange(kSize).to(torch::kFloat);
  const auto image = torch::stack({line.view({-1, 1}).expand({kSize, kSize}), line.expand({kSize, kSize})});
  auto random = generators(kCount);
  std::vector<double> areas, shapes;
  const auto crop = RandomResizedCrop(2, {.scale = {0.2, 0.5}, .interpolation = Interpolation::kNearest});
  for (std::int64_t i = 0; i < kCount; ++i) {
    const auto places = crop->apply(image, std::span(&random[static_cast<std::size_t>(i)], 1));
    // The second of two pixels stands half a crop behind the first.
    const auto height = 2 * (places[0][1][0] - places[0][0][0]).item<double>();
    const auto width = 2 * (places[1][0][1] - places[1][0][0]).item<double>();
    areas.push_back(height * width / (kSize * kSize));
    shapes.push_back(std::log(width / height));
  }
  const auto area = torch::tensor(areas), shape = torch::tensor(shapes);
  // Uniform in 0.2..0.5, and in -log(4/3)..log(4/3): means, and variances of a uniform distribution.
  CHECK(std::abs(area.mean().item<double>() - 0.35) < 0.01);
  CHECK(std::abs(area.var().item<double>() - 0.3 * 0.3 / 12) < 0.0008);
  CHECK(area.min().item<double>() > 0.19);
  CHECK(area.max().item<double>() < 0.51);
  const auto width = 2 * std::log(4.0 / 3);
  CHECK(std::abs(shape.mean().item<double>()) < 0.025);
  CHECK(std::abs(shape.var().item<double>() - width * width / 12) < 0.004);
}

TEST_CASE("transforms: what cannot be cut or drawn is named", "[unit][worker][data]") {
  const auto image = test::small_image();
  auto one = generators(1);
  auto two = generators(2);
  CHECK_THROWS_WITH(RandomCrop(9)->apply(image, one),
                    Contains("9 x 9 is larger than the padded image of 6 x 7"));
  CHECK_THROWS_WITH(RandomHorizontalFlip()->apply(image), Contains("RandomHorizontalFlip is random"));
  CHECK_THROWS_WITH(RandomHorizontalFlip()->apply(image, two), Contains("2 generators for 1 images"));
  CHECK_THROWS_WITH(RandomHorizontalFlip(1.5), Contains("expected a probability"));
  CHECK_THROWS_WITH(FiveCrop(8)->apply(image), Contains("larger than the image of 6 x 7"));
  CHECK_THROWS_WITH(Resize({3, 4}, {.max_size = 9}), Contains("max_size is for a size of one number"));
  CHECK_THROWS_WITH(Resize(9, {.max_size = 9}), Contains("expected more than the size"));
  CHECK_THROWS_WITH(Resize(0), Contains("expected 1 or more"));
  CHECK_THROWS_WITH(F::pad(image, 7, {0}, PaddingMode::kReflect), Contains("kReflect needs borders below"));
  CHECK_THROWS_WITH(F::pad(image, 8, {0}, PaddingMode::kSymmetric),
                    Contains("symmetric borders of 8 pixels"));
  CHECK_THROWS_WITH(F::pad(image, 1, {1, 2}), Contains("2 fill values for 3 channels"));
  CHECK_THROWS_WITH(RandomResizedCrop(4, {.scale = {1, 0.5}}), Contains("scale is {1.0"));
  CHECK_THROWS_WITH(F::hflip(image[0]), Contains("expected images [..., C, H, W], found 2 dimensions"));
  CHECK_THROWS_WITH(ToDtype(at::kShort, true)->apply(image), Contains("uint8 and floating point"));
}

TEST_CASE("transforms: a data set with random transforms reads the same samples in any company",
          "[unit][worker][data]") {
  const auto images = torch::arange(20 * 5 * 5).remainder(251).to(torch::kByte).view({20, 1, 5, 5});
  const auto set = data::Transformed(data::TensorDataset(images, torch::arange(20)),
                                     Compose({RandomCrop(5, {.padding = 2}), ToTensor()}));
  const auto read = [&](std::int64_t batch_size, int num_workers, std::int64_t epoch) {
    auto batches =
        DataLoader(set, {.batch_size = batch_size, .num_workers = num_workers, .seed = 3}).epoch(epoch);
    std::vector<torch::Tensor> all;
    while (const auto batch = batches.next()) all.push_back(batch->input);
    return torch::cat(all);
  };
  const auto first = read(20, 0, 0);
  CHECK(first.sizes() == std::vector<std::int64_t>{20, 1, 5, 5});
  CHECK(torch::equal(first, read(3, 2, 0)));
  CHECK_FALSE(torch::equal(first, read(20, 0, 1)));
  CHECK(set->get_batch(std::vector<std::int64_t>{4}).target.item<std::int64_t>() == 4);
  CHECK_THROWS_WITH(data::Transformed(nullptr, ToTensor()), Contains("data set is null"));
}

}  // namespace transforms_geometry_test
