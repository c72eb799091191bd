#include <rtrain/data/transforms/warp.h>

#include "worker/data/transforms/dimensions.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/grid_sampler.h>
#include <ATen/ops/linalg_lstsq.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rot90.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <numbers>
#include <tuple>
#include <vector>

namespace rtrain::data::transforms::functional {
namespace {

using Matrix = std::array<double, 6>;  ///< two rows of three

void require_warp(const char* name, const torch::Tensor& images, const WarpOptions& options) {
  require_images(name, images);
  if (options.interpolation != Interpolation::kNearest && options.interpolation != Interpolation::kBilinear)
    throw std::invalid_argument(std::string(name) + ": interpolation must be kNearest or kBilinear");
  if (options.fill.size() > 1 && static_cast<std::int64_t>(options.fill.size()) != images.size(-3))
    throw std::invalid_argument(std::string(name) + ": " + std::to_string(options.fill.size()) +
                                " fill values for " + std::to_string(images.size(-3)) + " channels");
}

/// The inverse of T C R S Shy Shx C^-1, which leads from places of the result to those of the image. T moves
/// by `translate`, C to the centre, R turns, S scales, and the shears are [1 0; -tan(y) 1] and [1 -tan(x); 0
/// 1].
Matrix inverse_matrix(Point center, const AffineParameters& parameters) {
  constexpr auto kDegree = std::numbers::pi / 180;
  const auto angle = parameters.angle * kDegree;
  const auto shear_x = parameters.shear[0] * kDegree, shear_y = parameters.shear[1] * kDegree;
  const auto a = std::cos(angle - shear_y) / std::cos(shear_y);
  const auto b = -(a * std::tan(shear_x) + std::sin(angle));
  const auto c = std::sin(angle - shear_y) / std::cos(shear_y);
  const auto d = std::cos(angle) - c * std::tan(shear_x);
  const auto scale = parameters.scale;
  Matrix m{d / scale, -b / scale, 0, -c / scale, a / scale, 0};
  const auto x = center[0] + parameters.translate[0], y = center[1] + parameters.translate[1];
  m[2] += center[0] - m[0] * x - m[1] * y;
  m[5] += center[1] - m[3] * x - m[4] * y;
  return m;
}

/// From the image's centre.
Point centre_of(const torch::Tensor& images, const WarpOptions& options) {
  if (!options.center) return {0, 0};
  return {(*options.center)[0] - static_cast<double>(images.size(-1)) * 0.5,
          (*options.center)[1] - static_cast<double>(images.size(-2)) * 0.5};
}

at::TensorOptions grid_options(const torch::Tensor& images) {
  return images.options().dtype(images.is_floating_point() ? images.scalar_type() : at::kFloat);
}

/// Places (x, y, 1) of a result of `height` x `width`, [1, height * width, 3].
torch::Tensor base_grid(double first_x, double first_y, std::int64_t height, std::int64_t width,
                        const at::TensorOptions& options) {
  auto grid = at::empty({1, height, width, 3}, options);
  const auto last = [](double first, std::int64_t count) { return first + static_cast<double>(count - 1); };
  grid.select(-1, 0).copy_(at::linspace(first_x, last(first_x, width), width, options));
  grid.select(-1, 1).copy_(at::linspace(first_y, last(first_y, height), height, options).unsqueeze_(-1));
  grid.select(-1, 2).fill_(1);
  return grid.view({1, height * width, 3});
}

/// What grid_sampler() takes: places from -1 to 1, [1, height, width, 2].
torch::Tensor affine_grid(const torch::Tensor& images, const Matrix& matrix, std::int64_t height,
                          std::int64_t width) {
  const auto options = grid_options(images);
  const auto theta = at::tensor(matrix, at::kDouble).to(options).view({1, 2, 3});
  const auto half =
      at::tensor({0.5 * static_cast<double>(images.size(-1)), 0.5 * static_cast<double>(images.size(-2))},
                 at::kDouble)
          .to(options);
  const auto first = [](std::int64_t count) { return (1.0 - static_cast<double>(count)) * 0.5; };
  return base_grid(first(width), first(height), height, width, options)
      .bmm(theta.transpose(1, 2).div(half))
      .view({1, height, width, 2});
}

torch::Tensor sampled(const torch::Tensor& images, torch::Tensor grid, const WarpOptions& options) {
  constexpr int kBilinear = 0, kNearest = 1, kZeros = 0;
  const bool nearest = options.interpolation == Interpolation::kNearest;
  auto batch = as_batch(images).to(grid.scalar_type());
  const auto count = batch.size(0), channels = batch.size(1);
  if (count != 1) grid = grid.expand({count, -1, -1, -1});
  // One channel more tells how much of a pixel comes from the image: the rest is filled.
  if (!options.fill.empty())
    batch = at::cat({batch, at::ones({count, 1, batch.size(2), batch.size(3)}, batch.options())}, 1);
  auto result =
      at::grid_sampler(batch, grid, nearest ? kNearest : kBilinear, kZeros, /*align_corners=*/false);
  if (!options.fill.empty()) {
    const auto share = result.narrow(1, channels, 1);
    const auto fill = at::tensor(options.fill, at::kDouble).to(result.options()).view({1, -1, 1, 1});
    const auto colors = result.narrow(1, 0, channels);
    result = nearest ? at::where(share < 0.5, fill, colors) : colors.sub(fill).mul_(share).add_(fill);
  }
  if (!images.is_floating_point()) result = result.round_().to(images.scalar_type());
  return shaped_like(result, images);
}

/// Width and height that hold the whole image after `matrix`, as Pillow computes them, in float32.
std::array<std::int64_t, 2> expanded_size(const Matrix& matrix, std::int64_t width, std::int64_t height) {
  const auto half_width = 0.5 * static_cast<double>(width), half_height = 0.5 * static_cast<double>(height);
  const auto corners = at::tensor({-half_width, -half_height, 1.0, -half_width, half_height, 1.0, half_width,
                                   half_height, 1.0, half_width, -half_height, 1.0},
                                  at::kDouble)
                           .to(at::kFloat)
                           .view({4, 3});
  const auto theta = at::tensor(matrix, at::kDouble).to(at::kFloat).view({2, 3});
  auto [least, most] = corners.matmul(theta.t()).aminmax(0);
  const auto half = at::tensor({half_width, half_height}, at::kDouble).to(at::kFloat);
  constexpr double kTolerance = 1e-4;  // 3.00001 is 3, not 4
  least = least.add(half).mul_(1 / kTolerance).trunc_().mul_(kTolerance).floor_();
  most = most.add(half).mul_(1 / kTolerance).trunc_().mul_(kTolerance).ceil_();
  const auto size = most.sub(least).to(at::kLong);
  return {size[0].item<std::int64_t>(), size[1].item<std::int64_t>()};
}

}  // namespace

torch::Tensor affine(const torch::Tensor& images, const AffineParameters& parameters,
                     const WarpOptions& options) {
  require_warp("affine", images, options);
  if (!(parameters.scale > 0))
    throw std::invalid_argument("affine: scale is " + std::to_string(parameters.scale) +
                                ", expected more than 0");
  if (images.numel() == 0) return images;
  const auto matrix = inverse_matrix(centre_of(images, options), parameters);
  return sampled(images, affine_grid(images, matrix, images.size(-2), images.size(-1)), options);
}

torch::Tensor rotate(const torch::Tensor& images, double angle, const WarpOptions& options, Canvas canvas) {
  require_warp("rotate", images, options);
  angle = std::fmod(angle, 360);
  if (angle < 0) angle += 360;
  if (!options.center) {
    if (angle == 0) return images.clone();
    if (angle == 180) return at::rot90(images, 2, {-2, -1});
    if (canvas == Canvas::kExpand || images.size(-1) == images.size(-2)) {
      if (angle == 90) return at::rot90(images, 1, {-2, -1});
      if (angle == 270) return at::rot90(images, 3, {-2, -1});
    }
  }
  if (images.numel() == 0) return images;
  const auto matrix = inverse_matrix(centre_of(images, options), {.angle = -angle});
  auto width = images.size(-1), height = images.size(-2);
  if (canvas == Canvas::kExpand) {
    const auto size = expanded_size(matrix, width, height);
    width = size[0], height = size[1];
  }
  return sampled(images, affine_grid(images, matrix, height, width), options);
}

std::array<double, 8> perspective_coefficients(const Corners& start, const Corners& end) {
  std::vector<double> rows;
  std::vector<double> places;
  for (std::size_t i = 0; i < start.size(); ++i) {
    const auto [x, y] = end[i];
    for (std::size_t axis = 0; axis < 2; ++axis) {
      const auto place = start[i][axis];
      const auto rest = std::array{-place * x, -place * y};
      if (axis == 0) rows.insert(rows.end(), {x, y, 1, 0, 0, 0, rest[0], rest[1]});
      if (axis == 1) rows.insert(rows.end(), {0, 0, 0, x, y, 1, rest[0], rest[1]});
      places.push_back(place);
    }
  }
  const auto solution = std::get<0>(at::linalg_lstsq(at::tensor(rows, at::kDouble).view({8, 8}),
                                                     at::tensor(places, at::kDouble), std::nullopt, "gels"))
                            .to(at::kFloat);
  std::array<double, 8> coefficients{};
  for (std::size_t i = 0; i < coefficients.size(); ++i)
    coefficients[i] = solution[static_cast<std::int64_t>(i)].item<float>();
  return coefficients;
}

torch::Tensor perspective(const torch::Tensor& images, const Corners& start, const Corners& end,
                          const WarpOptions& options) {
  return perspective(images, perspective_coefficients(start, end), options);
}

torch::Tensor perspective(const torch::Tensor& images, const std::array<double, 8>& coefficients,
                          const WarpOptions& options) {
  require_warp("perspective", images, options);
  if (images.numel() == 0) return images;
  const auto height = images.size(-2), width = images.size(-1);
  const auto grid_type = grid_options(images);
  const auto& c = coefficients;
  const auto above =
      at::tensor({c[0], c[1], c[2], c[3], c[4], c[5]}, at::kDouble).to(grid_type).view({1, 2, 3});
  const auto below =
      at::tensor({c[6], c[7], 1.0, c[6], c[7], 1.0}, at::kDouble).to(grid_type).view({1, 2, 3});
  const auto half =
      at::tensor({0.5 * static_cast<double>(width), 0.5 * static_cast<double>(height)}, at::kDouble)
          .to(grid_type);
  const auto places = base_grid(0.5, 0.5, height, width, grid_type);
  const auto grid =
      places.bmm(above.transpose(1, 2).div(half)).div_(places.bmm(below.transpose(1, 2))).sub_(1);
  return sampled(images, grid.view({1, height, width, 2}), options);
}

}  // namespace rtrain::data::transforms::functional
