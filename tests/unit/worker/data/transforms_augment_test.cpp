// RandAugment and its kin against torchvision's own output.
#include "tests/support/golden_images.h"

#include "worker/data/transforms/augmentation_space.h"

#include <rtrain/data.h>

#include <numeric>

namespace transforms_augment_test {

using namespace rtrain;
using namespace rtrain::data::transforms;
using Catch::Matchers::Contains;
using test::GoldenCase;

namespace {

const std::map<std::string, AugmentationSpace> kSpaces{
    {"RandAugment", AugmentationSpace::kRandAugment},
    {"TrivialAugmentWide", AugmentationSpace::kTrivialAugmentWide},
    {"AutoAugment", AugmentationSpace::kAutoAugment},
    {"AugMix", AugmentationSpace::kAugMix}};
const std::map<std::string, AutoAugmentPolicy> kPolicies{{"imagenet", AutoAugmentPolicy::kImageNet},
                                                         {"cifar10", AutoAugmentPolicy::kCIFAR10},
                                                         {"svhn", AutoAugmentPolicy::kSVHN}};

/// Products of float32 are cut to bytes, after several operations.
GoldenCase seeded(std::shared_ptr<const Transform> transform) {
  return {.seeded = std::move(transform), .is_large = true, .bytes = 1};
}

/// The space in the order of its numbers, which decide what is drawn.
void check_space(const test::GoldenSection& section, AugmentationSpace space) {
  const auto& operations = operations_of(space);
  const bool of_ten =
      space != AugmentationSpace::kRandAugment && space != AugmentationSpace::kTrivialAugmentWide;
  REQUIRE(operations.size() == section.lines.size());
  for (std::size_t i = 0; i < operations.size(); ++i) {
    std::istringstream words(section.lines[i]);
    std::string name;
    bool is_signed = false;
    words >> name >> is_signed;
    CHECK(operations[i].name == name);
    CHECK(operations[i].is_signed == is_signed);
    const auto magnitudes = test::golden_numbers(section.lines[i].substr(section.lines[i].find(':') + 1));
    CHECK((operations[i].magnitudes != nullptr) == !magnitudes.empty());
    if (operations[i].magnitudes == nullptr) continue;
    const auto own = operations[i].magnitudes(of_ten ? 10 : 31, 10, 8).to(torch::kDouble);
    INFO(name);
    CHECK(torch::allclose(own, torch::tensor(magnitudes, torch::kDouble), 1e-8, 1e-8));
  }
}

void check_policy(const test::GoldenSection& section, AutoAugmentPolicy policy) {
  std::vector<std::string> own;
  for (const auto& pair : pairs_of(policy)) {
    std::ostringstream line;
    for (const auto& step : pair) {
      line << (&step == &pair[0] ? "" : " ; ") << step.operation << " " << step.probability << " ";
      if (step.magnitude)
        line << *step.magnitude;
      else
        line << "-";
    }
    own.push_back(line.str());
  }
  CHECK(own == section.lines);
}

}  // namespace

TEST_CASE("transforms: operations, magnitudes and policies are torchvision's", "[unit][worker][data]") {
  std::size_t found = 0;
  for (const auto& section : test::golden_sections("transforms/augment.txt")) {
    INFO(section.title);
    if (section.title.starts_with("space of "))
      check_space(section, kSpaces.at(section.title.substr(9))), ++found;
    if (section.title.starts_with("policy "))
      check_policy(section, kPolicies.at(section.title.substr(7))), ++found;
  }
  CHECK(found == kSpaces.size() + kPolicies.size());
}

TEST_CASE("transforms: RandAugment, TrivialAugmentWide, AutoAugment and AugMix are torchvision's",
          "[unit][worker][data]") {
  const std::map<std::string, GoldenCase> cases{
      {"RandAugment", seeded(RandAugment())},
      {"RandAugment 3 25 40 bilinear with 9",
       seeded(RandAugment({.num_ops = 3, .magnitude = 25, .num_magnitude_bins = 40},
                          {.interpolation = Interpolation::kBilinear, .fill = {9}}))},
      {"TrivialAugmentWide", seeded(TrivialAugmentWide())},
      {"AutoAugment imagenet", seeded(AutoAugment())},
      {"AutoAugment cifar10", seeded(AutoAugment(AutoAugmentPolicy::kCIFAR10))},
      {"AutoAugment svhn", seeded(AutoAugment(AutoAugmentPolicy::kSVHN))},
      {"AugMix", seeded(AugMix())},
      {"AugMix 5 2 2 .5 partial",
       seeded(
           AugMix({.severity = 5, .mixture_width = 2, .chain_depth = 2, .alpha = 0.5, .all_ops = false}))}};
  std::size_t found = 0;
  for (const auto& section : test::golden_sections("transforms/augment.txt")) {
    if (section.title.starts_with("space of ") || section.title.starts_with("policy ")) continue;
    INFO(section.title);
    REQUIRE(cases.contains(section.title));
    test::check_golden_case(cases.at(section.title), section);
    ++found;
  }
  CHECK(found == cases.size());
}

TEST_CASE("transforms: all operations are drawn equally often", "[unit][worker][data]") {
  // Of one value and one pixel per channel, most operations change nothing: inversions of SVHN's policy do.
  constexpr std::int64_t kCount = 4000;
  std::vector<std::int64_t> samples(kCount);
  std::iota(samples.begin(), samples.end(), 0);
  auto generators = SampleContext{.seed = 8}.generators(samples);
  // A slope of 0.3 around the corner, at bin 30 of 31, moves pixels; brightness changes the sum.
  const auto images = torch::full({1, 1, 4, 4}, 100, torch::kByte).expand({kCount, 1, 4, 4});
  const auto changed = RandAugment({.num_ops = 1, .magnitude = 30})
                           ->apply(images, generators)
                           .to(torch::kLong)
                           .amax({1, 2, 3});
  // Brightness with magnitude +-0.9: 100 * 1.9 or 100 * 0.1, in 1 of 14 operations, half of the time each.
  const auto brighter = (changed == 190).sum().item<std::int64_t>(),
             darker = (changed == 10).sum().item<std::int64_t>();
  const auto expected = static_cast<double>(kCount) / 28;
  CHECK(std::abs(static_cast<double>(brighter) - expected) < 5 * std::sqrt(expected));
  CHECK(std::abs(static_cast<double>(darker) - expected) < 5 * std::sqrt(expected));
}

TEST_CASE("transforms: augmentation refuses what it does not know", "[unit][worker][data]") {
  auto generator = at::detail::createCPUGenerator(0);
  const std::span one(&generator, 1);
  CHECK_THROWS_WITH(RandAugment({.magnitude = 31}),
                    Contains("RandAugment: magnitude is 31, expected 0 to 30"));
  CHECK_THROWS_WITH(RandAugment({.num_ops = -1}), Contains("num_ops is -1"));
  CHECK_THROWS_WITH(TrivialAugmentWide(1), Contains("num_magnitude_bins is 1"));
  CHECK_THROWS_WITH(AugMix({.severity = 11}), Contains("severity is 11, expected 1 to 10"));
  CHECK_THROWS_WITH(AugMix({.alpha = 0}), Contains("alpha is 0"));
  CHECK_THROWS_WITH(AutoAugment(AutoAugmentPolicy::kSVHN, {.interpolation = Interpolation::kBicubic}),
                    Contains("kNearest or kBilinear"));
  CHECK_THROWS_WITH(RandAugment()->apply(torch::zeros({2, 4, 4}), one), Contains("1 or 3 channels"));
  CHECK_THROWS_WITH(RandAugment()->apply(torch::zeros({3, 4, 4}, torch::kInt), one),
                    Contains("expected uint8"));
}

}  // namespace transforms_augment_test
