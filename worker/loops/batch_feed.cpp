#include "worker/loops/batch_feed.h"

#include "worker/runtime/flight_recorder.h"

#include <utility>

namespace rtrain {

void BatchFeed::begin() {
  next_ = {};
  send_ = run_.transfer_is_plain() ? sender_to(run_.placement.device) : nullptr;
}

BatchFeed::Taken BatchFeed::take(BatchSource::Iterator& batches) {
  if (next_) return std::exchange(next_, {});
  Taken taken;
  const runtime::FlightPlace place("the next batch of its loader");
  taken.batch = batches.next();
  return taken;
}

Batch BatchFeed::to_device(Taken taken) {
  return taken.copy ? run_.arrived(*taken.copy) : run_.to_device(std::move(*taken.batch));
}

void BatchFeed::look_ahead(BatchSource::Iterator& batches) {
  if (send_ == nullptr || next_ || !batches.is_made()) return;
  next_.batch = batches.next();
  if (!next_.batch) return;
  next_.copy = send_(run_.converted(*next_.batch), run_.placement.device);
  if (next_.copy)
    next_.batch.reset();
  else
    send_ = nullptr;  // nor the others of this pass
}

}  // namespace rtrain
