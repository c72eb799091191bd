// Batches of the shards of a stream, from each in turn.
#pragma once

#include <rtrain/data/iterable_dataset.h>

#include "worker/data/ordered_batches.h"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace rtrain::data {

struct StreamReaderOptions {
  std::int64_t batch_size = 1;
  bool drop_last = false;
  bool pin_memory = false;
  int num_workers = 1;     ///< 0: the caller reads
  std::int64_t ahead = 2;  ///< batches that each thread makes ahead
  double timeout_s = 0;
  int rank = 0, ranks = 1;
  std::uint64_t seed = 0;
  std::int64_t epoch = 0;
};

/// Each thread reads a shard of its own. Batches are taken from the threads in turn, and one that has ended
/// is passed over: the order does not depend on which thread is faster. @thread one at a time
class StreamReader {
 public:
  /// @param state null, or what save_state() gave.
  /// @param begin runs first in each thread.
  /// @throws std::invalid_argument if the state is of other ranks or threads.
  StreamReader(std::shared_ptr<const StreamDataset> set, StreamReaderOptions options,
               const nlohmann::json& state, std::function<void()> begin);

  [[nodiscard]] std::optional<Batch> next();
  [[nodiscard]] bool has_next();
  /// The place behind the latest batch of next().
  [[nodiscard]] nlohmann::json save_state() const;

 private:
  /// Behind a batch: the samples of its shard so far, and the stream's own state.
  struct Place {
    std::int64_t samples = 0;
    nlohmann::json state;
  };
  struct Worker {
    // of the thread that reads
    std::unique_ptr<BatchStream> stream;
    std::int64_t read = 0;
    // of both
    std::mutex mutex;
    std::deque<Place> places;  ///< of the batches that are made and not taken
    // of the caller
    Place given;
    bool ended = false;
    std::unique_ptr<OrderedBatches> made;  ///< last: its thread uses what is above
  };
  struct Taken {
    Batch batch;
    std::size_t worker;
    Place place;
  };

  void open(int number, const Place& at);
  [[nodiscard]] std::optional<Batch> make(Worker& worker) const;
  [[nodiscard]] std::optional<Taken> take();
  [[nodiscard]] std::vector<Place> restore(const nlohmann::json& state);

  const std::shared_ptr<const StreamDataset> set_;
  const StreamReaderOptions options_;
  std::size_t asks_ = 0;          ///< the worker that take() asks next
  std::size_t turn_ = 0;          ///< the worker behind that of the latest batch of next()
  std::optional<Taken> waiting_;  ///< taken, and not given out
  std::deque<Worker> workers_;    ///< last: threads
};

}  // namespace rtrain::data
