// One program a state folder: two heads would give the same job ids.
#pragma once

#include "common/base/result.h"

#include <string>

namespace rtrain::store {

/// Held until it goes away, or the process.
class StateLock {
 public:
  /// kConflict: a head runs on that folder, or fsck or recover.
  [[nodiscard]] static Result<StateLock> take(const std::string& state_dir);
  StateLock(StateLock&& other) noexcept;
  StateLock& operator=(StateLock&&) = delete;
  ~StateLock();

 private:
  explicit StateLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace rtrain::store
