#include "daemon/head/attempts/hang_judge.h"

#include "common/log/log.h"

#include <algorithm>
#include <utility>

namespace rtrain::head {
namespace {

/// How long the other ranks have to say where they stand, after the first one that says it is silent.
constexpr std::chrono::seconds kDiagnosisWait{2};

}  // namespace

void HangJudge::on_progress(const proto::RankProgress& progress) {
  const auto id = progress.key.job;
  if (const auto heard = diagnoses_.find(id); heard != diagnoses_.end()) {
    const auto diagnosis = heard->second.find(progress.key.rank);
    if (diagnosis != heard->second.end() && std::pair(progress.epoch, progress.step) >
                                                std::pair(diagnosis->second.epoch, diagnosis->second.step)) {
      diagnoses_.erase(heard);
      debugging_.on_progress(id);
      context_.deadlines.clear(id, DueFor::kHang);
    }
  }
}

void HangJudge::on_diagnosis(proto::RankDiagnosis diagnosis) {
  const auto id = diagnosis.key.job;
  const auto& state = context_.state(id);
  if (!core::is_live(state.phase)) return;
  auto& heard = diagnoses_[id];
  heard[diagnosis.key.rank] = std::move(diagnosis);
  if (debugging_.awaits_answers(id)) return;  // the last answer, or the end of its time, judges
  const auto living = std::ranges::count_if(
      state.ranks, [](const core::RankState& rank) { return rank.phase != core::RankPhase::kEnded; });
  if (std::cmp_greater_equal(heard.size(), living)) return judge(id);
  if (!context_.deadlines.at(id, DueFor::kHang))
    context_.deadlines.set(id, DueFor::kHang, context_.now() + kDiagnosisWait);
}

void HangJudge::judge(JobId id) {
  context_.deadlines.clear(id, DueFor::kHang);
  const auto& state = context_.state(id);
  if (!diagnoses_.contains(id) || !core::is_live(state.phase)) return;
  if (debugging_.explain_hang(id))
    return context_.deadlines.set(id, DueFor::kHang, context_.now() + from_seconds(Debugging::kLastAnswerS));
  const auto heard = diagnoses_.extract(id);
  std::vector<int> living;
  for (const auto& rank : state.ranks)
    if (rank.phase != core::RankPhase::kEnded) living.push_back(rank.placement.rank);
  auto report = core::explain_hang(living, heard.mapped());
  debugging_.add_explanation(id, report);
  auto failed = core::attempt_failed(state, {"hang", "the ranks hang: " + report.message, {}}, std::nullopt,
                                     context_.wall());
  if (report.culprit && *report.culprit >= 0 && std::cmp_less(*report.culprit, state.ranks.size())) {
    failed.error.rank = report.culprit;
    failed.error.node = state.ranks[static_cast<std::size_t>(*report.culprit)].placement.node;
  }
  log::warn("the ranks hang",
            {{"job", to_string(id)}, {"attempt", to_string(state.attempt)}, {"where", report.message}});
  turn_.post(id, std::move(failed));
}

void HangJudge::on_ended(JobId id) {
  context_.deadlines.clear(id, DueFor::kHang);
  diagnoses_.erase(id);
}

}  // namespace rtrain::head
