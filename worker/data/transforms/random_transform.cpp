#include <rtrain/data/transforms/random_transform.h>

#include "worker/data/transforms/dimensions.h"

#include <ATen/ops/stack.h>

namespace rtrain::data::transforms {

torch::Tensor RandomTransform::apply(const torch::Tensor&) const {
  throw std::logic_error(name_ +
                         " is random: call apply(images, generators), with SampleContext::generators()");
}

torch::Tensor RandomTransform::apply(const torch::Tensor& images, std::span<at::Generator> generators) const {
  require_images(name_.c_str(), images);
  const auto count = images.dim() == 3 ? 1 : images.size(0);
  if (static_cast<std::int64_t>(generators.size()) != count)
    throw std::invalid_argument(name_ + ": " + std::to_string(generators.size()) + " generators for " +
                                std::to_string(count) + " images");
  if (images.dim() == 3) return of_sample(images, generators[0]);
  if (count == 0) return images;
  std::vector<torch::Tensor> results;
  results.reserve(generators.size());
  for (std::int64_t i = 0; i < count; ++i) {
    results.push_back(of_sample(images.select(0, i), generators[static_cast<std::size_t>(i)]));
    if (results.back().sizes() != results.front().sizes())
      throw std::invalid_argument(name_ + ": images of one batch became different in size, " +
                                  size_text(results.front().size(-2), results.front().size(-1)) + " and " +
                                  size_text(results.back().size(-2), results.back().size(-1)) +
                                  "; put a crop or Resize behind it, or apply it sample by sample");
  }
  return at::stack(results);
}

}  // namespace rtrain::data::transforms
