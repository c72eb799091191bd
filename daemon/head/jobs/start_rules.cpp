#include "daemon/head/jobs/start_rules.h"

namespace rtrain::head {

std::string StartRules::reason(const Candidate& candidate) const {
  for (const auto& rule : rules_)
    if (auto why = rule.reason(candidate); !why.empty()) return why;
  return "";
}

}  // namespace rtrain::head
