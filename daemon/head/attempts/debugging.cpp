#include "daemon/head/attempts/debugging.h"

#include "common/log/log.h"
#include "daemon/head/attempts/ask_ranks.h"

#include <algorithm>

namespace rtrain::head {
namespace {

/// Of the documents in the journal; by job.
constexpr const char* kDebugKind = "debug";
/// What is kept of each rank, and of how many: the journal is no place for everything that 1,000 ranks say.
constexpr std::size_t kFlightsKept = 12, kSnapshotsKept = 32;

bool has_living_ranks(const core::JobState& state) {
  return std::ranges::any_of(
      state.ranks, [](const core::RankState& rank) { return rank.phase != core::RankPhase::kEnded; });
}

/// Leaves out what few will read. Ranks that hold up others come first.
void shorten(proto::DebugDoc& doc) {
  std::set<int> of_interest;
  for (const auto& rank : doc.ranks) of_interest.insert(rank.waits_for.begin(), rank.waits_for.end());
  if (doc.culprit) of_interest.insert(*doc.culprit);
  std::size_t kept = 0;
  const auto keep = [&](proto::DebuggedRankDoc& rank) {
    if (!rank.snapshot || kept >= kSnapshotsKept) return rank.snapshot.reset();
    ++kept;
    auto& flights = rank.snapshot->flights;
    if (flights.size() > kFlightsKept)
      flights.erase(flights.begin(), flights.end() - static_cast<std::ptrdiff_t>(kFlightsKept));
  };
  for (auto& rank : doc.ranks)
    if (of_interest.contains(rank.rank)) keep(rank);
  for (auto& rank : doc.ranks)
    if (!of_interest.contains(rank.rank)) keep(rank);
}

}  // namespace

// ---- asking -------------------------------------------------------------------------------------

Result<Done> Debugging::ask_ranks(const core::JobState& state, const DebugRequest& request,
                                  DebugReason reason) {
  // unlike that of an earlier head, whose answers may still come
  const auto number = std::max(last_number_ + 1, context_.wall() * 1000);
  const auto asked = debugs_.begin(state, request, reason, number, context_.now(), context_.wall());
  for (const auto dropped : debugs_.take_dropped()) forget(dropped);
  if (!asked) return asked.error();
  last_number_ = number;
  head::ask_ranks(context_, state, *asked, 5, "rtrain debug",
                  [&](const proto::RankKey& key, const std::string& why) { debugs_.fail_rank(key, why); });
  return ok();
}

Result<proto::DebugDoc> Debugging::ask(const core::JobState& state, const DebugRequest& request,
                                       const std::string& by) {
  if (explained_.contains(state.id)) return look(state);  // they were asked just now, because they hang
  if (const auto asked = ask_ranks(state, request, DebugReason::kAsked); !asked) return asked.error();
  log::info("the ranks of a job are asked where they are", {{"job", to_string(state.id)}, {"by", by}});
  return look(state);
}

Result<proto::DebugDoc> Debugging::look(const core::JobState& state) {
  if (const auto* doc = debugs_.look(state, context_.now())) return *doc;
  return fail(
      Errc::kNotFound,
      "job " + core::name_of(state) +
          ": no diagnosis of it is known: none was asked for, and none of its attempts hung or failed "
          "while other ranks of it ran",
      core::is_terminal(state.phase) ? "rtrain logs " + core::name_of(state)
                                     : "ask for one: rtrain debug " + core::name_of(state));
}

bool Debugging::on_answer(proto::RankDebug answer) {
  const auto id = answer.key.job;
  const auto& at = context_.state(id);
  // What a rank says unasked is forgotten with its attempt: later words would stay.
  if (answer.request == 0 && (answer.key.attempt != at.attempt || !has_living_ranks(at))) return false;
  debugs_.hear(std::move(answer));
  return explained_.contains(id) && debugs_.is_done(at, context_.now());
}

// ---- attempts that hang or fail -----------------------------------------------------------------

bool Debugging::explain_hang(JobId id) {
  const auto& state = context_.state(id);
  if (!explained_.insert(id).second) return false;
  if (!ask_ranks(state, {.ranks = {}, .timeout_s = kLastAnswerS}, DebugReason::kHang)) return false;
  return !debugs_.is_done(state, context_.now());  // else nobody can be asked
}

bool Debugging::awaits_answers(JobId id) {
  return explained_.contains(id) && !debugs_.is_done(context_.state(id), context_.now());
}

void Debugging::add_explanation(JobId id, core::HangReport& report) {
  explained_.erase(id);
  const auto* doc = debugs_.look(context_.state(id), context_.now());
  const bool answered = doc && doc->reason == "hang" && std::ranges::any_of(doc->ranks, [](const auto& rank) {
                          return rank.state == "answered";
                        });
  if (!answered) return;
  keep(id);
  if (!debugs_.has_found(id)) return;
  report.message += "; " + doc->verdict;
  if (doc->culprit) report.culprit = doc->culprit;
}

void Debugging::explain_failure(JobId id) {
  const auto& state = context_.state(id);
  if (state.ranks.size() < 2 || !state.error || state.error->attempt != state.attempt.value()) return;
  if (state.error->kind == "hang" || state.error->kind == "time_limit") return;
  // A second order to stop: the answers to the first one still come.
  if (const auto* doc = debugs_.look(state, context_.now());
      doc && doc->reason == "failure" && doc->attempt == state.attempt.value())
    return;
  const bool any_runs = std::ranges::any_of(
      state.ranks, [](const core::RankState& rank) { return rank.phase == core::RankPhase::kRunning; });
  if (any_runs) (void)ask_ranks(state, {.ranks = {}, .timeout_s = kLastAnswerS}, DebugReason::kFailure);
}

void Debugging::keep(JobId id) {
  const auto* doc = debugs_.look(context_.state(id), context_.now());
  if (doc == nullptr || doc->reason == "asked") return;
  if (std::ranges::none_of(doc->ranks, [](const auto& rank) { return rank.snapshot.has_value(); })) return;
  auto kept = *doc;
  shorten(kept);
  context_.store.journal.put({kDebugKind, to_string(id), proto::Json(kept)});
  kept_.insert(id);
  debugs_.replace(std::move(kept));  // the memory of the head is no place for it all, either
}

void Debugging::on_attempt_ended(JobId id) {
  explained_.erase(id);
  const auto& state = context_.state(id);
  const auto* doc = debugs_.look(state, context_.now());
  if (doc && doc->reason == "failure" && doc->attempt == state.attempt.value()) keep(id);
  debugs_.forget_last_words(id);
}

// ---- what is kept -------------------------------------------------------------------------------

void Debugging::recover(const std::vector<store::Document>& documents) {
  for (const auto& document : documents) {
    if (document.kind != kDebugKind) continue;
    try {
      auto doc = document.value.get<proto::DebugDoc>();
      kept_.insert(doc.job);
      debugs_.recover(std::move(doc));
    } catch (const std::exception& error) {
      log::error("a diagnosis cannot be read", {{"job", document.name}, {"cause", error.what()}});
    }
  }
}

void Debugging::forget(JobId id) {
  debugs_.forget(id);
  if (kept_.erase(id) > 0) context_.store.journal.put({kDebugKind, to_string(id), {}});
}

}  // namespace rtrain::head
