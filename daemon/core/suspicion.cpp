#include "daemon/core/suspicion.h"

#include "daemon/core/failure.h"

#include <algorithm>
#include <cmath>

namespace rtrain::core {

bool blames_node(const proto::AttemptFailed& failed) {
  const auto& error = failed.error;
  if (failed.failure_class != proto::FailureClass::kInfrastructure || error.node.empty()) return false;
  return classify({error.kind, error.message, error.log_tail}, error.status, true).of_node;
}

void Incidents::add(JobId job, std::int64_t now_ms, std::string why) {
  std::erase_if(incidents_,
                [&](const Incident& incident) { return incident.job == job || !counts(incident, now_ms); });
  incidents_.push_back({job, now_ms, std::move(why)});
}

double Incidents::suspicion(std::int64_t now_ms) const {
  int jobs = 0;
  double score = 0;
  for (const auto& incident : incidents_)
    if (counts(incident, now_ms)) {
      ++jobs;
      score += std::exp2(-static_cast<double>(now_ms - incident.at_ms) /
                         static_cast<double>(kSuspicionHalfLifeMs));
    }
  return jobs >= kSuspicionJobsMin ? score : 0;
}

std::string Incidents::reason(std::int64_t now_ms) const {
  const auto jobs =
      std::ranges::count_if(incidents_, [&](const Incident& incident) { return counts(incident, now_ms); });
  if (jobs < kSuspicionJobsMin) return "";
  const auto& newest = incidents_.back();
  return "infrastructure failures of " + std::to_string(jobs) + " jobs within the last hour, the newest " +
         std::to_string((now_ms - newest.at_ms) / 60'000) + " min ago: job " + to_string(newest.job) + ": " +
         newest.why;
}

}  // namespace rtrain::core
