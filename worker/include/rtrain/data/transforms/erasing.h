// Rectangles of images erased.
#pragma once

#include <rtrain/data/transforms.h>
#include <rtrain/data/transforms/image_options.h>

namespace rtrain::data::transforms {

namespace functional {
/// Rows [top, top + height) and columns [left, left + width) become `value`. The images stay what they are.
/// @param images [..., C, H, W]
/// @param value of any shape that expands to [..., C, height, width].
/// @throws std::invalid_argument if the rectangle is not within the images.
[[nodiscard]] RTRAIN_API torch::Tensor erase(const torch::Tensor& images, std::int64_t top, std::int64_t left,
                                             std::int64_t height, std::int64_t width,
                                             const torch::Tensor& value);
}  // namespace functional

/// What stands in an erased rectangle.
enum class EraseWith {
  kValue,
  kNoise,  ///< N(0, 1) for each value, torchvision's value="random"; for floating point
};

struct RTRAIN_API RandomErasingOptions {
  double p = 0.5;           ///< probability, in [0, 1]
  Range scale{0.02, 0.33};  ///< of the rectangle's area, as a part of the image's
  Range ratio{0.3, 3.3};    ///< of the rectangle's height to its width
  EraseWith with = EraseWith::kValue;
  Fill value{0};  ///< of kValue: for all channels, or one per channel, in the images' unit
};

/// Zhong et al., "Random Erasing Data Augmentation", 2017. Area uniform in `scale`, the logarithm of the
/// shape in that of `ratio`, place uniform. After ten draws that do not fit, the image stays what it is.
/// @throws std::invalid_argument for a range that is reversed, scale outside of [0, 1], ratio not above 0.
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> RandomErasing(RandomErasingOptions options = {});

}  // namespace rtrain::data::transforms
