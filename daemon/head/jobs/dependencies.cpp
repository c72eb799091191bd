#include "daemon/head/jobs/dependencies.h"

#include <algorithm>
#include <utility>

namespace rtrain::head {
namespace {

using proto::DependencyKind;

bool holds(DependencyKind kind, const Standing& standing) {
  switch (kind) {
    case DependencyKind::kAfter: return standing.started == standing.jobs;
    case DependencyKind::kAfterAny: return standing.ended == standing.jobs;
    case DependencyKind::kAfterOk: return standing.ended == standing.jobs && standing.failed == 0;
  }
  return false;
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

const char* Dependencies::never_words(Never why) {
  switch (why) {
    case Never::kPruned: return " was pruned, nobody knows whether it succeeded (";
    case Never::kStuck: return " can never start (";
    case Never::kNo:
    case Never::kFailed: break;
  }
  return " did not succeed (";
}

/// What can never start can still be cancelled: that is an end, and no success.
Dependencies::Never Dependencies::why_never(const proto::Dependency& on, const Standing& standing) {
  if (on.kind != DependencyKind::kAfterOk) return Never::kNo;
  if (standing.failed > 0) return standing.forgotten ? Never::kPruned : Never::kFailed;
  return standing.stuck > 0 ? Never::kStuck : Never::kNo;
}

bool Dependencies::never(JobId id) const {
  const auto found = unmet_.find(id);
  return found != unmet_.end() &&
         std::ranges::any_of(found->second, [](const Unmet& unmet) { return unmet.never != Never::kNo; });
}

void Dependencies::add(JobId id, const std::vector<proto::Dependency>& on, const StandingOf& standing_of) {
  remove(id);
  std::vector<Unmet> unmet;
  for (const auto& dependency : on) {
    const auto standing = standing_of(dependency.job);
    if (holds(dependency.kind, standing)) continue;
    unmet.push_back({dependency, why_never(dependency, standing)});
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
      if (unmet.on.job != target) return false;
      const bool met = holds(unmet.on.kind, standing);
      const auto before = std::exchange(unmet.never, why_never(unmet.on, standing));
      news = news || met || unmet.never != before;
      return met;
    });
    if (!news) continue;
    changed.push_back(id);
    if (std::ranges::none_of(all, [&](const Unmet& unmet) { return unmet.on.job == target; }))
      forget(target, id);
    if (all.empty()) unmet_.erase(id);
  }
  return changed;
}

std::string Dependencies::reason(JobId id) const {
  const auto found = unmet_.find(id);
  if (found == unmet_.end()) return "";
  const auto& all = found->second;
  // A failure says more than what follows from one elsewhere.
  const auto weight = [](const Unmet& unmet) {
    return unmet.never == Never::kNo ? 0 : unmet.never == Never::kStuck ? 1 : 2;
  };
  const auto never = std::ranges::max_element(all, {}, weight);
  if (never->never != Never::kNo)
    return "can never start: job " + to_string(never->on.job) + never_words(never->never) +
           to_string(never->on) + (never->never == Never::kStuck ? ")" : ", DependencyNeverSatisfied)");
  const auto& first = all.front().on;
  return "waits for job " + to_string(first.job) + awaited_words(first.kind) + to_string(first) + ")" +
         (all.size() > 1 ? " and " + std::to_string(all.size() - 1) + " more" : "");
}

}  // namespace rtrain::head
