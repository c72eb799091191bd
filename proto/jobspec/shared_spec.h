// The spec of a job in memory: read-only, and one for all that hold it. The members of an array share one.
#pragma once

#include "proto/jobspec/jobspec.h"

#include <memory>

namespace rtrain::proto {

/// Copies refer to the same spec. What sets a member of an array apart is its ArrayTask, not its spec.
/// @thread the spec is never changed; copies may be held by several threads
class SharedSpec {
 public:
  /// Empty: a record whose spec is stored elsewhere. Reads as a default JobSpec.
  SharedSpec();
  SharedSpec(JobSpec spec);  // NOLINT(google-explicit-constructor): a spec is one that nobody else holds yet

  [[nodiscard]] const JobSpec& operator*() const { return held_->spec; }
  [[nodiscard]] const JobSpec* operator->() const { return &held_->spec; }
  [[nodiscard]] bool empty() const { return held_->bytes == 0; }
  /// About how much memory it takes; 0 when empty. Measured once.
  [[nodiscard]] std::int64_t bytes() const { return held_->bytes; }
  /// Equal for copies of one spec.
  [[nodiscard]] const void* identity() const { return held_.get(); }

 private:
  struct Held {
    JobSpec spec;
    std::int64_t bytes;
  };
  std::shared_ptr<const Held> held_;
};

/// About how much memory a value takes, with all that it holds.
[[nodiscard]] std::int64_t memory_bytes(const Json& value);
[[nodiscard]] std::int64_t memory_bytes(const JobSpec& spec);

}  // namespace rtrain::proto
