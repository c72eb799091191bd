#include "worker/data/device_lead.h"

#include <map>
#include <mutex>
#include <utility>

namespace rtrain::data {
namespace {

Lead<c10::Event>& lead_of(c10::DeviceIndex device) {
  static auto* const mutex = new std::mutex;  // outlives static destruction
  static auto* const leads = new std::map<c10::DeviceIndex, Lead<c10::Event>>;
  const std::lock_guard lock(*mutex);
  return (*leads)[device];
}

}  // namespace

void keep_lead(const c10::Stream& reads) {
  c10::Event queued(reads.device_type());
  queued.record(reads);
  lead_of(reads.device_index()).advance(std::move(queued));
}

}  // namespace rtrain::data
