// Why a job may not start, whatever room there is: one list, which the head, `queue` and `plan` ask.
#pragma once

#include "daemon/core/job.h"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace rtrain::head {

/// A job that waits, or one that `plan` asks about.
struct Candidate {
  const proto::SchedulingConfig& scheduling;
  const std::string& user;
  const core::JobState* state = nullptr;  ///< null: it was not submitted
};

/// One reason of many. Whoever keeps what the rule looks at calls Turn::touch() with the jobs for which it
/// may say something else from now on.
struct StartRule {
  std::string_view name;
  /// "" when it does not keep the job, else the sentence that its user reads.
  std::function<std::string(const Candidate&)> reason;
};

/// @thread the head's.
class StartRules {
 public:
  StartRules() = default;
  explicit StartRules(std::vector<StartRule> rules) : rules_(std::move(rules)) {}
  /// Of the first rule that keeps the job; "" when none does.
  [[nodiscard]] std::string reason(const Candidate& candidate) const;
  [[nodiscard]] const std::vector<StartRule>& all() const { return rules_; }

 private:
  std::vector<StartRule> rules_;
};

}  // namespace rtrain::head
