// The base of transforms that draw random numbers.
#pragma once

#include <rtrain/data/transforms.h>

#include <string>

namespace rtrain::data::transforms {

/// A transform with parameters that are drawn for each sample by itself. Derive from it and write
/// of_sample().
class RTRAIN_API RandomTransform : public Transform {
 public:
  /// Without generators there is nothing to draw from.
  /// @throws std::logic_error that names the transform.
  [[nodiscard]] torch::Tensor apply(const torch::Tensor& images) const final;
  /// @param images one [C, H, W] with one generator; or [N, ..., C, H, W] with N. Results are stacked.
  /// @throws std::invalid_argument if there are not as many generators, or if results differ in shape.
  [[nodiscard]] torch::Tensor apply(const torch::Tensor& images,
                                    std::span<at::Generator> generators) const final;

 protected:
  explicit RandomTransform(std::string name) : name_(std::move(name)) {}
  /// @param image [C, H, W], or [..., C, H, W] behind a FiveCrop. Not to be changed in place.
  [[nodiscard]] virtual torch::Tensor of_sample(const torch::Tensor& image,
                                                at::Generator& generator) const = 0;
  [[nodiscard]] const std::string& name() const { return name_; }  ///< for errors

 private:
  std::string name_;
};

}  // namespace rtrain::data::transforms
