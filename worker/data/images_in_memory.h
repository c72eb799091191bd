// A data set of images of one size that are in memory as bytes.
#pragma once

#include <rtrain/data/dataset.h>
#include <rtrain/data/transforms.h>

#include <cstdint>
#include <memory>

namespace rtrain::data {

/// @param images uint8 [N, C, H, W]. @param labels int64 [N]. @param transform of whole batches, not null.
[[nodiscard]] std::shared_ptr<Dataset> images_in_memory(
    torch::Tensor images, torch::Tensor labels, std::shared_ptr<const transforms::Transform> transform);

}  // namespace rtrain::data
