// Batches of several data sets as one.
#pragma once

#include <rtrain/batch.h>

#include <vector>

namespace rtrain::data {

/// The batches' samples one after the other, then taken in `order` (int64 [samples]).
/// @param batches two or more. @throws std::invalid_argument if they differ in kind, type or shape.
[[nodiscard]] Batch merged(const std::vector<Batch>& batches, const torch::Tensor& order);

}  // namespace rtrain::data
