#include <rtrain/data/transforms/warp.h>

#include "worker/data/transforms/function_transform.h"
#include "worker/data/transforms/parameters.h"

#include <cmath>

namespace rtrain::data::transforms {
namespace {

Range degrees_of(const std::string& name, Spread degrees) {
  if (!degrees.is_range() && !(degrees.distance() >= 0))
    throw std::invalid_argument(name + " is " + std::to_string(degrees.distance()) + ", expected 0 or more");
  const auto range = degrees.around(0);
  require_range(name, range, -INFINITY, INFINITY);
  return range;
}

void require_affine_options(const RandomAffineOptions& options) {
  if (options.translate)
    for (const auto part : *options.translate) require_range("RandomAffine: translate", {part, part}, 0, 1);
  if (!options.scale) return;
  require_range("RandomAffine: scale", *options.scale, 0, INFINITY);
  if (options.scale->min <= 0) throw std::invalid_argument("RandomAffine: scale begins at 0, expected more");
}

/// Each corner moves towards the centre by up to `scale` of half the image.
functional::Corners drawn_corners(std::int64_t height, std::int64_t width, double scale,
                                  at::Generator& generator) {
  const auto places = [scale](std::int64_t size) {
    return static_cast<std::int64_t>(scale * static_cast<double>(size / 2)) + 1;
  };
  const auto low = [&](std::int64_t size) { return drawn::integer(0, places(size), generator); };
  const auto high = [&](std::int64_t size) { return drawn::integer(size - places(size), size, generator); };
  functional::Corners corners{};
  // In the order of torchvision's draws: x before y, clockwise from the upper left.
  for (std::size_t i = 0; i < corners.size(); ++i) {
    const bool right = i == 1 || i == 2, lower = i >= 2;
    corners[i][0] = static_cast<double>(right ? high(width) : low(width));
    corners[i][1] = static_cast<double>(lower ? high(height) : low(height));
  }
  return corners;
}

}  // namespace

std::shared_ptr<const Transform> RandomRotation(Spread degrees, RandomRotationOptions options) {
  const auto range = degrees_of("RandomRotation: degrees", degrees);
  return drawn_function("RandomRotation",
                        [range, canvas = options.canvas,
                         warp = WarpOptions{options.interpolation, std::move(options.fill), options.center}](
                            const torch::Tensor& image, at::Generator& generator) {
                          return functional::rotate(image, drawn::uniform(range, generator), warp, canvas);
                        });
}

std::shared_ptr<const Transform> RandomAffine(Spread degrees, RandomAffineOptions options) {
  const auto range = degrees_of("RandomAffine: degrees", degrees);
  require_affine_options(options);
  std::optional<Range> shear_x, shear_y;
  if (options.shear_x) shear_x = degrees_of("RandomAffine: shear_x", *options.shear_x);
  if (options.shear_y) shear_y = degrees_of("RandomAffine: shear_y", *options.shear_y);
  return drawn_function(
      "RandomAffine", [range, shear_x, shear_y, translate = options.translate, scale = options.scale,
                       warp = WarpOptions{options.interpolation, std::move(options.fill), options.center}](
                          const torch::Tensor& image, at::Generator& generator) {
        functional::AffineParameters drawn{.angle = drawn::uniform(range, generator)};
        if (translate) {
          for (std::size_t axis = 0; axis < 2; ++axis) {
            const auto most = (*translate)[axis] * static_cast<double>(image.size(axis == 0 ? -1 : -2));
            drawn.translate[axis] = static_cast<double>(rounded(drawn::uniform({-most, most}, generator)));
          }
        }
        if (scale) drawn.scale = drawn::uniform(*scale, generator);
        if (shear_x) drawn.shear[0] = drawn::uniform(*shear_x, generator);
        if (shear_y) drawn.shear[1] = drawn::uniform(*shear_y, generator);
        return functional::affine(image, drawn, warp);
      });
}

std::shared_ptr<const Transform> RandomPerspective(RandomPerspectiveOptions options) {
  const auto scale = options.distortion_scale;
  const auto p = options.p;
  require_range("RandomPerspective: distortion_scale", {scale, scale}, 0, 1);
  require_probability("RandomPerspective", p);
  return drawn_function(
      "RandomPerspective", [scale, p, warp = WarpOptions{options.interpolation, std::move(options.fill), {}}](
                               const torch::Tensor& image, at::Generator& generator) {
        if (!drawn::happens(p, generator)) return image;
        const auto height = image.size(-2), width = image.size(-1);
        const auto right = static_cast<double>(width - 1), bottom = static_cast<double>(height - 1);
        const functional::Corners start{Point{0, 0}, {right, 0}, {right, bottom}, {0, bottom}};
        return functional::perspective(image, start, drawn_corners(height, width, scale, generator), warp);
      });
}

}  // namespace rtrain::data::transforms
