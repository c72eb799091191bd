// How many batches of a loader a loop takes.
#pragma once

#include <rtrain/data/data_loader.h>
#include <rtrain/trainer.h>

#include <cstdint>
#include <string>

namespace rtrain {

/// Batches of one pass over `batches`, after the limit.
/// @throws std::invalid_argument a fraction that leaves none: names `option` and the least that leaves one.
[[nodiscard]] std::int64_t limited(const BatchCount& limit, std::int64_t batches, const std::string& option);

/// What an empty loader is made of: "5 samples, batch_size 8, drop_last".
[[nodiscard]] std::string parts_of(const DataLoader& loader);

}  // namespace rtrain
