// Random images: torchvision.datasets.FakeData.
#pragma once

#include <rtrain/data/dataset.h>
#include <rtrain/data/transforms.h>

#include <array>
#include <cstdint>
#include <memory>

namespace rtrain::data {

struct RTRAIN_API FakeDataOptions {
  std::int64_t size = 1000;                             ///< samples, 0 or more
  std::array<std::int64_t, 3> image_size{3, 224, 224};  ///< [C, H, W]
  std::int64_t num_classes = 10;                        ///< 1 or more
  std::int64_t random_offset = 0;                       ///< added to a sample's number for its seed
  /// of whole batches; null: ToTensor()
  std::shared_ptr<const transforms::Transform> transform{};
};

/// Images of noise with a random label (int64), the same as torchvision's: sample i is drawn with the seed
/// i + random_offset. @throws std::invalid_argument a number is out of its range.
[[nodiscard]] RTRAIN_API std::shared_ptr<Dataset> FakeData(FakeDataOptions options = {});

}  // namespace rtrain::data
