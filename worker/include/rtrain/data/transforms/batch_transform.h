// Transforms of whole batches, which mix samples and change targets.
#pragma once

#include <rtrain/batch.h>
#include <rtrain/export.h>

#include <ATen/core/Generator.h>

#include <memory>
#include <vector>

namespace rtrain::data::transforms {

/// A function of a batch that may draw random numbers.
/// @thread as Transform.
class RTRAIN_API BatchTransform {
 public:
  virtual ~BatchTransform() = default;
  /// For the seed s it draws what torchvision draws after torch.manual_seed(s).
  /// @param batch its tensors stay what they are.
  /// @param generator on the CPU (SampleContext::batch_generator()).
  [[nodiscard]] virtual Batch apply(const Batch& batch, at::Generator& generator) const = 0;
};

/// One of `choices`, drawn for each batch.
/// @param weights of the choices, above 0 in sum. Empty: equal ones.
/// @throws std::invalid_argument if there is none, one is null, or weights do not fit.
[[nodiscard]] RTRAIN_API std::shared_ptr<const BatchTransform> RandomChoice(
    std::vector<std::shared_ptr<const BatchTransform>> choices, std::vector<double> weights = {});

}  // namespace rtrain::data::transforms
