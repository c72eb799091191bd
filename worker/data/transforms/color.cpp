#include <rtrain/data/transforms/color.h>

#include "worker/data/transforms/function_transform.h"
#include "worker/data/transforms/parameters.h"

#include <array>
#include <optional>

namespace rtrain::data::transforms {
namespace {

/// What changes one thing by a factor: functional::adjust_...().
struct Adjustment {
  torch::Tensor (*function)(const torch::Tensor&, double) = nullptr;
  std::optional<Range> factors{};  ///< none: it is left out, and draws nothing
};

/// @param centre the factor that changes nothing.
std::optional<Range> factors_of(const std::string& name, Spread spread, double centre, double least,
                                double most) {
  if (!spread.is_range() && !(spread.distance() >= 0))
    throw std::invalid_argument("ColorJitter: " + name + " is " + std::to_string(spread.distance()) +
                                ", expected 0 or more");
  auto range = spread.around(centre);
  if (!spread.is_range() && centre > 0) range.min = std::max(range.min, 0.0);
  require_range("ColorJitter: " + name, range, least, most);
  if (range.min == centre && range.max == centre) return std::nullopt;
  return range;
}

class ColorJitterTransform final : public RandomTransform {
 public:
  explicit ColorJitterTransform(const ColorJitterOptions& options)
      : RandomTransform("ColorJitter"),
        adjustments_{
            {{functional::adjust_brightness, factors_of("brightness", options.brightness, 1, 0, INFINITY)},
             {functional::adjust_contrast, factors_of("contrast", options.contrast, 1, 0, INFINITY)},
             {functional::adjust_saturation, factors_of("saturation", options.saturation, 1, 0, INFINITY)},
             {functional::adjust_hue, factors_of("hue", options.hue, 0, -0.5, 0.5)}}} {}

 protected:
  [[nodiscard]] torch::Tensor of_sample(const torch::Tensor& image, at::Generator& generator) const override {
    const auto order = drawn::permutation(4, generator);
    std::array<double, 4> factors{};
    for (std::size_t i = 0; i < factors.size(); ++i)
      if (adjustments_[i].factors) factors[i] = drawn::uniform(*adjustments_[i].factors, generator);
    auto result = image;
    for (const auto place : order) {
      const auto i = static_cast<std::size_t>(place);
      if (adjustments_[i].factors) result = adjustments_[i].function(result, factors[i]);
    }
    return result;
  }

 private:
  std::array<Adjustment, 4> adjustments_;
};

}  // namespace

std::shared_ptr<const Transform> ColorJitter(const ColorJitterOptions& options) {
  return std::make_shared<ColorJitterTransform>(options);
}

std::shared_ptr<const Transform> RandomGrayscale(double p) {
  return with_probability("RandomGrayscale", p, [](const torch::Tensor& image) {
    return functional::rgb_to_grayscale(image, image.size(-3));
  });
}

std::shared_ptr<const Transform> RandomPosterize(std::int64_t bits, double p) {
  if (bits < 0 || bits > 8)
    throw std::invalid_argument("RandomPosterize: bits is " + std::to_string(bits) + ", expected 0 to 8");
  return with_probability("RandomPosterize", p,
                          [bits](const torch::Tensor& image) { return functional::posterize(image, bits); });
}

std::shared_ptr<const Transform> RandomSolarize(double threshold, double p) {
  return with_probability("RandomSolarize", p, [threshold](const torch::Tensor& image) {
    return functional::solarize(image, threshold);
  });
}

std::shared_ptr<const Transform> RandomAutocontrast(double p) {
  return with_probability("RandomAutocontrast", p, functional::autocontrast);
}

std::shared_ptr<const Transform> RandomEqualize(double p) {
  return with_probability("RandomEqualize", p, functional::equalize);
}

std::shared_ptr<const Transform> RandomInvert(double p) {
  return with_probability("RandomInvert", p, functional::invert);
}

std::shared_ptr<const Transform> RandomAdjustSharpness(double factor, double p) {
  return with_probability("RandomAdjustSharpness", p, [factor](const torch::Tensor& image) {
    return functional::adjust_sharpness(image, factor);
  });
}

std::shared_ptr<const Transform> Grayscale(std::int64_t channels) {
  return fixed_function(
      [channels](const torch::Tensor& images) { return functional::rgb_to_grayscale(images, channels); });
}

}  // namespace rtrain::data::transforms
