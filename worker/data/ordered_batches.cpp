#include "worker/data/ordered_batches.h"

#include <algorithm>
#include <chrono>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace rtrain::data {

OrderedBatches::OrderedBatches(OrderedBatchesOptions options, Make make, std::function<void()> begin)
    : options_(options),
      make_(std::move(make)),
      begin_(std::move(begin)),
      taken_(options.first),
      next_(options.first) {
  const auto wanted = std::min<std::int64_t>(options_.threads, options_.end - options_.first);
  try {
    for (std::int64_t i = 0; i < wanted; ++i) threads_.emplace_back([this] { work(); });
  } catch (...) {
    join();
    throw;
  }
}

OrderedBatches::~OrderedBatches() { join(); }

void OrderedBatches::join() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  room_.notify_all();
  for (auto& thread : threads_) thread.join();
}

bool OrderedBatches::may_begin() const { return next_ < taken_ + options_.ahead; }

void OrderedBatches::work() {
  std::exception_ptr broken;  // a thread that could not begin fails the batch that it would have made
  try {
    begin_();
  } catch (...) {
    broken = std::current_exception();
  }
  std::unique_lock lock(mutex_);
  while (true) {
    room_.wait(lock, [this] { return stop_ || next_ >= options_.end || may_begin(); });
    if (stop_ || next_ >= options_.end) return;
    const auto number = next_++;
    line_.emplace_back();
    lock.unlock();
    Place place;
    place.failure = broken;
    if (!broken) {
      try {
        place.batch = make_(number);
        place.is_end = !place.batch;
      } catch (...) {
        place.failure = std::current_exception();
      }
    }
    lock.lock();
    const bool more = place.batch.has_value();
    line_[static_cast<std::size_t>(number - taken_)] = std::move(place);
    made_.notify_one();
    if (more) continue;
    stop_ = true;
    room_.notify_all();
    return;
  }
}

std::optional<Batch> OrderedBatches::take() {
  std::unique_lock lock(mutex_);
  if (taken_ >= options_.end) return std::nullopt;
  const auto ready = [this] { return !line_.empty() && line_.front().ready(); };
  if (options_.timeout_s <= 0) {
    made_.wait(lock, ready);
  } else if (!made_.wait_for(lock, std::chrono::duration<double>(options_.timeout_s), ready)) {
    std::ostringstream text;
    text << "DataLoader: batch " << taken_ << " was not ready after " << options_.timeout_s
         << " s (timeout_s): the data set is slow or stands still; more num_workers or a larger "
            "prefetch_factor help if it is slow";
    throw std::runtime_error(text.str());
  }
  if (line_.front().failure) std::rethrow_exception(line_.front().failure);
  if (line_.front().is_end) return std::nullopt;
  auto batch = std::move(line_.front().batch);
  line_.pop_front();
  ++taken_;
  lock.unlock();
  room_.notify_one();
  return batch;
}

bool OrderedBatches::is_ready() {
  const std::lock_guard lock(mutex_);
  return !line_.empty() && line_.front().batch.has_value();
}

}  // namespace rtrain::data
