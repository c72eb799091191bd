// A transform on what a data set has read.
#pragma once

#include <rtrain/data/sample_context.h>
#include <rtrain/data/transforms.h>

#include <cstdint>
#include <memory>
#include <span>

namespace rtrain::data {

/// One image [C, H, W], the sample `index`.
[[nodiscard]] inline torch::Tensor transformed_image(const transforms::Transform& transform,
                                                     const torch::Tensor& image, std::int64_t index,
                                                     const SampleContext& context) {
  auto generator = context.generator(index);
  return transform.apply(image.unsqueeze(0), std::span(&generator, 1)).squeeze(0);
}

/// A batch [N, C, H, W] of the samples `indices`.
[[nodiscard]] inline torch::Tensor transformed_images(const transforms::Transform& transform,
                                                      const torch::Tensor& images,
                                                      std::span<const std::int64_t> indices,
                                                      const SampleContext& context) {
  auto generators = context.generators(indices);
  return transform.apply(images, generators);
}

[[nodiscard]] inline std::shared_ptr<const transforms::Transform> or_to_tensor(
    std::shared_ptr<const transforms::Transform> transform) {
  return transform != nullptr ? std::move(transform) : transforms::ToTensor();
}

}  // namespace rtrain::data
