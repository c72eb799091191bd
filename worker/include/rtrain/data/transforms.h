// torchvision.transforms, on whole batches: the same float operations in the same order, so the same bits.
#pragma once

#include <rtrain/export.h>

#include <torch/types.h>

#include <memory>
#include <vector>

namespace rtrain::data::transforms {

/// A function of a batch of images [N, C, H, W]: bytes before ToTensor, floats after it.
/// @thread called from a loader's thread, by one thread at a time.
class RTRAIN_API Transform {
 public:
  virtual ~Transform() = default;
  [[nodiscard]] virtual torch::Tensor apply(const torch::Tensor& images) const = 0;
  /// True when each value out depends on nothing but the value in at the same place: a data set of bytes
  /// then evaluates the transform once for the 256 bytes there are, and looks the values up.
  [[nodiscard]] virtual bool is_pointwise() const { return false; }
};

/// uint8 0..255 to float32 0..1: x / 255.
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> ToTensor();
/// (x - mean) / std, one pair for all channels.
/// @throws std::invalid_argument std is 0.
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> Normalize(double mean, double std);
/// One mean and one std a channel.
/// @throws std::invalid_argument a std is 0, or the lists are empty or differ in length.
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> Normalize(std::vector<double> mean,
                                                                    std::vector<double> std);
/// One after the other.
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> Compose(
    std::vector<std::shared_ptr<const Transform>> steps);

}  // namespace rtrain::data::transforms
