#include "daemon/head/dependencies.h"

#include <algorithm>

namespace rtrain::head {
namespace {

using proto::DependencyKind;

enum class Verdict { kHolds, kWaits, kNever };

Verdict judge(DependencyKind kind, const Standing& standing) {
  switch (kind) {
    case DependencyKind::kAfter: return standing.started == standing.jobs ? Verdict::kHolds : Verdict::kWaits;
    case DependencyKind::kAfterAny: return standing.ended == standing.jobs ? Verdict::kHolds : Verdict::kWaits;
    case DependencyKind::kAfterOk:
      if (standing.failed > 0) return Verdict::kNever;
      return standing.ended == standing.jobs ? Verdict::kHolds : Verdict::kWaits;
  }
  return Verdict::kWaits;
}

const char* awaited_words(DependencyKind kind) {
  switch (kind) {
    case DependencyKind::kAfter: return " to start (";
    case DependencyKind::kAfterAny: return " to end (";
    case DependencyKind::kAfterOk: return " to succeed (";
  }
  return "";
}

}  // namespace

void Dependencies::add(JobId id, const std::vector<proto::Dependency>& on, const StandingOf& standing_of) {
  remove(id);
  std::vector<Unmet> unmet;
  for (const auto& dependency : on) {
    const auto standing = standing_of(dependency.job);
    const auto verdict = judge(dependency.kind, standing);
    if (verdict == Verdict::kHolds) continue;
    unmet.push_back({dependency, verdict == Verdict::kNever, standing.forgotten});
    dependents_[dependency.job].insert(id);
  }
  if (!unmet.empty()) unmet_[id] = std::move(unmet);
}

void Dependencies::remove(JobId id) {
  const auto known = unmet_.extract(id);
  if (known.empty()) return;
  for (const auto& unmet : known.mapped()) forget(unmet.on.job, id);
}

void Dependencies::forget(JobId target, JobId dependent) {
  const auto found = dependents_.find(target);
  if (found == dependents_.end()) return;
  found->second.erase(dependent);
  if (found->second.empty()) dependents_.erase(found);
}

std::vector<JobId> Dependencies::reached(JobId target, const Standing& standing) {
  std::vector<JobId> changed;
  const auto found = dependents_.find(target);
  if (found == dependents_.end()) return changed;
  const std::vector<JobId> waiting(found->second.begin(), found->second.end());
  for (const auto id : waiting) {
    auto& all = unmet_.at(id);
    bool news = false;
    std::erase_if(all, [&](Unmet& unmet) {
      if (unmet.on.job != target || unmet.never) return false;
      const auto verdict = judge(unmet.on.kind, standing);
      unmet.never = verdict == Verdict::kNever;
      unmet.forgotten = standing.forgotten;
      news = news || verdict != Verdict::kWaits;
      return verdict == Verdict::kHolds;
    });
    if (!news) continue;
    changed.push_back(id);
    if (std::ranges::none_of(all, [&](const Unmet& unmet) { return unmet.on.job == target; })) forget(target, id);
    if (all.empty()) unmet_.erase(id);
  }
  return changed;
}

std::string Dependencies::reason(JobId id) const {
  const auto found = unmet_.find(id);
  if (found == unmet_.end()) return "";
  const auto& all = found->second;
  const auto never = std::ranges::find_if(all, &Unmet::never);
  if (never != all.end())
    return "can never start: job " + to_string(never->on.job) + (never->forgotten ? " was pruned, nobody knows whether it succeeded (" : " did not succeed (") + to_string(never->on) + ", DependencyNeverSatisfied)";
  const auto& first = all.front().on;
  return "waits for job " + to_string(first.job) + awaited_words(first.kind) + to_string(first) + ")" +
         (all.size() > 1 ? " and " + std::to_string(all.size() - 1) + " more" : "");
}

}  // namespace rtrain::head
