// Batches that several threads make and that come out in their order.
#pragma once

#include <rtrain/batch.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace rtrain::data {

struct OrderedBatchesOptions {
  std::int64_t first = 0, end = 0;  ///< numbers of the first batch, and of the one behind the last
  int threads = 1;                  ///< >= 1; no more than batches are started
  std::int64_t ahead = 1;           ///< batches made or in the making that take() has not given out, >= 1
  double timeout_s = 0;             ///< of take(); 0: none
};

/// Threads take the numbers of batches in order, one each, and put what they made into its place in line.
/// After an exception no batch behind it is begun, nor after the end. @thread take(): one at a time
class OrderedBatches {
 public:
  using Make = std::function<std::optional<Batch>(std::int64_t)>;
  /// @param make makes the batch of a number; std::nullopt: there is none, nor one behind it. Called by
  /// several
  ///        threads at the same time.
  /// @param begin runs first in each thread.
  OrderedBatches(OrderedBatchesOptions options, Make make, std::function<void()> begin);
  /// Waits for the calls of `make` that have begun.
  ~OrderedBatches();
  OrderedBatches(const OrderedBatches&) = delete;
  OrderedBatches& operator=(const OrderedBatches&) = delete;

  /// The next batch, std::nullopt behind the last. Rethrows the exception that this batch ended with, each
  /// time. @throws std::runtime_error after timeout_s.
  [[nodiscard]] std::optional<Batch> take();
  /// True if take() will give a batch at once.
  [[nodiscard]] bool is_ready();

 private:
  struct Place {
    std::optional<Batch> batch;
    std::exception_ptr failure;
    bool is_end = false;
    [[nodiscard]] bool ready() const { return batch || failure || is_end; }
  };

  void work();
  [[nodiscard]] bool may_begin() const;  ///< of batch next_; under mutex_
  void join();

  const OrderedBatchesOptions options_;
  const Make make_;
  const std::function<void()> begin_;

  std::mutex mutex_;
  std::condition_variable made_, room_;
  std::int64_t taken_, next_;  ///< the batch that take() waits for; the next that a thread begins
  std::deque<Place> line_;     ///< of the batches taken_, taken_ + 1, ..., next_ - 1
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace rtrain::data
