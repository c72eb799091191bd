// torchvision.transforms on whole batches, bit-identical: the same floating-point operations in the same
// order.
#pragma once

#include <rtrain/export.h>

#include <torch/types.h>

#include <memory>
#include <vector>

namespace rtrain::data::transforms {

/// A function of a batch of images [N, C, H, W]: uint8 before ToTensor, float32 after it.
/// @thread called from the loader's threads, several at the same time if it has more than one (Dataset).
class RTRAIN_API Transform {
 public:
  virtual ~Transform() = default;
  [[nodiscard]] virtual torch::Tensor apply(const torch::Tensor& images) const = 0;
  /// True if each output value depends only on the input value at the same position. A data set of bytes then
  /// evaluates the transform once for all 256 byte values and uses a lookup table.
  [[nodiscard]] virtual bool is_pointwise() const { return false; }
};

/// Converts uint8 0..255 to float32 0..1: x / 255.
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> ToTensor();
/// (x - mean) / std, with one pair for all channels.
/// @throws std::invalid_argument if std is 0.
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> Normalize(double mean, double std);
/// (x - mean) / std, with one pair per channel.
/// @throws std::invalid_argument if a std is 0, or if the lists are empty or differ in length.
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> Normalize(std::vector<double> mean,
                                                                    std::vector<double> std);
/// Applies `steps` in order.
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> Compose(
    std::vector<std::shared_ptr<const Transform>> steps);

}  // namespace rtrain::data::transforms
