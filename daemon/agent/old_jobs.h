// Folders of jobs that nobody needs any more, removed beside other work.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace rtrain::agent {

/// Removes the folders of jobs under <state_dir>/jobs that nothing was written to for kKeep: their logs have
/// served. A job with an attempt that may live keeps its folder, however long it is silent.
/// @thread the agent's
class OldJobs {
 public:
  static constexpr std::chrono::hours kKeep{7 * 24}, kLookEach{1};
  static constexpr int kFoldersAtOnce = 16;  ///< of one step: some milliseconds

  explicit OldJobs(const std::string& state_dir) : jobs_dir_(state_dir + "/jobs") {}
  /// Looks at the next folders; begins anew kLookEach after the last time. `now_ms`: a time that does not
  /// jump, or nothing is to be removed.
  void step(std::chrono::steady_clock::time_point now, std::int64_t now_ms);
  /// True when the last look has come to its end.
  [[nodiscard]] bool done() const { return left_.empty(); }

 private:
  void look_at(const std::string& folder, std::int64_t now_ms);
  std::string jobs_dir_;
  std::vector<std::string> left_;  ///< of this look
  std::chrono::steady_clock::time_point next_look_{};
  int removed_ = 0;
};

}  // namespace rtrain::agent
