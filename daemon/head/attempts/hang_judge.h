// Ranks that hang: collects where each one stands, asks what their recorders say, and says which of them is
// to blame.
#pragma once

#include "daemon/core/hang.h"
#include "daemon/head/attempts/debugging.h"
#include "daemon/head/head_context.h"
#include "daemon/head/turn.h"

namespace rtrain::head {

/// @thread the head's.
class HangJudge {
 public:
  HangJudge(HeadContext& context, Turn& turn, Debugging& debugging)
      : context_(context), turn_(turn), debugging_(debugging) {}
  /// A rank that moves on after it was diagnosed took long over a step, and does not hang.
  void on_progress(const proto::RankProgress& progress);
  /// The ranks are judged when all have been heard, or kDiagnosisWait after the first.
  void on_diagnosis(proto::RankDiagnosis diagnosis);
  /// Asks the ranks where they are first, and judges when they have answered or their time is over.
  void judge(JobId id);
  void on_ended(JobId id);

 private:
  HeadContext& context_;
  Turn& turn_;
  Debugging& debugging_;
  /// by rank, of attempts that seem to hang
  std::map<JobId, std::map<int, proto::RankDiagnosis>> diagnoses_;
};

}  // namespace rtrain::head
