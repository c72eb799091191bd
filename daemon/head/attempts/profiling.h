// What users ask of the ranks of a running job, and what became of it.
#pragma once

#include "daemon/head/attempts/profiles.h"
#include "daemon/head/head_context.h"

namespace rtrain::head {

/// @thread the head's.
class Profiling {
 public:
  explicit Profiling(HeadContext& context) : context_(context) {}
  /// Asks ranks of a running job to record their next training batches. What becomes of it: look(id). The
  /// errors are those of Profiles::begin().
  [[nodiscard]] Result<proto::ProfileDoc> ask(JobId id, const ProfileRequest& request, const std::string& by);
  /// The last profile of the job that was asked for. kNotFound: this head knows none.
  [[nodiscard]] Result<proto::ProfileDoc> look(JobId id);
  void on_profile(const proto::RankProfile& answer) { profiles_.hear(answer); }

 private:
  HeadContext& context_;
  Profiles profiles_;
  std::int64_t last_number_ = 0;
};

}  // namespace rtrain::head
