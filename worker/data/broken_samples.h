// Counts samples that cannot be read, for on_error = kSkip.
#pragma once

#include <cstdint>
#include <iostream>
#include <mutex>
#include <set>
#include <string>
#include <utility>

namespace rtrain::data {

/// @thread any number
class BrokenSamples {
 public:
  explicit BrokenSamples(std::string of) : of_(std::move(of)) {}
  /// Writes the first one to stderr. @param name that tells samples apart. @param why names it, too.
  void skip(const std::string& name, const std::string& why) {
    const std::lock_guard lock(mutex_);
    names_.insert(name);
    if (!std::exchange(warned_, true))
      std::cerr
          << "rtrain: warning: " << of_ << ": " << why
          << ": left out, and so are others that cannot be read (on_error = kSkip); skipped() counts them"
          << std::endl;
  }
  [[nodiscard]] std::int64_t count() const {
    const std::lock_guard lock(mutex_);
    return static_cast<std::int64_t>(names_.size());
  }

 private:
  const std::string of_;
  mutable std::mutex mutex_;
  std::set<std::string> names_;
  bool warned_ = false;
};

}  // namespace rtrain::data
