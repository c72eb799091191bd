// How much memory the specs of jobs take: each counts once, however many jobs share it.
#pragma once

#include "proto/jobspec/shared_spec.h"

#include <unordered_map>

namespace rtrain::head {

/// @thread one
class SpecMemory {
 public:
  void add(const proto::SharedSpec& spec) {
    if (jobs_[spec.identity()]++ == 0) bytes_ += spec.bytes();
  }
  void remove(const proto::SharedSpec& spec) {
    const auto found = jobs_.find(spec.identity());
    if (found == jobs_.end() || --found->second > 0) return;
    jobs_.erase(found);
    bytes_ -= spec.bytes();
  }
  [[nodiscard]] std::int64_t bytes() const { return bytes_; }

 private:
  std::unordered_map<const void*, std::int64_t> jobs_;
  std::int64_t bytes_ = 0;
};

}  // namespace rtrain::head
