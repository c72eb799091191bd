// The operations that augmentation chooses from, and how strong they are.
#pragma once

#include <rtrain/data/transforms/auto_augment.h>

#include <optional>
#include <string_view>
#include <vector>

namespace rtrain::data::transforms {

/// Which magnitudes there are. Names and numbers are torchvision's.
enum class AugmentationSpace { kRandAugment, kTrivialAugmentWide, kAutoAugment, kAugMix, kAugMixPartial };

struct Operation {
  /// @param magnitude 0 for operations without one.
  using Apply = torch::Tensor (*)(const torch::Tensor& image, double magnitude,
                                  const AugmentOptions& options);
  /// @return [bins], float32. Shifts depend on the image's size.
  using Magnitudes = torch::Tensor (*)(std::int64_t bins, std::int64_t height, std::int64_t width);
  std::string_view name;
  Apply apply = nullptr;
  Magnitudes magnitudes = nullptr;  ///< null: it has no magnitude
  bool is_signed = false;           ///< a coin decides on the sign of the magnitude
};

/// In the order in which torchvision numbers them.
[[nodiscard]] RTRAIN_API const std::vector<Operation>& operations_of(AugmentationSpace space);

/// One operation of an AutoAugment policy.
struct PolicyStep {
  std::string_view operation;
  double probability = 0;
  std::optional<std::int64_t> magnitude{};  ///< of ten
};
using PolicyPair = std::array<PolicyStep, 2>;
/// The 25 pairs of the paper (appendix), as torchvision has them.
[[nodiscard]] RTRAIN_API const std::vector<PolicyPair>& pairs_of(AutoAugmentPolicy policy);

}  // namespace rtrain::data::transforms
