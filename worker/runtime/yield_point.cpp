#include "worker/runtime/yield_point.h"

#include <algorithm>
#include <charconv>
#include <string>

namespace rtrain::runtime {
namespace {

constexpr const char* kAt = "yield/at";

std::optional<YieldPoint::Place> read_place(KeyValueStore& store, const std::string& key) {
  const auto text = store.get(key);
  YieldPoint::Place place = 0;
  if (!text || std::from_chars(text->data(), text->data() + text->size(), place).ec != std::errc{})
    return std::nullopt;
  return place;
}

}  // namespace

YieldPoint::Place YieldPoint::freeze() { return word_.fetch_or(kAsked) & ~kAsked; }

void YieldPoint::settle(Place place) {
  {
    const std::lock_guard lock(mutex_);
    stop_ = place;
  }
  settled_.notify_all();
}

bool YieldPoint::stops_at(Place place) {
  std::unique_lock lock(mutex_);
  settled_.wait(lock, [this] { return stop_.has_value(); });
  if (place < *stop_) return false;
  stopped_.store(true, std::memory_order_relaxed);
  return true;
}

YieldPoint& yield_point() {
  // never destroyed: exit() may run while another thread waits in it
  static auto* const point = new YieldPoint;
  return *point;
}

std::optional<YieldPoint::Place> agree_to_yield(KeyValueStore& store, int rank, int world_size,
                                                YieldPoint::Place mine,
                                                const std::function<bool()>& wait_more) {
  const auto await = [&](const std::string& key) {
    auto place = read_place(store, key);
    while (!place && wait_more()) place = read_place(store, key);
    return place;
  };
  store.set("yield/" + std::to_string(rank), std::to_string(mine));
  if (rank != 0) return await(kAt);
  for (int other = 1; other < world_size; ++other) {
    const auto place = await("yield/" + std::to_string(other));
    if (!place) return std::nullopt;
    mine = std::max(mine, *place);
  }
  store.set(kAt, std::to_string(mine));
  return mine;
}

}  // namespace rtrain::runtime
