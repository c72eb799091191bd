#include <rtrain/data/transforms/functional_geometry.h>

#include "worker/data/transforms/dimensions.h"

#include <ATen/Version.h>
#include <ATen/ops/_upsample_bicubic2d_aa.h>
#include <ATen/ops/_upsample_bilinear2d_aa.h>
#include <ATen/ops/_upsample_nearest_exact2d.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/flip.h>
#include <ATen/ops/pad.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/upsample_bicubic2d.h>
#include <ATen/ops/upsample_bilinear2d.h>
#include <ATen/ops/upsample_nearest2d.h>

#include <algorithm>
#include <cmath>

namespace rtrain::data::transforms::functional {
namespace {

/// int(limit * part / whole) of Python: a division in float64.
std::int64_t scaled(std::int64_t limit, std::int64_t part, std::int64_t whole) {
  return static_cast<std::int64_t>(static_cast<double>(limit * part) / static_cast<double>(whole));
}

/// torchvision's choice: integers are faster than float32 with AVX2 only, and may differ by one.
bool computes_bytes(const torch::Tensor& images, Interpolation interpolation) {
  if (interpolation == Interpolation::kNearest || interpolation == Interpolation::kNearestExact) return true;
  if (!images.is_cpu()) return false;
  if (interpolation == Interpolation::kBicubic) return true;
  const auto capability = at::get_cpu_capability();
  return capability == "AVX2" || capability == "AVX512";
}

torch::Tensor interpolated(const torch::Tensor& batch, std::array<std::int64_t, 2> size,
                           const ResizeOptions& options) {
  switch (options.interpolation) {
    case Interpolation::kNearest: return at::upsample_nearest2d(batch, size);
    case Interpolation::kNearestExact: return at::_upsample_nearest_exact2d(batch, size);
    case Interpolation::kBilinear:
      return options.antialias ? at::_upsample_bilinear2d_aa(batch, size, /*align_corners=*/false)
                               : at::upsample_bilinear2d(batch, size, /*align_corners=*/false);
    case Interpolation::kBicubic:
      return options.antialias ? at::_upsample_bicubic2d_aa(batch, size, /*align_corners=*/false)
                               : at::upsample_bicubic2d(batch, size, /*align_corners=*/false);
  }
  throw std::invalid_argument("resize: no such Interpolation");
}

/// left, right, top, bottom of the two last dimensions, as ATen's pad() takes them.
std::array<std::int64_t, 4> aten_order(const Borders& borders) {
  return {borders.left, borders.right, borders.top, borders.bottom};
}

torch::Tensor zero_padded(const torch::Tensor& images, const Borders& borders) {
  return at::constant_pad_nd(images, aten_order(borders), 0);
}

/// The places of one edge: mirrored before it, the edge itself, mirrored behind it. Negative borders crop.
torch::Tensor mirrored_places(std::int64_t size, std::int64_t before, std::int64_t after,
                              c10::Device device) {
  const auto first = std::max<std::int64_t>(0, -before), end = size - std::max<std::int64_t>(0, -after);
  const auto places = at::arange(first, end, at::TensorOptions(at::kLong).device(device));
  before = std::max<std::int64_t>(0, before), after = std::max<std::int64_t>(0, after);
  if (before > end - first || after > end - first)
    throw std::invalid_argument("pad: symmetric borders of " + std::to_string(std::max(before, after)) +
                                " pixels, but the image has only " + std::to_string(end - first));
  return at::cat(
      {places.narrow(0, 0, before).flip(0), places, places.narrow(0, end - first - after, after).flip(0)});
}

/// The borders of `padded` get one value per channel.
void fill_borders(torch::Tensor& padded, const Borders& borders, const Fill& fill) {
  const auto values = at::tensor(fill, at::kDouble).to(padded.options()).view({-1, 1, 1});
  const auto height = padded.size(-2), width = padded.size(-1);
  if (borders.top > 0) padded.narrow(-2, 0, borders.top).copy_(values);
  if (borders.left > 0) padded.narrow(-1, 0, borders.left).copy_(values);
  if (borders.bottom > 0) padded.narrow(-2, height - borders.bottom, borders.bottom).copy_(values);
  if (borders.right > 0) padded.narrow(-1, width - borders.right, borders.right).copy_(values);
}

void require_within(const char* name, const torch::Tensor& images, ImageSize size) {
  if (size.height() > images.size(-2) || size.width() > images.size(-1))
    throw std::invalid_argument(std::string(name) + ": a crop of " + size_text(size.height(), size.width()) +
                                " is larger than the image of " +
                                size_text(images.size(-2), images.size(-1)));
}

}  // namespace

std::array<std::int64_t, 2> resized_size(std::int64_t height, std::int64_t width, ImageSize size,
                                         std::optional<std::int64_t> max_size) {
  if (size.height() < 1 || size.width() < 1)
    throw std::invalid_argument("resize: the size is " + size_text(size.height(), size.width()) +
                                ", expected 1 or more");
  if (size.is_pair()) {
    if (max_size)
      throw std::invalid_argument("resize: max_size is for a size of one number; leave it out with {" +
                                  std::to_string(size.height()) + ", " + std::to_string(size.width()) + "}");
    return {size.height(), size.width()};
  }
  const auto shorter = std::min(height, width), longer = std::max(height, width);
  auto new_shorter = size.edge(), new_longer = scaled(size.edge(), longer, shorter);
  if (max_size && *max_size <= size.edge())
    throw std::invalid_argument("resize: max_size is " + std::to_string(*max_size) +
                                ", expected more than the size of the shorter edge, " +
                                std::to_string(size.edge()));
  if (max_size && new_longer > *max_size) {
    new_shorter = scaled(*max_size, new_shorter, new_longer);
    new_longer = *max_size;
  }
  return width <= height ? std::array{new_longer, new_shorter} : std::array{new_shorter, new_longer};
}

torch::Tensor resize(const torch::Tensor& images, ImageSize size, const ResizeOptions& options) {
  require_images("resize", images);
  const auto to = resized_size(images.size(-2), images.size(-1), size, options.max_size);
  if (to[0] == images.size(-2) && to[1] == images.size(-1)) return images;
  if (images.numel() == 0) {
    auto sizes = images.sizes().vec();
    sizes.end()[-2] = to[0], sizes.end()[-1] = to[1];
    return images.new_empty(sizes);
  }
  const auto batch = as_batch(images);
  const auto dtype = images.scalar_type();
  const bool as_it_is = dtype == at::kFloat || dtype == at::kDouble ||
                        (dtype == at::kByte && computes_bytes(images, options.interpolation));
  if (as_it_is) return shaped_like(interpolated(batch, to, options), images);
  auto result = interpolated(batch.to(at::kFloat), to, options);
  if (!images.is_floating_point()) {
    if (options.interpolation == Interpolation::kBicubic && dtype == at::kByte) result.clamp_(0, 255);
    result.round_();
  }
  return shaped_like(result.to(dtype), images);
}

torch::Tensor crop(const torch::Tensor& images, std::int64_t top, std::int64_t left, std::int64_t height,
                   std::int64_t width) {
  require_images("crop", images);
  if (height < 0 || width < 0)
    throw std::invalid_argument("crop: the size is " + size_text(height, width) + ", expected 0 or more");
  const auto rows = images.size(-2), columns = images.size(-1);
  const auto first_row = std::clamp<std::int64_t>(top, 0, rows);
  const auto end_row = std::clamp<std::int64_t>(top + height, first_row, rows);
  const auto first_column = std::clamp<std::int64_t>(left, 0, columns);
  const auto end_column = std::clamp<std::int64_t>(left + width, first_column, columns);
  const auto within =
      images.narrow(-2, first_row, end_row - first_row).narrow(-1, first_column, end_column - first_column);
  if (within.size(-2) == height && within.size(-1) == width) return within;
  const auto above = std::clamp<std::int64_t>(-top, 0, height);
  const auto before = std::clamp<std::int64_t>(-left, 0, width);
  return zero_padded(within,
                     {before, above, width - before - within.size(-1), height - above - within.size(-2)});
}

torch::Tensor center_crop(const torch::Tensor& images, ImageSize size) {
  require_images("center_crop", images);
  const auto missing_rows = std::max<std::int64_t>(0, size.height() - images.size(-2));
  const auto missing_columns = std::max<std::int64_t>(0, size.width() - images.size(-1));
  auto padded = images;
  if (missing_rows > 0 || missing_columns > 0)
    padded = zero_padded(
        images, {missing_columns / 2, missing_rows / 2, (missing_columns + 1) / 2, (missing_rows + 1) / 2});
  // Python's round(): half to even.
  const auto begin = [](std::int64_t whole, std::int64_t part) {
    return static_cast<std::int64_t>(std::nearbyint(static_cast<double>(whole - part) / 2));
  };
  return crop(padded, begin(padded.size(-2), size.height()), begin(padded.size(-1), size.width()),
              size.height(), size.width());
}

torch::Tensor resized_crop(const torch::Tensor& images, std::int64_t top, std::int64_t left,
                           std::int64_t height, std::int64_t width, ImageSize size,
                           const ResizeOptions& options) {
  return resize(crop(images, top, left, height, width), {size.height(), size.width()}, options);
}

std::array<torch::Tensor, 5> five_crop(const torch::Tensor& images, ImageSize size) {
  require_images("five_crop", images);
  require_within("five_crop", images, size);
  const auto height = size.height(), width = size.width();
  const auto bottom = images.size(-2) - height, right = images.size(-1) - width;
  return {crop(images, 0, 0, height, width), crop(images, 0, right, height, width),
          crop(images, bottom, 0, height, width), crop(images, bottom, right, height, width),
          center_crop(images, size)};
}

std::array<torch::Tensor, 10> ten_crop(const torch::Tensor& images, ImageSize size, bool vertical_flip) {
  const auto plain = five_crop(images, size);
  const auto flipped = five_crop(vertical_flip ? vflip(images) : hflip(images), size);
  std::array<torch::Tensor, 10> all;
  std::copy(plain.begin(), plain.end(), all.begin());
  std::copy(flipped.begin(), flipped.end(), all.begin() + 5);
  return all;
}

torch::Tensor pad(const torch::Tensor& images, Borders borders, const Fill& fill, PaddingMode mode) {
  require_images("pad", images);
  if (fill.size() > 1 && mode != PaddingMode::kConstant)
    throw std::invalid_argument("pad: several fill values are for PaddingMode::kConstant");
  if (fill.size() > 1 && static_cast<std::int64_t>(fill.size()) != images.size(-3))
    throw std::invalid_argument("pad: " + std::to_string(fill.size()) + " fill values for " +
                                std::to_string(images.size(-3)) + " channels");
  switch (mode) {
    case PaddingMode::kConstant: {
      if (fill.size() <= 1)
        return at::constant_pad_nd(images, aten_order(borders), fill.empty() ? 0 : fill[0]);
      auto padded = zero_padded(images, borders);
      fill_borders(padded, borders, fill);
      return padded;
    }
    case PaddingMode::kEdge:
    case PaddingMode::kReflect: {
      if (mode == PaddingMode::kReflect && (std::max(borders.left, borders.right) >= images.size(-1) ||
                                            std::max(borders.top, borders.bottom) >= images.size(-2)))
        throw std::invalid_argument("pad: PaddingMode::kReflect needs borders below the image's " +
                                    size_text(images.size(-2), images.size(-1)));
      // ATen's operators know floating point only.
      const auto floats = images.is_floating_point() ? images : images.to(at::kFloat);
      const auto padded = at::pad(as_batch(floats), aten_order(borders),
                                  mode == PaddingMode::kEdge ? "replicate" : "reflect");
      return shaped_like(padded, images).to(images.scalar_type());
    }
    case PaddingMode::kSymmetric:
      return images
          .index_select(-2, mirrored_places(images.size(-2), borders.top, borders.bottom, images.device()))
          .index_select(-1, mirrored_places(images.size(-1), borders.left, borders.right, images.device()));
  }
  throw std::invalid_argument("pad: no such PaddingMode");
}

torch::Tensor hflip(const torch::Tensor& images) {
  require_images("hflip", images);
  return at::flip(images, -1);
}

torch::Tensor vflip(const torch::Tensor& images) {
  require_images("vflip", images);
  return at::flip(images, -2);
}

}  // namespace rtrain::data::transforms::functional
