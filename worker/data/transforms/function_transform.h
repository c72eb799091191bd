// Transforms that are one function, fixed or behind a coin.
#pragma once

#include <rtrain/data/transforms/random_transform.h>

#include "worker/data/transforms/drawn.h"

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

namespace rtrain::data::transforms {

template <class Function>
class FixedFunction final : public Transform {
 public:
  explicit FixedFunction(Function function) : function_(std::move(function)) {}
  [[nodiscard]] torch::Tensor apply(const torch::Tensor& images) const override { return function_(images); }

 private:
  Function function_;
};

/// @param function of images.
template <class Function>
[[nodiscard]] std::shared_ptr<const Transform> fixed_function(Function function) {
  return std::make_shared<FixedFunction<Function>>(std::move(function));
}

template <class Function>
class DrawnFunction final : public RandomTransform {
 public:
  DrawnFunction(std::string name, Function function)
      : RandomTransform(std::move(name)), function_(std::move(function)) {}

 protected:
  [[nodiscard]] torch::Tensor of_sample(const torch::Tensor& image, at::Generator& generator) const override {
    return function_(image, generator);
  }

 private:
  Function function_;
};

/// @param function of one image and its generator.
template <class Function>
[[nodiscard]] std::shared_ptr<const Transform> drawn_function(std::string name, Function function) {
  return std::make_shared<DrawnFunction<Function>>(std::move(name), std::move(function));
}

inline void require_probability(const std::string& name, double p) {
  if (!(p >= 0 && p <= 1))
    throw std::invalid_argument(name + ": p is " + std::to_string(p) + ", expected a probability, 0 to 1");
}

/// torchvision's _RandomApplyTransform. @param function of one image.
template <class Function>
[[nodiscard]] std::shared_ptr<const Transform> with_probability(const std::string& name, double p,
                                                                Function function) {
  require_probability(name, p);
  return drawn_function(name,
                        [p, f = std::move(function)](const torch::Tensor& image, at::Generator& generator) {
                          return drawn::happens(p, generator) ? torch::Tensor(f(image)) : image;
                        });
}

}  // namespace rtrain::data::transforms
