// What a process that runs for long does about its log: lines that wait for a slow reader, and lines that
// strangers cause.
#pragma once

#include "common/log/log.h"

#include <chrono>
#include <cstdint>
#include <mutex>

namespace rtrain::log {

/// To be called some times a second: writes lines that wait for the reader of stderr, and tells what a limit
/// has kept back. Never blocks.
void drain();
/// Lines that were dropped since the start because the reader of stderr did not keep up.
[[nodiscard]] std::int64_t dropped_lines();

/// Lines that anybody can cause, from outside, as often as they like: so many in a window of time, the others
/// are counted. The count is told by the first line after the window, or by drain().
/// @thread any. @lifetime static: it is never destroyed
class RateLimited {
 public:
  static constexpr int kLines = 50;
  static constexpr std::chrono::seconds kWindow{10};

  /// @param what  of the count: "requests are refused"
  RateLimited(Level level, std::string_view what);
  RateLimited(const RateLimited&) = delete;
  RateLimited& operator=(const RateLimited&) = delete;

  void write(std::string_view message, std::initializer_list<Field> fields = {}) {
    write(std::chrono::steady_clock::now(), message, fields);
  }
  void write(std::chrono::steady_clock::time_point now, std::string_view message,
             std::initializer_list<Field> fields);
  /// The count of a window that is over.
  void tell(std::chrono::steady_clock::time_point now);
  [[nodiscard]] std::int64_t suppressed() const;  ///< in this window

 private:
  friend void drain();
  static void report_all();

  mutable std::mutex mutex_;
  Level level_;
  std::string_view what_;
  std::chrono::steady_clock::time_point window_{};
  int lines_ = 0;
  std::int64_t suppressed_ = 0;
  RateLimited* next_;
};

}  // namespace rtrain::log
