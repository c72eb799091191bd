#include <rtrain/data/transforms/geometry.h>

#include "worker/data/transforms/dimensions.h"
#include "worker/data/transforms/function_transform.h"
#include "worker/data/transforms/parameters.h"

#include <ATen/ops/stack.h>

#include <cmath>

namespace rtrain::data::transforms {
namespace {

class RandomCropTransform final : public RandomTransform {
 public:
  RandomCropTransform(ImageSize size, RandomCropOptions options)
      : RandomTransform("RandomCrop"), size_(size), options_(std::move(options)) {}

 protected:
  [[nodiscard]] torch::Tensor of_sample(const torch::Tensor& image, at::Generator& generator) const override {
    auto borders = options_.padding;
    auto height = image.size(-2) + borders.top + borders.bottom;
    auto width = image.size(-1) + borders.left + borders.right;
    // What is missing goes to both sides: the image may stand anywhere in the crop.
    if (const auto missing = size_.height() - height; options_.pad_if_needed && missing > 0)
      borders.top += missing, borders.bottom += missing, height += 2 * missing;
    if (const auto missing = size_.width() - width; options_.pad_if_needed && missing > 0)
      borders.left += missing, borders.right += missing, width += 2 * missing;
    if (height < size_.height() || width < size_.width())
      throw std::invalid_argument("RandomCrop: a crop of " + size_text(size_.height(), size_.width()) +
                                  " is larger than the padded image of " + size_text(height, width) +
                                  "; enlarge padding, or set pad_if_needed");
    const auto drawn_place = [&](std::int64_t places) {
      return places > 1 ? drawn::integer(0, places, generator) : 0;
    };
    const auto top = drawn_place(height - size_.height() + 1);
    const auto left = drawn_place(width - size_.width() + 1);
    if (borders.left == 0 && borders.top == 0 && borders.right == 0 && borders.bottom == 0)
      return functional::crop(image, top, left, size_.height(), size_.width());
    return functional::crop(functional::pad(image, borders, options_.fill, options_.padding_mode), top, left,
                            size_.height(), size_.width());
  }

 private:
  ImageSize size_;
  RandomCropOptions options_;
};

class RandomResizedCropTransform final : public RandomTransform {
 public:
  RandomResizedCropTransform(ImageSize size, RandomResizedCropOptions options)
      : RandomTransform("RandomResizedCrop"), size_(size), options_(options) {
    require_shape_ranges(name(), options.scale, options.ratio);
  }

 protected:
  [[nodiscard]] torch::Tensor of_sample(const torch::Tensor& image, at::Generator& generator) const override {
    const auto box = drawn_box(image.size(-2), image.size(-1), generator);
    return functional::resized_crop(
        image, box.top, box.left, box.height, box.width, size_,
        {.interpolation = options_.interpolation, .antialias = options_.antialias});
  }

 private:
  struct Box {
    std::int64_t top, left, height, width;
  };

  [[nodiscard]] Box drawn_box(std::int64_t height, std::int64_t width, at::Generator& generator) const {
    constexpr int kTries = 10;
    for (int i = 0; i < kTries; ++i) {
      const auto area = static_cast<double>(height * width) * drawn::uniform(options_.scale, generator);
      const auto ratio = drawn::log_uniform(options_.ratio, generator);
      const auto w = rounded(std::sqrt(area * ratio)), h = rounded(std::sqrt(area / ratio));
      if (w < 1 || w > width || h < 1 || h > height) continue;
      const auto top = drawn::integer(0, height - h + 1, generator);
      return {top, drawn::integer(0, width - w + 1, generator), h, w};
    }
    auto h = height, w = width;
    const auto whole = static_cast<double>(width) / static_cast<double>(height);
    if (whole < options_.ratio.min) h = rounded(static_cast<double>(w) / options_.ratio.min);
    if (whole > options_.ratio.max) w = rounded(static_cast<double>(h) * options_.ratio.max);
    return {(height - h) / 2, (width - w) / 2, h, w};
  }

  ImageSize size_;
  RandomResizedCropOptions options_;
};

}  // namespace

std::shared_ptr<const Transform> Resize(ImageSize size, ResizeOptions options) {
  (void)functional::resized_size(1, 1, size, options.max_size);  // refuses what is wrong now
  return fixed_function(
      [=](const torch::Tensor& images) { return functional::resize(images, size, options); });
}

std::shared_ptr<const Transform> CenterCrop(ImageSize size) {
  return fixed_function([=](const torch::Tensor& images) { return functional::center_crop(images, size); });
}

std::shared_ptr<const Transform> Pad(Borders borders, Fill fill, PaddingMode mode) {
  return fixed_function([borders, fill = std::move(fill), mode](const torch::Tensor& images) {
    return functional::pad(images, borders, fill, mode);
  });
}

std::shared_ptr<const Transform> FiveCrop(ImageSize size) {
  return fixed_function(
      [=](const torch::Tensor& images) { return at::stack(functional::five_crop(images, size), -4); });
}

std::shared_ptr<const Transform> TenCrop(ImageSize size, bool vertical_flip) {
  return fixed_function([=](const torch::Tensor& images) {
    return at::stack(functional::ten_crop(images, size, vertical_flip), -4);
  });
}

std::shared_ptr<const Transform> RandomCrop(ImageSize size, RandomCropOptions options) {
  return std::make_shared<RandomCropTransform>(size, std::move(options));
}

std::shared_ptr<const Transform> RandomResizedCrop(ImageSize size, RandomResizedCropOptions options) {
  return std::make_shared<RandomResizedCropTransform>(size, options);
}

std::shared_ptr<const Transform> RandomHorizontalFlip(double p) {
  return with_probability("RandomHorizontalFlip", p, functional::hflip);
}

std::shared_ptr<const Transform> RandomVerticalFlip(double p) {
  return with_probability("RandomVerticalFlip", p, functional::vflip);
}

}  // namespace rtrain::data::transforms
