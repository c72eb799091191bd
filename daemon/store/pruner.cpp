#include "daemon/store/pruner.h"

#include <algorithm>
#include <charconv>
#include <chrono>

namespace rtrain::store {
namespace {

using Clock = std::chrono::steady_clock;

/// A commit of others waits for one step and for what the disk needs.
constexpr std::chrono::milliseconds kStepMax{20};
constexpr int kJobsAtOnce = 64;

/// Jobs whose rows are gone, whose files may not be.
constexpr const char* kPruned = "SELECT ifnull((SELECT value FROM meta WHERE key='pruned'), '')";

std::vector<JobId> ids_in(std::string_view list) {
  std::vector<JobId> ids;
  for (const char *at = list.data(), *end = at + list.size(); at < end; ++at) {
    std::int64_t id = 0;
    const auto [next, ec] = std::from_chars(at, end, id);
    if (ec != std::errc{}) break;
    ids.emplace_back(id);
    at = next;
  }
  return ids;
}

}  // namespace

Result<Done> Pruner::prepare(Database& database, SegmentFiles& segments) {
  database_ = &database;
  segments_ = &segments;
  for (auto& [statement, sql] : std::initializer_list<std::pair<Statement&, std::string_view>>{
           {next_,
            "SELECT id, ended, ifnull(length(snapshot), 0), phase, ifnull(spec, 0) FROM jobs WHERE ended>0 "
            "AND ended>=?1 AND ended<=?2 AND (ended>?1 OR id>?3)"
            " ORDER BY ended, id LIMIT ?4"},
           {event_bytes_, "SELECT ifnull(sum(length(json)), 0) FROM events WHERE job=?"},
           // of an array with its first job
           {spec_bytes_, "SELECT ifnull(sum(length(json)), 0) FROM specs WHERE id=?"},
           {segment_bytes_, "SELECT ifnull(sum(bytes), 0) FROM segments WHERE job=?"},
           {drop_job_, "DELETE FROM jobs WHERE id=? AND ended>0"},
           {drop_spec_, "DELETE FROM specs WHERE id=?1 AND NOT EXISTS (SELECT 1 FROM jobs WHERE spec=?1)"},
           {drop_events_, "DELETE FROM events WHERE job=?"},
           {drop_segments_, "DELETE FROM segments WHERE job=?"},
           {next_sweep_,
            "SELECT id, ifnull(length(row), 0) FROM sweeps WHERE ended>0 AND ended<=? AND id>? ORDER BY id "
            "LIMIT 1"},
           {drop_sweep_, "DELETE FROM sweeps WHERE id=? AND ended>0"},
           {note_, "INSERT OR REPLACE INTO meta VALUES('pruned', ?)"}}) {
    auto prepared = database.prepare(sql);
    if (!prepared) return prepared.error();
    statement = std::move(*prepared);
  }
  auto left = database.text(kPruned);
  if (!left) return left.error();
  for (const auto id : ids_in(*left)) segments.remove(id);
  return ok();
}

Result<Done> Pruner::begin(PruneRequest request) {
  request_ = std::move(request);
  at_ = {};
  sweep_at_ = {};
  jobs_ = sweeps_ = bytes_ = 0;
  std::int64_t due = 0;
  if (request_.ended_before_ms) {
    auto old = database_->integer("SELECT count(*) FROM jobs WHERE ended>0 AND ended<" +
                                  std::to_string(*request_.ended_before_ms));
    if (!old) return old.error();
    due = *old;
  }
  if (request_.keep_jobs) {
    auto ended = database_->integer("SELECT count(*) FROM jobs WHERE ended>0");
    if (!ended) return ended.error();
    due = std::max(due, *ended - *request_.keep_jobs);
  }
  busy_ = true;
  left_ = last_ended_ = 0;
  sweeps_until_ = request_.ended_before_ms ? *request_.ended_before_ms - 1 : 0;
  if (due <= 0) return ok();
  auto last = database_->integer("SELECT ended FROM jobs WHERE ended>0 ORDER BY ended, id LIMIT 1 OFFSET " +
                                 std::to_string(due - 1));
  if (!last) return last.error();
  last_ended_ = *last;
  sweeps_until_ = std::max(sweeps_until_, last_ended_);
  left_ = due;
  return ok();
}

Result<std::vector<Pruner::Candidate>> Pruner::next() {
  std::vector<Candidate> found;
  next_.bind(at_.ended)
      .bind(last_ended_)
      .bind(at_.id.value())
      .bind(std::min<std::int64_t>(kJobsAtOnce, left_));
  for (;;) {
    auto row = next_.step();
    if (!row) return row.error();
    if (!*row) return found;
    found.push_back({JobId(next_.integer(0)), next_.integer(1), next_.integer(2),
                     core::phase_from_string(next_.text(3)), next_.integer(4)});
  }
}

Result<std::int64_t> Pruner::bytes_of(JobId id) {
  std::int64_t sum = 0;
  for (auto* statement : {&event_bytes_, &segment_bytes_, &spec_bytes_}) {
    auto row = statement->bind(id.value()).step();
    if (!row) return row.error();
    sum += statement->integer(0);
    statement->reset();
  }
  return sum;
}

Result<Pruned> Pruner::step() {
  const auto until = Clock::now() + kStepMax;
  auto candidates = left_ > 0 ? next() : Result<std::vector<Candidate>>(std::vector<Candidate>());
  if (!candidates) return candidates.error();
  Candidate at = at_;
  std::vector<JobId> going;
  std::set<std::int64_t> specs;
  std::map<core::JobPhase, std::int64_t> ended_as;
  std::int64_t bytes = 0, looked = 0;
  for (const auto& candidate : *candidates) {
    at = candidate;
    ++looked;
    if (request_.spared.contains(candidate.id)) continue;
    auto size = bytes_of(candidate.id);
    if (!size) return size.error();
    bytes += *size + candidate.bytes;
    going.push_back(candidate.id);
    if (candidate.spec > 0) specs.insert(candidate.spec);
    if (candidate.phase) ++ended_as[*candidate.phase];
    if (Clock::now() >= until) break;
  }
  if (!request_.dry_run && !going.empty())
    if (auto removed = remove_rows(going, specs); !removed) return removed.error();
  at_ = at;
  left_ -= looked;
  jobs_ += static_cast<std::int64_t>(going.size());
  bytes_ += bytes;
  Pruned pruned{{}, jobs_, bytes_, candidates->empty() || left_ <= 0, ""};
  if (!request_.dry_run) {
    for (const auto id : going) segments_->remove(id);
    pruned.gone = std::move(going);
    pruned.ended_as = std::move(ended_as);
  }
  if (pruned.over)
    if (auto taken = take_sweeps(pruned, until); !taken) return taken.error();
  pruned.sweeps = sweeps_;
  pruned.bytes = bytes_;
  busy_ = !pruned.over;
  may_shrink_ = may_shrink_ || !pruned.gone.empty() || !pruned.sweeps_gone.empty();
  return pruned;
}

Result<Done> Pruner::take_sweeps(Pruned& pruned, Clock::time_point until) {
  for (;;) {
    auto row = next_sweep_.bind(sweeps_until_).bind(sweep_at_.value()).step();
    if (!row) return row.error();
    if (!*row) return ok();
    if (Clock::now() >= until) {
      next_sweep_.reset();
      pruned.over = false;
      return ok();
    }
    const JobId id(next_sweep_.integer(0));
    std::int64_t bytes = next_sweep_.integer(1);
    next_sweep_.reset();
    if (auto events = event_bytes_.bind(id.value()).step(); !events) return events.error();
    bytes += event_bytes_.integer(0);
    event_bytes_.reset();
    if (!request_.dry_run) {
      auto removed = database_->transaction([&]() -> Result<Done> {
        for (auto* statement : {&drop_sweep_, &drop_events_})
          if (auto dropped = statement->bind(id.value()).run(); !dropped) return dropped;
        return ok();
      });
      if (!removed) return removed;
      pruned.sweeps_gone.push_back(id);
    }
    sweep_at_ = id;
    ++sweeps_;
    bytes_ += bytes;
  }
}

Result<Done> Pruner::shrink() {
  may_shrink_ = false;
  auto free = database_->integer("PRAGMA freelist_count");
  auto pages = database_->integer("PRAGMA page_count");
  auto mode = database_->integer("PRAGMA auto_vacuum");
  for (const auto* read : {&free, &pages, &mode})
    if (!*read) return read->error();
  const auto spare = *free - *pages / 8;
  if (spare <= 0 || *mode == 0) return ok();
  auto done =
      database_->execute("PRAGMA incremental_vacuum(" + std::to_string(std::min(spare, kPagesAtOnce)) + ")");
  may_shrink_ = done.has_value();
  return done;
}

Result<Done> Pruner::remove_rows(const std::vector<JobId>& ids, const std::set<std::int64_t>& specs) {
  std::string list;
  for (const auto id : ids) list += (list.empty() ? "" : ",") + std::to_string(id.value());
  return database_->transaction([&]() -> Result<Done> {
    for (const auto id : ids)
      for (auto* statement : {&drop_job_, &drop_events_, &drop_segments_})
        if (auto dropped = statement->bind(id.value()).run(); !dropped) return dropped;
    for (const auto spec : specs)
      if (auto dropped = drop_spec_.bind(spec).run(); !dropped) return dropped;
    return note_.bind(list).run();
  });
}

}  // namespace rtrain::store
