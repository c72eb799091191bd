#include "daemon/core/hang.h"

#include "daemon/core/rank_words.h"
#include "proto/record/places.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace rtrain::core {
namespace {

using proto::RankDiagnosis;

constexpr std::size_t kGroupsShown = 8;

bool in_report(const RankDiagnosis& word) {
  return word.in_collective && word.collective == proto::kReportAsPlace;
}

std::string collective_of(const RankDiagnosis& word) {
  return word.collective + (word.collective == proto::kReportAsPlace ? " number " : " #") +
         std::to_string(word.collective_seq);
}

std::string step_of(const RankDiagnosis& word) {
  if (word.stage.empty()) return "before the first step";
  if (word.stage == proto::kLoadStage) return word.stage;
  return "step " + std::to_string(word.step) +
         (word.epoch > 0 ? " of epoch " + std::to_string(word.epoch) : "") +
         (word.stage == "train" ? "" : " (" + word.stage + ")");
}

/// Ranks that stand alike. Ordered: those that hold up the others come first.
struct Stand {
  /// Reports and collectives are counted apart: who waits in one is neither behind nor before who waits in
  /// the other.
  enum Kind { kSilent, kOutside, kReports, kWaits } kind = kSilent;
  std::int64_t collective_seq = 0;  ///< of those that wait: who waits in an earlier one is behind
  std::string collective, step;
  friend auto operator<=>(const Stand&, const Stand&) = default;
};

Stand stand_of(const RankDiagnosis& word) {
  if (in_report(word)) return {Stand::kReports, word.collective_seq, collective_of(word), step_of(word)};
  if (word.in_collective) return {Stand::kWaits, word.collective_seq, collective_of(word), step_of(word)};
  return {Stand::kOutside, 0, word.collective_seq > 0 ? collective_of(word) : "", step_of(word)};
}

std::string words_of(const Stand& stand, const std::vector<int>& ranks, double silent_s) {
  const bool one = ranks.size() == 1;
  const std::string who = rank_words(ranks);
  if (stand.kind == Stand::kSilent) return who + (one ? " says nothing" : " say nothing");
  if (stand.step == proto::kLoadStage)
    return who + (one ? " loads its" : " load their") + " training library";
  const std::string at = stand.step.starts_with("step") ? "at " + stand.step : stand.step;
  if (stand.kind == Stand::kOutside)
    return who + (one ? " stands " : " stand ") + at + " outside any collective" +
           (stand.collective.empty() ? "" : ", the last was " + stand.collective);
  return who + (one ? " waits" : " wait") + " in " + stand.collective +
         (stand.kind == Stand::kReports ? " with a checkpoint" : "") + " for " +
         std::to_string(std::lround(silent_s)) + " s, " +
         (stand.step.starts_with("step") ? "after " + stand.step : stand.step);
}

}  // namespace

HangReport explain_hang(const std::vector<int>& ranks, const std::map<int, RankDiagnosis>& words) {
  struct Group {
    std::vector<int> ranks;
    double silent_s = 0;
  };
  std::map<Stand, Group> groups;
  for (const int rank : ranks) {
    const auto word = words.find(rank);
    auto& group = groups[word == words.end() ? Stand{} : stand_of(word->second)];
    group.ranks.push_back(rank);
    if (word != words.end()) group.silent_s = std::max(group.silent_s, word->second.silent_s);
  }
  HangReport report;
  std::size_t shown = 0;
  for (const auto& [stand, group] : groups) {
    if (++shown > kGroupsShown) {
      report.message += "; and others";
      break;
    }
    report.message += (report.message.empty() ? "" : "; ") + words_of(stand, group.ranks, group.silent_s);
  }
  if (groups.empty()) return report;
  const auto& [first, group] = *groups.begin();
  const bool mixed = first.kind == Stand::kReports &&
                     groups.rbegin()->first.kind == Stand::kWaits;  // each waits for the other
  const bool waits = first.kind == Stand::kReports || first.kind == Stand::kWaits;
  if (group.ranks.size() == 1 && (groups.size() > 1 || !waits) && !mixed) report.culprit = group.ranks[0];
  return report;
}

}  // namespace rtrain::core
