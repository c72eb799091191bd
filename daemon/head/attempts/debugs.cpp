#include "daemon/head/attempts/debugs.h"

#include "daemon/head/attempts/chosen_ranks.h"

#include "common/base/clip.h"

#include <algorithm>
#include <utility>

namespace rtrain::head {
namespace {

const char* reason_text(DebugReason reason) {
  switch (reason) {
    case DebugReason::kAsked: return "asked";
    case DebugReason::kHang: return "hang";
    case DebugReason::kFailure: return "failure";
  }
  return "";
}

}  // namespace

Result<proto::DebugRanks> Debugs::begin(const core::JobState& state, const DebugRequest& request,
                                        DebugReason reason, std::int64_t number, SteadyTime now,
                                        proto::UnixMs wall) {
  const auto name = core::name_of(state);
  if (reason == DebugReason::kAsked && !core::is_live(state.phase))
    return fail(Errc::kConflict,
                "job " + name + " is " + std::string(core::to_string(state.phase)) +
                    ": only the ranks of a job that runs can be asked where they are",
                "rtrain status " + name);
  auto ranks = chosen_ranks(state, request.ranks);
  if (!ranks) return ranks.error();
  Debug debug;
  debug.number = number;
  debug.until = now + from_seconds(request.timeout_s);
  debug.doc.job = state.id;
  debug.doc.attempt = state.attempt.value();
  debug.doc.time_ms = wall;
  debug.doc.reason = reason_text(reason);
  const auto said = last_words_.find(state.id);
  std::vector<int> asked;
  for (const int rank : *ranks) {
    const auto& of = state.ranks[static_cast<std::size_t>(rank)];
    proto::DebuggedRankDoc doc;
    doc.rank = rank;
    doc.node = of.placement.node;
    if (of.phase != core::RankPhase::kEnded) asked.push_back(rank);
    if (said != last_words_.end())
      if (const auto word = said->second.find(rank);
          word != said->second.end() && word->second.key.attempt == state.attempt) {
        doc.state = "ended";
        doc.snapshot = word->second.snapshot;
        if (!asked.empty() && asked.back() == rank) asked.pop_back();  // it is about to end
      }
    debug.doc.ranks.push_back(std::move(doc));
  }
  debugs_.insert_or_assign(state.id, std::move(debug));
  forget_oldest();
  return proto::DebugRanks{state.id, state.attempt, number, std::move(asked)};
}

void Debugs::hear(proto::RankDebug answer) {
  // An agent of another version may pass on what a rank says as it is.
  proto::bound(answer.snapshot);
  answer.error = clipped(answer.error, proto::SnapshotBounds::kTextBytes);
  if (answer.request == 0) {
    last_words_[answer.key.job][answer.key.rank] = answer;
    // The ranks were asked before this one came to say so.
    const auto found = debugs_.find(answer.key.job);
    if (found == debugs_.end() || found->second.closed ||
        found->second.doc.attempt != answer.key.attempt.value())
      return;
    for (auto& rank : found->second.doc.ranks)
      if (rank.rank == answer.key.rank && !rank.snapshot) {
        rank.state = "ended";
        rank.snapshot = answer.snapshot;
      }
    return;
  }
  const auto found = debugs_.find(answer.key.job);
  if (found == debugs_.end() || found->second.number != answer.request) return;
  for (auto& rank : found->second.doc.ranks) {
    if (rank.rank != answer.key.rank || rank.state != "asked") continue;
    rank.state = answer.error.empty()                   ? "answered"
                 : answer.error == proto::kRankHasEnded ? "ended"
                                                        : "unknown";
    rank.error = answer.error;
    if (answer.error.empty()) rank.snapshot = std::move(answer.snapshot);
    return;
  }
}

void Debugs::fail_rank(const proto::RankKey& key, const std::string& why) {
  const auto found = debugs_.find(key.job);
  if (found == debugs_.end()) return;
  for (auto& rank : found->second.doc.ranks)
    if (rank.rank == key.rank && rank.state == "asked") {
      rank.state = "unknown";  // it may be healthy: nothing of it can be held against it
      rank.error = why;
    }
}

void Debugs::settle(Debug& debug, const core::JobState& state, SteadyTime now) {
  if (debug.closed) return;
  for (auto& rank : debug.doc.ranks) {
    if (rank.state != "asked") continue;
    const auto number = static_cast<std::size_t>(rank.rank);
    const bool same_attempt = state.attempt.value() == debug.doc.attempt && number < state.ranks.size();
    if (!same_attempt || state.ranks[number].phase == core::RankPhase::kEnded) {
      rank.state = "ended";
      if (rank.error.empty()) rank.error = "the rank ended before it had answered";
    } else if (now >= debug.until) {
      rank.state = "silent";
      rank.error =
          "it did not answer in time: its process is stopped, or its node or its network does not respond";
    }
  }
  if (std::ranges::any_of(debug.doc.ranks, [](const auto& rank) { return rank.state == "asked"; })) return;
  debug.closed = true;
  debug.doc.state = "done";
  judge(debug);
}

void Debugs::judge(Debug& debug) {
  auto& doc = debug.doc;
  std::vector<core::RankView> views;
  for (const auto& rank : doc.ranks) {
    using Presence = core::RankView::Presence;
    views.push_back({rank.rank,
                     rank.state == "answered" ? Presence::kAnswered
                     : rank.state == "ended"  ? Presence::kEnded
                     : rank.state == "silent" ? Presence::kSilent
                                              : Presence::kUnknown,
                     rank.snapshot ? &*rank.snapshot : nullptr});
  }
  const auto report = core::compare_flights(views);
  for (std::size_t i = 0; i < doc.ranks.size(); ++i) {
    doc.ranks[i].where = report.ranks[i].where;
    doc.ranks[i].where_s = report.ranks[i].where_s;
    doc.ranks[i].waits_for = report.ranks[i].waits_for;
  }
  doc.verdict = report.verdict;
  doc.culprit = report.culprit;
  debug.found = report.found || report.culprit;
}

bool Debugs::is_done(const core::JobState& state, SteadyTime now) {
  const auto found = debugs_.find(state.id);
  if (found == debugs_.end()) return true;
  settle(found->second, state, now);
  return found->second.closed;
}

const proto::DebugDoc* Debugs::look(const core::JobState& state, SteadyTime now) {
  const auto found = debugs_.find(state.id);
  if (found == debugs_.end()) return nullptr;
  settle(found->second, state, now);
  return &found->second.doc;
}

bool Debugs::has_found(JobId id) const {
  const auto found = debugs_.find(id);
  return found != debugs_.end() && found->second.found;
}

void Debugs::recover(proto::DebugDoc doc) {
  const auto id = doc.job;
  Debug debug;
  debug.doc = std::move(doc);
  debug.closed = true;
  if (debug.doc.state != "done") {  // its head ended before the answers came
    for (auto& rank : debug.doc.ranks)
      if (rank.state == "asked") rank.state = "unknown";
    debug.doc.state = "done";
    judge(debug);
  }
  debugs_.insert_or_assign(id, std::move(debug));
}

void Debugs::replace(proto::DebugDoc doc) {
  if (const auto found = debugs_.find(doc.job); found != debugs_.end() && found->second.closed)
    found->second.doc = std::move(doc);
}

void Debugs::forget(JobId id) {
  debugs_.erase(id);
  last_words_.erase(id);
}

/// The job that was asked first goes first.
void Debugs::forget_oldest() {
  while (debugs_.size() > kKept) {
    const auto oldest =
        std::ranges::min_element(debugs_, {}, [](const auto& one) { return one.second.doc.time_ms; });
    dropped_.push_back(oldest->first);
    debugs_.erase(oldest);
  }
}

}  // namespace rtrain::head
