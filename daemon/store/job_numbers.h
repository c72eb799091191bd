// Job numbers that are never given twice, not even after the database was restored from a backup.
#pragma once

#include "common/base/result.h"

#include <cstdint>
#include <string>

namespace rtrain::store {

/// A mark outside the database, in <state_dir>/next_job_id: no number from it on was ever acknowledged. It is
/// moved ahead before a number at or above it is told to anyone, in blocks that grow with the rate of
/// submits, so that a crash skips few numbers.
/// @thread one
class JobNumbers {
 public:
  /// 1 where there is no file. kIo: it cannot be read or understood.
  [[nodiscard]] static Result<std::int64_t> read(const std::string& state_dir);

  JobNumbers(std::string state_dir, std::int64_t mark, bool sync)
      : state_dir_(std::move(state_dir)), mark_(mark), sync_(sync) {}
  /// `id` is about to be told. Errors: those of disk_error.h.
  [[nodiscard]] Result<Done> reserve(std::int64_t id);
  /// The exact mark, at a clean end: the next start skips none.
  [[nodiscard]] Result<Done> settle(std::int64_t next);

 private:
  [[nodiscard]] Result<Done> write(std::int64_t mark);
  std::string state_dir_;
  std::int64_t mark_;
  bool sync_;
  std::int64_t block_ = kBlockMin;
  std::int64_t moved_ms_ = 0;  ///< steady clock
  static constexpr std::int64_t kBlockMin = 16, kBlockMax = 4096;
};

}  // namespace rtrain::store
