// The number of batches that a loop takes from a loader.
#pragma once

#include <rtrain/data/data_loader.h>
#include <rtrain/trainer.h>

#include <cstdint>
#include <string>

namespace rtrain {

/// Returns the number of batches of one pass over `batches` after applying the limit.
/// @throws std::invalid_argument if a fraction leaves none: names `option` and the smallest value that leaves
///        one.
[[nodiscard]] std::int64_t limited(const BatchCount& limit, std::int64_t batches, const std::string& option);

/// Describes an empty loader: "5 samples, batch_size 8, drop_last".
[[nodiscard]] std::string parts_of(const DataLoader& loader);

}  // namespace rtrain
