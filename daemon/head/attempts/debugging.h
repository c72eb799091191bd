// Asks the ranks of a job where they are: because a user wants to know, or because their attempt hangs or
// fails and they are about to be stopped.
#pragma once

#include "daemon/core/hang.h"
#include "daemon/head/attempts/debugs.h"
#include "daemon/head/head_context.h"

#include <set>

namespace rtrain::head {

/// @thread the head's.
class Debugging {
 public:
  /// How long the ranks of an attempt that hangs or fails have for their answers.
  static constexpr double kLastAnswerS = 5;

  explicit Debugging(HeadContext& context) : context_(context) {}

  /// Asks ranks of a running job. What becomes of it: look(). The errors are those of Debugs::begin().
  [[nodiscard]] Result<proto::DebugDoc> ask(const core::JobState& state, const DebugRequest& request,
                                            const std::string& by);
  /// The last diagnosis of the job: as it was asked for, or kept of an attempt that hung or failed.
  /// kNotFound: this head knows none.
  [[nodiscard]] Result<proto::DebugDoc> look(const core::JobState& state);
  /// @return true: the job hangs, and this was the last answer that its verdict waited for.
  [[nodiscard]] bool on_answer(proto::RankDebug answer);

  /// The ranks of a hang were asked, and answers are still to come.
  [[nodiscard]] bool awaits_answers(JobId id);
  /// Before a verdict of a hang, once. @return the ranks were asked, and the verdict waits for them.
  [[nodiscard]] bool explain_hang(JobId id);
  /// What the ranks' recorders say of a hang, after what the ranks said of themselves.
  void add_explanation(JobId id, core::HangReport& report);
  /// The ranks do not hang after all.
  void on_progress(JobId id) { explained_.erase(id); }
  /// The ranks of an attempt that failed are about to be stopped: the agents let them answer before.
  void explain_failure(JobId id);
  void on_attempt_ended(JobId id);

  void recover(const std::vector<store::Document>& documents);
  void forget(JobId id);

 private:
  [[nodiscard]] Result<Done> ask_ranks(const core::JobState& state, const DebugRequest& request,
                                       DebugReason reason);
  void keep(JobId id);

  HeadContext& context_;
  Debugs debugs_;
  std::int64_t last_number_ = 0;
  std::set<JobId> explained_;  ///< they hang, and their ranks were asked where they are
  std::set<JobId> kept_;       ///< whose diagnoses are in the journal
};

}  // namespace rtrain::head
