// How far the host may run ahead of one GPU, whatever way its batches come.
#pragma once

#include "worker/data/lead.h"

#include <c10/core/Event.h>
#include <c10/core/Stream.h>

namespace rtrain::data {

/// Before a new batch for `reads`, a stream of a GPU: waits while the GPU is Lead::kBatches batches behind.
/// One count for each GPU, for as long as the process lives. @thread any
void keep_lead(const c10::Stream& reads);

}  // namespace rtrain::data
