// The place in a fit where a running job can be profiled: between two training batches.
#pragma once

#include "worker/runtime/profile_point.h"

#include <memory>

namespace rtrain {

/// Serves the requests of runtime::ProfilePoint. Made by the Trainer; the loop only says where it is.
/// @thread the training thread.
class LiveProfiling {
 public:
  LiveProfiling() = default;
  LiveProfiling(const LiveProfiling&) = delete;
  LiveProfiling& operator=(const LiveProfiling&) = delete;
  virtual ~LiveProfiling() = default;
  /// Between two training batches, while ProfilePoint::asked(). Never throws: a profile that fails does not
  /// end a training.
  virtual void between_batches() noexcept = 0;
  /// The fit ends: what is recorded is written.
  virtual void end() noexcept = 0;
};

/// A fit, from its first batch to its last, however it ends.
class ProfiledFit {
 public:
  explicit ProfiledFit(LiveProfiling* live) : live_(live) {
    if (live_ != nullptr) runtime::profile_point().in_fit(true);
  }
  ~ProfiledFit() {
    if (live_ == nullptr) return;
    runtime::profile_point().in_fit(false);
    live_->end();
  }
  ProfiledFit(const ProfiledFit&) = delete;
  ProfiledFit& operator=(const ProfiledFit&) = delete;

 private:
  LiveProfiling* live_;
};

}  // namespace rtrain
