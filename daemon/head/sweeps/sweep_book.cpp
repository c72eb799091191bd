#include "daemon/head/sweeps/sweep_book.h"

#include "common/base/fault.h"
#include "daemon/head/sweeps/sweep_documents.h"

#include <algorithm>
#include <charconv>

namespace rtrain::head {
namespace {

/// What a sweep has used, while it goes on; then it is in its row.
constexpr const char* kUsageDocument = "sweep_usage";

}  // namespace

void SweepBook::recover(std::vector<store::SweepRecord> sweeps,
                        const std::vector<store::Document>& documents) {
  for (auto& sweep : sweeps) {
    const JobId id(sweep.state.id);
    live_.emplace(id, SweepEntry{std::move(sweep.state), sweep.submitted_ms, sweep.ended_ms, 0});
  }
  for (const auto& document : documents) {
    if (document.kind != kUsageDocument) continue;
    std::int64_t number = 0;
    std::from_chars(document.name.data(), document.name.data() + document.name.size(), number);
    const auto found = live_.find(JobId(number));
    double gpu_s = 0;
    if (found != live_.end() && document.value.contains("gpu_s") &&
        proto::json_number(document.value.at("gpu_s"), gpu_s))
      found->second.gpu_s = gpu_s;
  }
}

void SweepBook::submit(JobId id, proto::SweepSubmitted event, proto::UnixMs now) {
  live_.emplace(id, SweepEntry{core::submitted_sweep(id.value(), event), now, 0, 0});
  store_.journal.append(id, proto::StampedSweepEvent{now, std::move(event)}, proto::Json());
}

Result<Done> SweepBook::apply(JobId id, proto::SweepEvent event, proto::UnixMs now) {
  const auto found = live_.find(id);
  if (found == live_.end())
    return fail(Errc::kNotFound, "sweep " + to_string(id) + ": there is none that has not ended",
                "rtrain sweep list shows the sweeps");
  auto& entry = found->second;
  if (auto done = core::fold(entry.state, event); !done) return done;
  if (fault::on(fault::Fault::kSuggestionNotStored) && std::holds_alternative<proto::TrialSuggested>(event))
    return ok();
  const proto::StampedSweepEvent stamped{now, std::move(event)};
  if (!core::is_terminal(entry.state.phase)) {
    store_.journal.append(id, stamped, proto::Json());
    return ok();
  }
  entry.ended_ms = now;
  store_.journal.append(id, stamped, proto::Json(sweep_doc(entry)));
  if (entry.gpu_s > 0) store_.journal.put({kUsageDocument, to_string(id), nullptr});
  keep_ended({std::move(entry), store_.journal.appended()});
  live_.erase(found);
  return ok();
}

void SweepBook::charge(JobId id, double gpu_s) {
  const auto found = live_.find(id);
  if (found == live_.end() || gpu_s <= 0) return;
  found->second.gpu_s += gpu_s;
  store_.journal.put({kUsageDocument, to_string(id), {{"gpu_s", found->second.gpu_s}}});
}

const SweepEntry* SweepBook::live(JobId id) const {
  const auto found = live_.find(id);
  return found == live_.end() ? nullptr : &found->second;
}

Result<const SweepEntry*> SweepBook::find(JobId id) const {
  if (const auto* entry = live(id)) return entry;
  for (auto it = ended_.begin(); it != ended_.end(); ++it)
    if (it->entry.state.id == id.value()) {
      ended_.splice(ended_.begin(), ended_, it);
      return &ended_.front().entry;
    }
  auto stored = store_.history.ended_sweep(id);
  if (!stored) return stored.error();
  if (!*stored) return static_cast<const SweepEntry*>(nullptr);
  SweepEntry entry{std::move((*stored)->state), (*stored)->submitted_ms, (*stored)->ended_ms, 0};
  auto row = store_.history.ended_sweeps(JobId(id.value() + 1), 1);
  double gpu_hours = 0;
  if (row && !row->empty() && row->front().first == id && row->front().second.contains("gpu_hours") &&
      proto::json_number(row->front().second.at("gpu_hours"), gpu_hours))
    entry.gpu_s = gpu_hours * 3600;
  return &keep_ended({std::move(entry), {}});
}

Result<const SweepEntry*> SweepBook::submitted_with(const std::string& submission) const {
  const SweepEntry* none = nullptr;
  if (submission.empty()) return none;
  for (const auto& [id, entry] : live_)
    if (entry.state.submission == submission) return &entry;
  for (const auto& ended : ended_)
    if (ended.entry.state.submission == submission) return &ended.entry;
  const auto stored = store_.history.sweep_of_submission(submission);
  if (!stored) return stored.error();
  return *stored ? find(**stored) : none;
}

Result<std::vector<std::pair<JobId, proto::Json>>> SweepBook::ended(JobId before, int limit) const {
  auto rows = store_.history.ended_sweeps(before, limit);
  if (!rows) return rows.error();
  // One that has just ended may not be durable yet.
  for (const auto& [entry, stored] : ended_) {
    const JobId id(entry.state.id);
    const bool within = id < before && (std::cmp_less(rows->size(), limit) || id > rows->back().first);
    if (within && std::ranges::find(*rows, id, [](const auto& row) { return row.first; }) == rows->end())
      rows->emplace_back(id, sweep_doc(entry));
  }
  std::ranges::sort(*rows, std::greater<>(), [](const auto& row) { return row.first; });
  if (std::cmp_greater(rows->size(), limit)) rows->resize(static_cast<std::size_t>(limit));
  for (auto& [id, row] : *rows) {
    if (!row.empty()) continue;  // `rtraind recover` found none
    const auto made = made_rows_.find(id);
    if (made != made_rows_.end()) {
      row = made->second;
      continue;
    }
    auto entry = find(id);
    if (!entry) return entry.error();
    if (*entry != nullptr) row = made_rows_[id] = sweep_doc(**entry);
  }
  return rows;
}

void SweepBook::forget(const std::vector<JobId>& gone) {
  for (const auto id : gone) {
    made_rows_.erase(id);
    std::erase_if(ended_, [&](const Ended& ended) { return ended.entry.state.id == id.value(); });
  }
}

const SweepEntry& SweepBook::keep_ended(Ended ended) const {
  ended_.push_front(std::move(ended));
  // One that is dropped is read from the store when somebody asks, so it must be there.
  const auto durable = store_.journal.durable();
  for (auto it = ended_.end(); ended_.size() > kEndedSweepsMax && --it != ended_.begin();)
    if (durable.covers(it->stored)) it = ended_.erase(it);
  return ended_.front().entry;
}

}  // namespace rtrain::head
