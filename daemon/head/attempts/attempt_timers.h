// What is due for an attempt by time alone: its time limit, the end of its grace to yield, the next one after
// a failure.
#pragma once

#include "daemon/head/head_context.h"
#include "daemon/head/turn.h"

namespace rtrain::head {

/// @thread the head's.
class AttemptTimers {
 public:
  AttemptTimers(HeadContext& context, Turn& turn) : context_(context), turn_(turn) {}
  void on_placed(JobId id);
  void on_ended(JobId id);
  void on_queued(JobId id);
  void on_time_limit(JobId id);
  /// The head starts: what is left of each.
  void recover(const core::JobState& state);

 private:
  HeadContext& context_;
  Turn& turn_;
};

}  // namespace rtrain::head
