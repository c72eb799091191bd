// metrics.jsonl of a run, written beside the training: storage that is slow or away holds up no step.
#pragma once

#include "common/base/result.h"
#include "proto/message/message.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace rtrain::runtime {

/// A thread and a queue of `bytes_max`. When it is full the oldest line without a checkpoint goes: the newest
/// metrics count.
/// @thread the training thread; the thread inside is started with the first report, so after the fork.
class MetricsLog {
 public:
  explicit MetricsLog(std::string run_dir, std::size_t bytes_max = 16u << 20)
      : run_dir_(std::move(run_dir)), bytes_max_(bytes_max) {}
  /// Ends after what is being written; call flush() before.
  ~MetricsLog();
  MetricsLog(const MetricsLog&) = delete;
  MetricsLog& operator=(const MetricsLog&) = delete;

  /// Queues a line; never waits for the disk. @return the error of an earlier line that could not be written.
  [[nodiscard]] Result<Done> append(const proto::RankReport& report);
  /// Waits until all is written. kTimeout, or why it could not be written.
  [[nodiscard]] Result<Done> flush(std::chrono::milliseconds timeout);
  [[nodiscard]] std::int64_t dropped() const;

 private:
  void run();
  std::string run_dir_;
  struct Line {
    std::string text;
    bool may_be_dropped;
  };
  std::size_t bytes_max_, bytes_ = 0;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Line> waiting_;
  std::optional<Error> error_;
  std::int64_t dropped_ = 0;
  bool writing_ = false, stopping_ = false;
  std::thread thread_;
};

}  // namespace rtrain::runtime
