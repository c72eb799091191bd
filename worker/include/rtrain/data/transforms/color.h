// Transforms of what values pixels have, drawn for each image.
#pragma once

#include <rtrain/data/transforms.h>
#include <rtrain/data/transforms/functional_color.h>
#include <rtrain/data/transforms/image_options.h>

namespace rtrain::data::transforms {

/// A number x is a factor in [max(0, 1 - x), 1 + x], and a hue in [-x, x]. 0: not changed.
struct RTRAIN_API ColorJitterOptions {
  Spread brightness = 0;
  Spread contrast = 0;
  Spread saturation = 0;
  Spread hue = 0;  ///< within [-0.5, 0.5]
};

/// Changes brightness, contrast, saturation and hue by uniform factors, in a random order.
/// @throws std::invalid_argument if a range is reversed, below 0 or (of hue) outside of [-0.5, 0.5].
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> ColorJitter(const ColorJitterOptions& options);

/// Those below happen with probability p, in [0, 1].
/// The result has as many channels as the image.
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> RandomGrayscale(double p = 0.1);
/// @see functional::posterize()
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> RandomPosterize(std::int64_t bits, double p = 0.5);
/// @see functional::solarize()
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> RandomSolarize(double threshold, double p = 0.5);
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> RandomAutocontrast(double p = 0.5);
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> RandomEqualize(double p = 0.5);
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> RandomInvert(double p = 0.5);
/// @see functional::adjust_sharpness()
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> RandomAdjustSharpness(double factor,
                                                                                double p = 0.5);

/// Images of one or three channels with one.
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> Grayscale(std::int64_t channels = 1);

}  // namespace rtrain::data::transforms
