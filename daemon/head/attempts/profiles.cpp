#include "daemon/head/attempts/profiles.h"

#include "daemon/head/attempts/chosen_ranks.h"

#include <algorithm>

namespace rtrain::head {
namespace {

/// For the answer to travel, and for a trace to be written.
constexpr std::chrono::seconds kAnswerWait{30};

Error conflict(const core::JobState& state, const std::string& why, const std::string& way_out = {}) {
  return fail(Errc::kConflict, "job " + core::name_of(state) + " " + why, way_out);
}

}  // namespace

Result<proto::ProfileRanks> Profiles::begin(const core::JobState& state, const ProfileRequest& request,
                                            std::int64_t number, SteadyTime now) {
  if (state.phase != core::JobPhase::kRunning)
    return conflict(
        state, "is " + std::string(core::to_string(state.phase)) + ": only a RUNNING job can be profiled",
        "rtrain status " + core::name_of(state));
  if (!state.spec->train_func)
    return conflict(state, "runs a command: only the Trainer of a train_func job can be asked for a profile",
                    "give the Trainer of the program a profiler: TrainerOptions::profiler = \"pytorch\"");
  auto ranks = chosen_ranks(state, request.ranks);
  if (!ranks) return ranks.error();
  for (const int rank : *ranks)
    if (state.ranks[static_cast<std::size_t>(rank)].phase == core::RankPhase::kEnded)
      return fail(Errc::kConflict,
                  "rank " + std::to_string(rank) + " of job " + core::name_of(state) + " has ended");
  if (const auto last = profiles_.find(state.id); last != profiles_.end()) {
    settle(last->second, state, now);
    for (const auto& rank : last->second.doc.ranks)
      if (rank.state == "recording")
        return conflict(state, "is being profiled already (rank " + std::to_string(rank.rank) + ")",
                        "wait until that profile is written");
  }
  Profile profile;
  profile.number = number;
  profile.until = now + from_seconds(request.timeout_s) + kAnswerWait;
  profile.doc.job = state.id;
  profile.doc.attempt = state.attempt.value();
  profile.doc.steps = request.steps;
  profile.doc.timeout_s = request.timeout_s;
  for (const int rank : *ranks) {
    proto::ProfiledRankDoc doc;
    doc.rank = rank;
    doc.node = state.ranks[static_cast<std::size_t>(rank)].placement.node;
    profile.doc.ranks.push_back(std::move(doc));
  }
  profiles_.insert_or_assign(state.id, std::move(profile));
  forget_oldest();
  return proto::ProfileRanks{state.id,      state.attempt,     number,
                             request.steps, std::move(*ranks), request.timeout_s};
}

void Profiles::hear(const proto::RankProfile& answer) {
  const auto found = profiles_.find(answer.key.job);
  if (found == profiles_.end() || found->second.number != answer.request) return;
  for (auto& rank : found->second.doc.ranks) {
    if (rank.rank != answer.key.rank) continue;
    rank.steps = answer.steps;
    rank.trace = answer.trace;
    finish(rank, answer.error);
  }
}

void Profiles::fail_rank(const proto::RankKey& key, const std::string& why) {
  const auto found = profiles_.find(key.job);
  if (found == profiles_.end()) return;
  for (auto& rank : found->second.doc.ranks)
    if (rank.rank == key.rank) finish(rank, why);
}

std::optional<proto::ProfileDoc> Profiles::look(const core::JobState& state, SteadyTime now) {
  const auto found = profiles_.find(state.id);
  if (found == profiles_.end()) return std::nullopt;
  auto& profile = found->second;
  settle(profile, state, now);
  const auto is = [&](const char* text) {
    return [text](const proto::ProfiledRankDoc& rank) { return rank.state == text; };
  };
  auto& ranks = profile.doc.ranks;
  profile.doc.state = std::ranges::any_of(ranks, is("recording")) ? "recording"
                      : std::ranges::any_of(ranks, is("failed"))  ? "failed"
                                                                  : "done";
  return profile.doc;
}

/// A rank that has a trace is done, also when it has fewer steps than were asked for.
void Profiles::finish(proto::ProfiledRankDoc& rank, const std::string& error) {
  rank.state = rank.trace.empty() ? "failed" : "done";
  rank.error = error;
}

void Profiles::settle(Profile& profile, const core::JobState& state, SteadyTime now) {
  for (auto& rank : profile.doc.ranks) {
    if (rank.state != "recording") continue;
    const auto number = static_cast<std::size_t>(rank.rank);
    const bool same_attempt = state.attempt.value() == profile.doc.attempt && number < state.ranks.size();
    if (!same_attempt || state.ranks[number].phase == core::RankPhase::kEnded)
      finish(rank, "the rank ended before it had answered");
    else if (now >= profile.until)
      finish(rank, "the rank did not answer in time: it may hang, or be within a step that takes longer");
  }
}

/// The one that was asked for first; it is over, or so old that it hardly matters.
void Profiles::forget_oldest() {
  while (profiles_.size() > kKept) {
    auto oldest = profiles_.end();
    for (auto it = profiles_.begin(); it != profiles_.end(); ++it)
      if (oldest == profiles_.end() || it->second.number < oldest->second.number) oldest = it;
    profiles_.erase(oldest);
  }
}

}  // namespace rtrain::head
