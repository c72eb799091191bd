// Transforms that choose among transforms, for each image.
#pragma once

#include <rtrain/data/transforms.h>

namespace rtrain::data::transforms {

/// All of `steps` in order with probability p, else none.
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> RandomApply(
    std::vector<std::shared_ptr<const Transform>> steps, double p = 0.5);
/// One of `choices`.
/// @param weights of the choices, above 0 in sum. Empty: equal ones.
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> RandomChoice(
    std::vector<std::shared_ptr<const Transform>> choices, std::vector<double> weights = {});
/// All of `steps` in a random order.
[[nodiscard]] RTRAIN_API std::shared_ptr<const Transform> RandomOrder(
    std::vector<std::shared_ptr<const Transform>> steps);

}  // namespace rtrain::data::transforms
