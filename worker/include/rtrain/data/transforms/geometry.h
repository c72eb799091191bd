// Transforms that move pixels: sizes, crops, borders, flips.
#pragma once

#include <rtrain/data/transforms.h>
#include <rtrain/data/transforms/functional_geometry.h>

namespace rtrain::data::transforms {

using ResizeOptions = functional::ResizeOptions;

/// @see functional::resize(). Images of one batch have one size, so one number gives one size, too.
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> Resize(ImageSize size, ResizeOptions options = {});
/// @see functional::center_crop()
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> CenterCrop(ImageSize size);
/// @see functional::pad()
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> Pad(Borders borders, Fill fill = {0},
                                                              PaddingMode mode = PaddingMode::kConstant);
/// Stacks the five crops: [N, C, H, W] becomes [N, 5, C, h, w], [C, H, W] becomes [5, C, h, w]. torchvision
/// gives a tuple, which its users stack. @see functional::five_crop()
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> FiveCrop(ImageSize size);
/// The same with ten. @see functional::ten_crop()
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> TenCrop(ImageSize size, bool vertical_flip = false);

struct RTRAIN_API RandomCropOptions {
  Borders padding = 0;         ///< before the crop
  bool pad_if_needed = false;  ///< images smaller than the crop get borders; else they are refused
  Fill fill = {0};
  PaddingMode padding_mode = PaddingMode::kConstant;
};

/// A crop at a place that is uniform among those within the padded image.
/// @throws std::invalid_argument when it is applied, if the padded image is smaller than the crop.
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> RandomCrop(ImageSize size,
                                                                     RandomCropOptions options = {});

struct RTRAIN_API RandomResizedCropOptions {
  Range scale{0.08, 1};               ///< of the crop's area, as a part of the image's
  Range ratio{3.0 / 4.0, 4.0 / 3.0};  ///< of the crop's width to its height
  Interpolation interpolation = Interpolation::kBilinear;
  bool antialias = true;
};

/// A crop of random area and shape, resized to `size`. The area is uniform in `scale`, the logarithm of the
/// shape in that of `ratio`, and the place among those within the image. After ten draws that do not fit: the
/// largest crop in the centre whose shape is in `ratio`. @see functional::resized_crop()
/// @throws std::invalid_argument if a range is reversed, scale.min below 0, or ratio.min not above 0.
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> RandomResizedCrop(
    ImageSize size, RandomResizedCropOptions options = {});

/// @param p probability of a flip, in [0, 1].
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> RandomHorizontalFlip(double p = 0.5);
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> RandomVerticalFlip(double p = 0.5);

}  // namespace rtrain::data::transforms
