// What transforms of images have in common: sizes, borders, interpolation, fill values.
#pragma once

#include <rtrain/export.h>

#include <concepts>
#include <cstdint>
#include <vector>

namespace rtrain::data::transforms {

/// torchvision's `size`: one number, or a height and a width. One number means the shorter edge to Resize,
/// and a square to everything else.
class RTRAIN_API ImageSize {
 public:
  template <std::integral I>
  ImageSize(I edge) : height_(static_cast<std::int64_t>(edge)) {}  // NOLINT: implicit on purpose
  ImageSize(std::int64_t height, std::int64_t width) : height_(height), width_(width), is_pair_(true) {}
  [[nodiscard]] bool is_pair() const { return is_pair_; }
  [[nodiscard]] std::int64_t edge() const { return height_; }  ///< of one number
  [[nodiscard]] std::int64_t height() const { return height_; }
  [[nodiscard]] std::int64_t width() const { return is_pair_ ? width_ : height_; }

 private:
  std::int64_t height_ = 0, width_ = 0;
  bool is_pair_ = false;
};

/// torchvision's `padding`, in pixels: one number for all borders; {left and right, top and bottom}; or
/// {left, top, right, bottom}. A negative number crops.
struct RTRAIN_API Borders {
  template <std::integral I>
  Borders(I all)  // NOLINT: implicit on purpose
      : Borders(static_cast<std::int64_t>(all), static_cast<std::int64_t>(all)) {}
  Borders(std::int64_t left_right, std::int64_t top_bottom)
      : Borders(left_right, top_bottom, left_right, top_bottom) {}
  Borders(std::int64_t of_left, std::int64_t of_top, std::int64_t of_right, std::int64_t of_bottom)
      : left(of_left), top(of_top), right(of_right), bottom(of_bottom) {}
  std::int64_t left, top, right, bottom;
};

enum class PaddingMode {
  kConstant,   ///< with the fill value
  kEdge,       ///< with the pixel at the edge
  kReflect,    ///< [1, 2, 3] becomes [3, 2, 1, 2, 3, 2, 1]: the edge is not repeated
  kSymmetric,  ///< [1, 2, 3] becomes [2, 1, 1, 2, 3, 3, 2]: the edge is repeated
};

/// torchvision's InterpolationMode. Warps (affine, rotate, perspective) know kNearest and kBilinear.
enum class Interpolation { kNearest, kNearestExact, kBilinear, kBicubic };

/// A value for all channels, or one per channel, in the images' unit. Empty is torchvision's None: a warp
/// reads zeros outside of the image, and interpolates with them at the border.
using Fill = std::vector<double>;

/// The range of a number that is drawn uniformly: [min, max].
struct Range {
  double min = 0, max = 0;
};

/// torchvision's "a number or (min, max)": a number is the distance to both sides of a centre.
class RTRAIN_API Spread {
 public:
  template <class Number>
    requires std::integral<Number> || std::floating_point<Number>
  Spread(Number distance) : min_(static_cast<double>(distance)) {}  // NOLINT: implicit on purpose
  Spread(double min, double max) : min_(min), max_(max), is_range_(true) {}
  [[nodiscard]] bool is_range() const { return is_range_; }
  [[nodiscard]] double distance() const { return min_; }  ///< of a number
  [[nodiscard]] Range around(double center) const {
    return is_range_ ? Range{min_, max_} : Range{center - min_, center + min_};
  }

 private:
  double min_ = 0, max_ = 0;
  bool is_range_ = false;
};

}  // namespace rtrain::data::transforms
