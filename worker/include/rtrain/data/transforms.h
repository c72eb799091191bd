// torchvision.transforms on whole batches, bit-identical: the same floating-point operations in the same
// order. Those of images are in data/transforms/.
#pragma once

#include <rtrain/export.h>

#include <ATen/core/Generator.h>
#include <torch/types.h>

#include <memory>
#include <span>
#include <vector>

namespace rtrain::data::transforms {

/// A function of a batch of images [N, C, H, W], or of one image [C, H, W]: uint8 before ToTensor, float32
/// after it.
/// @thread called from the loader's threads, several at the same time if it has more than one (Dataset).
class RTRAIN_API Transform {
 public:
  virtual ~Transform() = default;
  /// @throws std::logic_error if the transform is random: call the other apply().
  [[nodiscard]] virtual torch::Tensor apply(const torch::Tensor& images) const = 0;
  /// What a data set calls. A random transform draws the numbers of image i from generators[i], and those of
  /// a single image from generators[0]; for the seed s it draws what torchvision draws of that image after
  /// torch.manual_seed(s). Default: apply(images).
  /// @param generators on the CPU, one per image (SampleContext::generators()).
  [[nodiscard]] virtual torch::Tensor apply(const torch::Tensor& images,
                                            std::span<at::Generator> generators) const {
    (void)generators;
    return apply(images);
  }
  /// True if each output value depends only on the input value at the same position. A data set of bytes then
  /// evaluates the transform once for all 256 byte values and uses a lookup table.
  [[nodiscard]] virtual bool is_pointwise() const { return false; }
};

/// Converts uint8 0..255 to float32 0..1: x / 255.
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> ToTensor();
/// torchvision.transforms.v2.ToDtype: another type.
/// @param scale uint8 0..255 and floating point 0..1 are converted into each other: x * (1 / 255), which may
///        differ from ToTensor in the last bit; and x * 255.999, without the fraction. Other integers are
///        refused. false: values stay what they are.
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> ToDtype(at::ScalarType dtype, bool scale = false);
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
