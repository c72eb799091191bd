#include "worker/runtime/metrics_log.h"

#include "common/os/file.h"
#include "worker/runtime/block_signals.h"
#include "worker/runtime/run_record.h"

#include <algorithm>

namespace rtrain::runtime {

MetricsLog::~MetricsLog() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

Result<Done> MetricsLog::append(const proto::RankReport& report) {
  Line line{metrics_line(run_dir_, report), !report.checkpoint};
  {
    const std::lock_guard lock(mutex_);
    if (error_) return *error_;
    bytes_ += line.text.size();
    waiting_.push_back(std::move(line));
    for (; bytes_ > bytes_max_; ++dropped_) {
      const auto oldest = std::ranges::find_if(waiting_, &Line::may_be_dropped);
      if (oldest == waiting_.end()) break;
      bytes_ -= oldest->text.size();
      waiting_.erase(oldest);
    }
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  }
  changed_.notify_all();
  return ok();
}

Result<Done> MetricsLog::flush(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  const bool written =
      changed_.wait_for(lock, timeout, [this] { return error_ || (waiting_.empty() && !writing_); });
  if (error_) return *error_;
  if (!written)
    return fail(Errc::kTimeout, run_dir_ + "/metrics.jsonl was not written within " +
                                    std::to_string(timeout.count()) + " ms");
  return ok();
}

std::int64_t MetricsLog::dropped() const {
  const std::lock_guard lock(mutex_);
  return dropped_;
}

void MetricsLog::run() {
  block_signals();
  std::unique_lock lock(mutex_);
  while (!error_) {
    changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (stopping_) return;
    const auto line = std::move(waiting_.front());
    waiting_.pop_front();
    bytes_ -= line.text.size();
    writing_ = true;
    lock.unlock();
    auto made = os::make_dirs(run_dir_);
    const auto written = made ? append_metrics_line(run_dir_, line.text) : made;
    lock.lock();
    writing_ = false;
    if (!written) error_ = written.error();
    changed_.notify_all();
  }
}

}  // namespace rtrain::runtime
