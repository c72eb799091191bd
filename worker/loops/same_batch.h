// Ranks that compute one batch together must have the same one.
#pragma once

#include <rtrain/batch.h>
#include <rtrain/export.h>
#include <rtrain/strategies.h>

#include <cstdint>
#include <string>

namespace rtrain {

/// Of types, shapes and elements of all tensors of the batch, on any device. The host waits for a GPU.
[[nodiscard]] RTRAIN_API std::uint32_t checksum_of(const Batch& batch);

/// A collective of the ranks of a tensor group and of a pipeline, which compute one batch together; nothing
/// where each rank has its own. Ranks of a context group may have parts of the batch already.
/// @param place "the first training batch of epoch 2", for the message.
/// @throws std::runtime_error the batches differ: names the ranks of each.
void require_same_batch(Strategy& strategy, const Batch& batch, const std::string& place);

}  // namespace rtrain
