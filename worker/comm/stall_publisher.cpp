#include "worker/comm/stall_publisher.h"

#include "worker/runtime/flight_recorder.h"
#include "worker/runtime/roll_call.h"

#include <exception>

namespace rtrain::comm {
namespace {

constexpr std::chrono::milliseconds kLook{250};

}  // namespace

StallPublisher::StallPublisher(const runtime::Pulse& pulse, int rank, int world_size, Connect connect)
    : pulse_(pulse), rank_(rank), world_size_(world_size), connect_(std::move(connect)), thread_([this] {
        run();
      }) {}

StallPublisher::~StallPublisher() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void StallPublisher::run() {
  using std::chrono::steady_clock;
  std::unique_ptr<runtime::KeyValueStore> store;
  auto seen = pulse_.read();
  auto since = steady_clock::now();
  bool told = false;
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, kLook, [this] { return ends_; })) {
    const auto now = pulse_.read();
    if (now.collective_seq != seen.collective_seq || now.in_collective != seen.in_collective ||
        now.last != seen.last) {
      seen = now;
      since = steady_clock::now();
      told = false;
    }
    if (told || steady_clock::now() - since < kStallAfter) continue;
    told = true;
    using Kind = runtime::Whereabouts::Kind;
    try {
      if (!store) store = connect_();
      // With its tensors, so that a peer in the same collective sees that it has others.
      auto place = runtime::flight_recorder().signature_in_order(now.collective_seq);
      if (place.empty()) place = now.collective;
      runtime::RollCall(*store, rank_, world_size_)
          .say({now.collective_seq, now.in_collective ? Kind::kWaits : Kind::kOutside, place});
    } catch (const std::exception&) {
      store.reset();  // the store is gone, or slow: the next time it may be there
    }
  }
}

}  // namespace rtrain::comm
