#include <rtrain/data/transforms/batch_transform.h>

#include "worker/data/transforms/choices.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace rtrain::data::transforms {
namespace {

class ChosenBatchTransform final : public BatchTransform {
 public:
  ChosenBatchTransform(std::vector<std::shared_ptr<const BatchTransform>> transforms,
                       std::vector<double> weights)
      : transforms_(std::move(transforms)), choices_("RandomChoice", transforms_.size(), std::move(weights)) {
    if (std::find(transforms_.begin(), transforms_.end(), nullptr) != transforms_.end())
      throw std::invalid_argument("RandomChoice: a transform is null");
  }
  [[nodiscard]] Batch apply(const Batch& batch, at::Generator& generator) const override {
    return transforms_[choices_.draw(generator)]->apply(batch, generator);
  }

 private:
  std::vector<std::shared_ptr<const BatchTransform>> transforms_;
  Choices choices_;
};

}  // namespace

std::shared_ptr<const BatchTransform> RandomChoice(std::vector<std::shared_ptr<const BatchTransform>> choices,
                                                   std::vector<double> weights) {
  return std::make_shared<ChosenBatchTransform>(std::move(choices), std::move(weights));
}

}  // namespace rtrain::data::transforms
