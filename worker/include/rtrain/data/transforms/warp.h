// Images turned, sheared and seen in perspective.
#pragma once

#include <rtrain/data/transforms.h>
#include <rtrain/data/transforms/image_options.h>

#include <array>
#include <optional>

namespace rtrain::data::transforms {

using Point = std::array<double, 2>;  ///< x, y in pixels

struct RTRAIN_API WarpOptions {
  Interpolation interpolation = Interpolation::kNearest;  ///< or kBilinear
  Fill fill{};                                            ///< outside of the image
  /// default: the image's; (0, 0) is its upper left corner. Of no meaning to perspective()
  std::optional<Point> center{};
};

/// Images are [..., C, H, W], uint8 or floating point; bytes are computed in float32 and rounded.
namespace functional {

struct RTRAIN_API AffineParameters {
  double angle = 0;       ///< degrees, clockwise
  Point translate{0, 0};  ///< pixels to the right and downwards
  double scale = 1;       ///< above 0
  Point shear{0, 0};      ///< degrees along x and y
};
/// Shears, scales and turns around the centre, then moves.
/// @throws std::invalid_argument, as all here, for an interpolation or a number of fill values that does not
/// fit.
[[nodiscard]] RTRAIN_API torch::Tensor affine(const torch::Tensor& images, const AffineParameters& parameters,
                                              const WarpOptions& options = {});

enum class Canvas {
  kKeep,    ///< corners are cut off
  kExpand,  ///< the result holds the whole turned image
};
/// @param angle degrees, counterclockwise (the other way than affine()'s, as in torchvision). Right angles
///        that keep the shape move pixels and interpolate nothing.
[[nodiscard]] RTRAIN_API torch::Tensor rotate(const torch::Tensor& images, double angle,
                                              const WarpOptions& options = {}, Canvas canvas = Canvas::kKeep);

/// Upper left, upper right, lower right, lower left.
using Corners = std::array<Point, 4>;
/// (a, ..., h) of x' = (a x + b y + c) / (g x + h y + 1), y' = (d x + e y + f) / (g x + h y + 1), which lead
/// from a place of the result to that of the image. By least squares in float64, then float32.
[[nodiscard]] RTRAIN_API std::array<double, 8> perspective_coefficients(const Corners& start,
                                                                        const Corners& end);
/// Corners `start` of the images come to `end`. torchvision's default interpolation is kBilinear.
[[nodiscard]] RTRAIN_API torch::Tensor perspective(const torch::Tensor& images, const Corners& start,
                                                   const Corners& end, const WarpOptions& options);
[[nodiscard]] RTRAIN_API torch::Tensor perspective(const torch::Tensor& images,
                                                   const std::array<double, 8>& coefficients,
                                                   const WarpOptions& options);

}  // namespace functional

using functional::Canvas;

struct RTRAIN_API RandomRotationOptions {
  Interpolation interpolation = Interpolation::kNearest;
  Canvas canvas = Canvas::kKeep;  ///< kExpand makes images of different sizes: not for batches
  std::optional<Point> center{};
  Fill fill{0};
};
/// Turns by a uniform angle. @see functional::rotate()
/// @param degrees a number d is [-d, d].
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> RandomRotation(Spread degrees,
                                                                         RandomRotationOptions options = {});

struct RTRAIN_API RandomAffineOptions {
  std::optional<Point> translate{};  ///< largest, as parts of width and height: each in [0, 1]
  std::optional<Range> scale{};
  std::optional<Spread> shear_x{};  ///< degrees. torchvision's `shear` of one number or two is this one,
  std::optional<Spread> shear_y{};  ///< of four it is both
  Interpolation interpolation = Interpolation::kNearest;
  Fill fill{0};
  std::optional<Point> center{};
};
/// Each parameter uniform in its range; shifts are whole pixels. What is not given is not drawn, and changes
/// nothing. @see functional::affine()
/// @param degrees a number d is [-d, d].
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> RandomAffine(Spread degrees,
                                                                       RandomAffineOptions options = {});

struct RTRAIN_API RandomPerspectiveOptions {
  double distortion_scale = 0.5;  ///< how far corners may move, as a part of half the image; in [0, 1]
  double p = 0.5;                 ///< probability, in [0, 1]
  Interpolation interpolation = Interpolation::kBilinear;
  Fill fill{0};
};
/// Each corner moves inwards to a uniform pixel. @see functional::perspective()
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> RandomPerspective(
    RandomPerspectiveOptions options = {});

}  // namespace rtrain::data::transforms
