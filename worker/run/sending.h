// How batches are sent to a device ahead of the step that takes them.
#pragma once

#include <rtrain/batch.h>
#include <rtrain/export.h>

#include <memory>

namespace rtrain {

/// Begins the copy of a batch. Null: this one is copied when the step takes it.
using SendBatch = std::unique_ptr<BatchCopy> (*)(const Batch& batch, torch::Device device);

/// Null: batches are not sent ahead to this device. Batch::start_copy() for a GPU.
[[nodiscard]] RTRAIN_API SendBatch sender_to(torch::Device device);
/// Puts another function in the place of what sender_to() gives, for any device, for tests; null: its own.
/// @return the one before.
RTRAIN_API SendBatch replace_sender(SendBatch send);

}  // namespace rtrain
