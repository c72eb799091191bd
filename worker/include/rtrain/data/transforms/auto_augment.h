// Augmentation that chooses operations by itself, for each image.
#pragma once

#include <rtrain/data/transforms.h>
#include <rtrain/data/transforms/image_options.h>

namespace rtrain::data::transforms {

/// Of all transforms here. Images are uint8, or floating point in 0..1, of 1 or 3 channels.
struct RTRAIN_API AugmentOptions {
  Interpolation interpolation = Interpolation::kNearest;  ///< or kBilinear
  Fill fill{};                                            ///< outside of images that are moved
};

struct RTRAIN_API RandAugmentOptions {
  std::int64_t num_ops = 2;              ///< operations in a row, 0 or more
  std::int64_t magnitude = 9;            ///< 0 to num_magnitude_bins - 1
  std::int64_t num_magnitude_bins = 31;  ///< 2 or more
};
/// Cubuk et al., "RandAugment", 2019: `num_ops` of 14 operations with one magnitude.
/// @throws std::invalid_argument for numbers out of range.
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> RandAugment(const RandAugmentOptions& options = {},
                                                                      AugmentOptions augment = {});

/// Müller and Hutter, "TrivialAugment", 2021: one of 14 operations with a random magnitude.
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> TrivialAugmentWide(
    std::int64_t num_magnitude_bins = 31, AugmentOptions augment = {});

/// The data set that a policy was found on.
enum class AutoAugmentPolicy { kImageNet, kCIFAR10, kSVHN };
/// Cubuk et al., "AutoAugment", 2018: one of 25 pairs of operations, each with its probability and magnitude.
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> AutoAugment(
    AutoAugmentPolicy policy = AutoAugmentPolicy::kImageNet, AugmentOptions augment = {});

struct RTRAIN_API AugMixOptions {
  std::int64_t severity = 3;       ///< magnitudes are drawn below it, 1 to 10
  std::int64_t mixture_width = 3;  ///< chains that are mixed, 1 or more
  std::int64_t chain_depth = -1;   ///< operations of a chain; below 1: 1 to 3, drawn for each
  double alpha = 1;                ///< of the Dirichlet distributions, above 0
  bool all_ops = true;             ///< also brightness, color, contrast and sharpness
};
/// Hendrycks et al., "AugMix", 2019. torchvision's interpolation here is kBilinear by default.
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> AugMix(
    const AugMixOptions& options = {}, AugmentOptions augment = {.interpolation = Interpolation::kBilinear});

}  // namespace rtrain::data::transforms
