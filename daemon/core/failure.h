// Failure policy: whose fault a failure is, whether a retry can mend it, and how long to wait before. Pure.
#pragma once

#include "proto/event/event.h"

namespace rtrain::core {

/// What a rank's end says.
struct Cause {
  proto::FailureClass failure_class = proto::FailureClass::kUser;
  /// The attempt never ran: no rank of it was started as far as anyone knows. Counts as no failure of the
  /// job.
  bool never_started = false;
  bool of_node = false;  ///< it speaks against the node of the rank: its memory, its device, its agent
  std::string why;       ///< "", or what the class was told by: "it lost the connection to a rank that died"
};

/// By the kind of the error:
///   exception, exit, load         user; infrastructure where the message is of a connection to another rank,
///   or of broken hardware signal                        infrastructure for one that comes from outside: 9,
///   15, 1 and 2, which speak against nobody; also 6
///                                 where NCCL gave up on a peer; else user
///   invalid_hyperparameters       user, whatever the message says: the rank itself has judged
///   oom                           user: the kernel killed it for its memory
///   exec                          user: its program, folder or arguments cannot be used
///   spawn                         infrastructure: the node could not make the process
///   lost, lease, timeout, hang, unkillable, hardware    infrastructure
///   time_limit                    user
/// @param any_started  a rank of the attempt was started, as far as anyone knows
[[nodiscard]] Cause classify(const proto::RankError& error, const proto::ExitStatus& status,
                             bool any_started);

/// The last failed attempt, to recognise the same failure again.
struct PastFailure {
  proto::FailureClass failure_class = proto::FailureClass::kUser;
  std::string kind, message;  ///< of the rank, without its place
  bool before_first_step = false;
};

/// What the policy knows of the attempts before this failure.
struct FailureHistory {
  int failures = 0;  ///< that count against max_failures
  int preemptions = 0;
  int controller_failures = 0;  ///< attempts that never started
  int in_row = 0;               ///< failed attempts of any kind since the last one that reported
  std::optional<PastFailure> last;
};

/// What a verdict is about.
struct Failure {
  Cause cause;
  std::string kind, message;       ///< of the rank, without its place
  bool reported = false;           ///< the attempt reported
  bool before_first_step = false;  ///< neither a report nor a step: only of jobs that tell of their steps
};

struct Verdict {
  bool retry = false;
  bool counted = true;  ///< against max_failures; else against controller_failure_limit
  double delay_s = 0;   ///< before the next attempt
  std::string reason;   ///< a sentence: the class, the count and its limit, what follows
};

/// Ray's FailureConfig: retry while the failures before this one are below the limit of their kind, -1 for
/// ever. Beyond Ray: a user error before the first step that comes twice running in the same words ends the
/// job, and so do hyperparameters that cannot be trained.
[[nodiscard]] Verdict decide(const proto::FailureConfig& config, const FailureHistory& history,
                             const Failure& failure);

/// Whether an attempt that must give its place back gets another one: preemptions count against
/// max_preemption_failures, the other causes never.
[[nodiscard]] bool may_yield(const proto::FailureConfig& config, const FailureHistory& history,
                             proto::YieldCause cause);

/// The wait before the next attempt, after so many failed attempts in a row:
///   1: 0 s   2: 1 s   3: 2 s   4: 4 s   5: 8 s   6: 16 s   7: 32 s   8 and more: 60 s
/// An attempt that reported ends the row: its own failure is the first again.
[[nodiscard]] double back_off_s(int failed_in_row);

}  // namespace rtrain::core
