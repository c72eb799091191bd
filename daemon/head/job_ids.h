// Job numbers that are never given twice, not even after a restart of the head.
#pragma once

#include "common/base/id.h"
#include "common/base/result.h"

#include <string>

namespace rtrain::head {

/// Reserves numbers in blocks of 1,000 in <state_dir>/next_job_id, so that a submit costs no fsync of its own here.
/// A restart goes on after the reserved block: numbers may be skipped, never repeated.
class JobIds {
 public:
  /// kIo: the file cannot be read, written or understood.
  [[nodiscard]] static Result<JobIds> open(const std::string& state_dir);
  [[nodiscard]] Result<JobId> next();

 private:
  JobIds(std::string path, std::int64_t next) : path_(std::move(path)), next_(next), reserved_until_(next) {}
  std::string path_;
  std::int64_t next_, reserved_until_;
};

}  // namespace rtrain::head
