#include <rtrain/data/transforms/choice.h>

#include "worker/data/transforms/choices.h"
#include "worker/data/transforms/function_transform.h"

#include <algorithm>

namespace rtrain::data::transforms {
namespace {

using Steps = std::vector<std::shared_ptr<const Transform>>;

void require_steps(const std::string& name, const Steps& steps) {
  if (steps.empty()) throw std::invalid_argument(name + ": there is no transform to choose");
  if (std::find(steps.begin(), steps.end(), nullptr) != steps.end())
    throw std::invalid_argument(name + ": a transform is null");
}

torch::Tensor applied(const Transform& step, const torch::Tensor& image, at::Generator& generator) {
  return step.apply(image, std::span(&generator, 1));
}

}  // namespace

std::shared_ptr<const Transform> RandomApply(Steps steps, double p) {
  require_steps("RandomApply", steps);
  require_probability("RandomApply", p);
  return drawn_function("RandomApply", [all = Compose(std::move(steps)), p](const torch::Tensor& image,
                                                                            at::Generator& generator) {
    return drawn::happens(p, generator) ? applied(*all, image, generator) : image;
  });
}

std::shared_ptr<const Transform> RandomChoice(Steps choices, std::vector<double> weights) {
  require_steps("RandomChoice", choices);
  Choices weighted("RandomChoice", choices.size(), std::move(weights));
  return drawn_function("RandomChoice", [choices = std::move(choices), weighted](const torch::Tensor& image,
                                                                                 at::Generator& generator) {
    return applied(*choices[weighted.draw(generator)], image, generator);
  });
}

std::shared_ptr<const Transform> RandomOrder(Steps steps) {
  require_steps("RandomOrder", steps);
  return drawn_function(
      "RandomOrder", [steps = std::move(steps)](const torch::Tensor& image, at::Generator& generator) {
        auto result = image;
        for (const auto i : drawn::permutation(static_cast<std::int64_t>(steps.size()), generator))
          result = applied(*steps[static_cast<std::size_t>(i)], result, generator);
        return result;
      });
}

}  // namespace rtrain::data::transforms
