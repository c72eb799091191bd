#include <rtrain/data/transforms/auto_augment.h>

#include "worker/data/transforms/augmentation_space.h"
#include "worker/data/transforms/dimensions.h"
#include "worker/data/transforms/function_transform.h"

#include <ATen/ops/_sample_dirichlet.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <array>

namespace rtrain::data::transforms {
namespace {

void require_augmentable(const std::string& name, const torch::Tensor& image) {
  require_gray_or_rgb(name.c_str(), image);
  if (image.scalar_type() != at::kByte && !image.is_floating_point())
    throw std::invalid_argument(name + ": expected uint8, or floating point in 0..1, found " +
                                c10::toString(image.scalar_type()));
}

void require_options(const std::string& name, const AugmentOptions& options) {
  if (options.interpolation != Interpolation::kNearest && options.interpolation != Interpolation::kBilinear)
    throw std::invalid_argument(name + ": interpolation must be kNearest or kBilinear");
}

void require_number(const std::string& name, std::int64_t value, std::int64_t least, std::int64_t most) {
  if (value < least || value > most)
    throw std::invalid_argument(name + " is " + std::to_string(value) + ", expected " +
                                std::to_string(least) + " to " + std::to_string(most));
}
constexpr std::int64_t kMany = 1 << 20;

/// @param bin gives the magnitude's number; asked only if there is one.
template <class Bin>
torch::Tensor operated(const Operation& operation, const torch::Tensor& image, std::int64_t bins,
                       const AugmentOptions& options, at::Generator& generator, const Bin& bin) {
  double magnitude = 0;
  if (operation.magnitudes != nullptr) {
    magnitude = operation.magnitudes(bins, image.size(-2), image.size(-1))[bin()].template item<float>();
    if (operation.is_signed && drawn::fraction(generator) <= 0.5) magnitude = -magnitude;
  }
  return operation.apply(image, magnitude, options);
}

const Operation& drawn_operation(const std::vector<Operation>& operations, at::Generator& generator) {
  const auto count = static_cast<std::int64_t>(operations.size());
  return operations[static_cast<std::size_t>(drawn::integer(0, count, generator))];
}

const Operation& named_operation(const std::vector<Operation>& operations, std::string_view name) {
  const auto found = std::find_if(operations.begin(), operations.end(),
                                  [name](const auto& operation) { return operation.name == name; });
  if (found == operations.end()) throw std::logic_error("AutoAugment: no operation " + std::string(name));
  return *found;
}

/// `count` weights of Dirichlet(alpha, ..., alpha), [count].
torch::Tensor dirichlet(double alpha, std::int64_t count, at::Generator& generator) {
  return at::_sample_dirichlet(at::full({1, count}, alpha, at::kFloat), generator)[0];
}

constexpr std::int64_t kTenBins = 10;

torch::Tensor augmix(const torch::Tensor& image, const AugMixOptions& options, const AugmentOptions& augment,
                     at::Generator& generator) {
  const auto& operations =
      operations_of(options.all_ops ? AugmentationSpace::kAugMix : AugmentationSpace::kAugMixPartial);
  // Of the image and of the chains together; then of each chain. Products in float32, as torchvision has
  // them.
  const auto shares = dirichlet(options.alpha, 2, generator);
  const auto weights =
      (dirichlet(options.alpha, options.mixture_width, generator) * shares[1]).to(image.device());
  auto mixed = shares[0].to(image.device()) * image;
  for (std::int64_t chain = 0; chain < options.mixture_width; ++chain) {
    auto result = image;
    const auto depth = options.chain_depth > 0 ? options.chain_depth : drawn::integer(1, 4, generator);
    for (std::int64_t i = 0; i < depth; ++i)
      result = operated(drawn_operation(operations, generator), result, kTenBins, augment, generator,
                        [&] { return drawn::integer(0, options.severity, generator); });
    mixed.add_(weights[chain] * result);
  }
  return mixed.to(image.scalar_type());
}

}  // namespace

std::shared_ptr<const Transform> RandAugment(const RandAugmentOptions& options, AugmentOptions augment) {
  require_number("RandAugment: num_ops", options.num_ops, 0, kMany);
  require_number("RandAugment: num_magnitude_bins", options.num_magnitude_bins, 2, kMany);
  require_number("RandAugment: magnitude", options.magnitude, 0, options.num_magnitude_bins - 1);
  require_options("RandAugment", augment);
  return drawn_function("RandAugment", [options, augment = std::move(augment)](const torch::Tensor& image,
                                                                               at::Generator& generator) {
    require_augmentable("RandAugment", image);
    const auto& operations = operations_of(AugmentationSpace::kRandAugment);
    auto result = image;
    for (std::int64_t i = 0; i < options.num_ops; ++i)
      result = operated(drawn_operation(operations, generator), result, options.num_magnitude_bins, augment,
                        generator, [&] { return options.magnitude; });
    return result;
  });
}

std::shared_ptr<const Transform> TrivialAugmentWide(std::int64_t num_magnitude_bins, AugmentOptions augment) {
  require_number("TrivialAugmentWide: num_magnitude_bins", num_magnitude_bins, 2, kMany);
  require_options("TrivialAugmentWide", augment);
  return drawn_function("TrivialAugmentWide", [bins = num_magnitude_bins, augment = std::move(augment)](
                                                  const torch::Tensor& image, at::Generator& generator) {
    require_augmentable("TrivialAugmentWide", image);
    const auto& operation = drawn_operation(operations_of(AugmentationSpace::kTrivialAugmentWide), generator);
    return operated(operation, image, bins, augment, generator,
                    [&] { return drawn::integer(0, bins, generator); });
  });
}

std::shared_ptr<const Transform> AutoAugment(AutoAugmentPolicy policy, AugmentOptions augment) {
  require_options("AutoAugment", augment);
  return drawn_function("AutoAugment", [&pairs = pairs_of(policy), augment = std::move(augment)](
                                           const torch::Tensor& image, at::Generator& generator) {
    require_augmentable("AutoAugment", image);
    const auto& operations = operations_of(AugmentationSpace::kAutoAugment);
    const auto pair = drawn::integer(0, static_cast<std::int64_t>(pairs.size()), generator);
    auto result = image;
    for (const auto& step : pairs[static_cast<std::size_t>(pair)]) {
      if (drawn::fraction(generator) > static_cast<float>(step.probability)) continue;
      result = operated(named_operation(operations, step.operation), result, kTenBins, augment, generator,
                        [&] { return step.magnitude.value_or(0); });
    }
    return result;
  });
}

std::shared_ptr<const Transform> AugMix(const AugMixOptions& options, AugmentOptions augment) {
  require_number("AugMix: severity", options.severity, 1, kTenBins);
  require_number("AugMix: mixture_width", options.mixture_width, 1, kMany);
  if (!(options.alpha > 0))
    throw std::invalid_argument("AugMix: alpha is " + std::to_string(options.alpha) +
                                ", expected more than 0");
  require_options("AugMix", augment);
  return drawn_function("AugMix", [options, augment = std::move(augment)](const torch::Tensor& image,
                                                                          at::Generator& generator) {
    require_augmentable("AugMix", image);
    return augmix(image, options, augment, generator);
  });
}

}  // namespace rtrain::data::transforms
