// MixUp and CutMix.
#pragma once

#include <rtrain/data/transforms/batch_transform.h>

#include <cstdint>
#include <optional>

namespace rtrain::data::transforms {

struct RTRAIN_API MixOptions {
  double alpha = 1;  ///< lambda is drawn of Beta(alpha, alpha), once a batch; above 0
  /// needed for targets that are classes
  std::optional<std::int64_t> num_classes{};
};

/// Both mix sample i with sample i - 1 of the batch (the first with the last). input is [N, C, H, W]; target
/// is [N], classes, or [N, classes], probabilities. The result's target is [N, classes], float32 of classes:
/// cross_entropy() takes it.
/// @throws std::invalid_argument for alpha not above 0; when applied, for other shapes, or classes without
///         num_classes.
/// Zhang et al., "mixup", 2017: lambda * x + (1 - lambda) * other, of input and target. input is floating
/// point.
[[nodiscard]] RTRAIN_API std::shared_ptr<const BatchTransform> MixUp(MixOptions options = {});
/// Yun et al., "CutMix", 2019: a rectangle of the other image, whose centre is uniform and whose edges are
/// sqrt(1 - lambda) of the image's, cut at the border. The target's lambda is what is left of the area.
[[nodiscard]] RTRAIN_API std::shared_ptr<const BatchTransform> CutMix(MixOptions options = {});

}  // namespace rtrain::data::transforms
