#include "daemon/store/writer.h"

#include "common/log/log.h"
#include "daemon/store/disk_error.h"
#include "daemon/store/job_state_json.h"
#include "daemon/store/stored_specs.h"

#include <cstdlib>

#include <pthread.h>
#include <sqlite3.h>

namespace rtrain::store {
namespace {

using namespace std::chrono_literals;

/// Pages of the log, 4 KiB each, after which they are moved into the database.
constexpr int kCheckpointPages = 4000;
// when there was no space; no file descriptor
constexpr std::chrono::milliseconds kRetryAfter = 1s, kRetryFilesAfter = 50ms;

[[noreturn]] void end_of_disk(const Error& error) {
  log::error(
      "the head ends: its disk failed, and what it says from now on is worth nothing; started again it goes "
      "on from what is stored",
      {{"cause", error.message()}});
  std::_Exit(kExitIo);
}

}  // namespace

// ---- life ---------------------------------------------------------------------------------------

Writer::Writer(Start start) : start_(std::move(start)), ballast_(start_.state_dir, start_.ballast_bytes) {}

Result<std::unique_ptr<Writer>> Writer::start(Start start) {
  std::unique_ptr<Writer> writer(new Writer(std::move(start)));
  if (auto prepared = writer->prepare(); !prepared) return prepared.error();
  writer->thread_ = std::thread([writer = writer.get()] { writer->run(); });
  ::pthread_setname_np(writer->thread_.native_handle(), "journal");
  return writer;
}

Result<Done> Writer::prepare() {
  auto& db = *start_.database;
  const auto prepare = [&](Statement& statement, std::string_view sql) -> Result<Done> {
    auto prepared = db.prepare(sql);
    if (!prepared) return prepared.error();
    statement = std::move(*prepared);
    return ok();
  };
  for (auto& [statement, sql] : std::initializer_list<std::pair<Statement&, std::string_view>>{
           {insert_event_, "INSERT INTO events VALUES(?, ?, ?, ?)"},
           {insert_job_, "INSERT INTO jobs VALUES(?, 0, 'QUEUED', NULL, 0, ?, ?)"},
           {insert_spec_, "INSERT INTO specs VALUES(?, ?)"},
           {has_spec_, "SELECT 1 FROM specs WHERE id=?"},
           {update_job_, "UPDATE jobs SET ended=?, phase=?, snapshot=?, snapshot_events=? WHERE id=?"},
           {put_document_, "INSERT OR REPLACE INTO documents VALUES(?, ?, ?)"},
           {drop_document_, "DELETE FROM documents WHERE kind=? AND name=?"},
           {put_segment_, "INSERT OR REPLACE INTO segments VALUES(?, ?, ?, ?, ?, ?)"},
           {insert_sweep_, "INSERT INTO sweeps VALUES(?, 0, NULL, ?)"},
           {end_sweep_, "UPDATE sweeps SET ended=?, row=? WHERE id=?"},
           {last_event_, "SELECT ifnull(max(number), -1) FROM events WHERE job=?"}})
    if (auto prepared = prepare(statement, sql); !prepared) return prepared;
  sqlite3_wal_hook(
      db.handle(),
      [](void* pages, sqlite3*, const char*, int now) {
        *static_cast<int*>(pages) = now;
        return SQLITE_OK;
      },
      &wal_pages_);
  return pruner_.prepare(db, *start_.segments);
}

Writer::~Writer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  queued_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Writer::queue(Batch batch) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(batch));
  }
  queued_.notify_one();
}

void Writer::prune(PruneRequest request, std::function<void(Pruned)> told) {
  {
    const std::lock_guard lock(mutex_);
    prunes_.push_back({std::move(request), std::move(told)});
  }
  queued_.notify_one();
}

Mark Writer::durable() const {
  const std::lock_guard lock(mutex_);
  return durable_;
}

Health Writer::health() const {
  const std::lock_guard lock(mutex_);
  return health_;
}

void Writer::run() {
  for (;;) {
    std::vector<Batch> batches;
    bool stopping = false;
    {
      std::unique_lock lock(mutex_);
      const auto due = [&] {
        return stopping_ || (!full_ && !queue_.empty()) || !prunes_.empty() || pruner_.busy() ||
               (!full_ && pruner_.may_shrink());
      };
      auto until = Clock::time_point::max();
      if (full_ || !ballast_.there())
        until = space_looked_ + (short_of_files_ ? kRetryFilesAfter : kRetryAfter);
      if (start_.segments->dirty() && !full_) until = std::min(until, oldest_point_ + kPointsDelay);
      if (until == Clock::time_point::max())
        queued_.wait(lock, due);
      else
        queued_.wait_until(lock, until, due);
      batches.swap(queue_);
      stopping = stopping_;
    }
    take(std::move(batches));
    look_after_space();
    if (stopping) return close();
    if (!write() && !short_of_files_ && ballast_.free()) {
      log::warn("the disk is full: the ballast is freed, so that running jobs can end",
                {{"state_dir", start_.state_dir}});
      write();
    }
    look_after_space();
    prune_some();
  }
}

void Writer::close() {
  oldest_point_ = {};
  const bool written = write() && !start_.segments->dirty();
  if (!written)
    return log::error("what the last moments brought is not stored", {{"state_dir", start_.state_dir}});
  auto closed = start_.numbers.settle(start_.next_id);
  if (closed)
    closed = start_.database->execute(
        "INSERT OR REPLACE INTO meta VALUES('clean', '1'); DELETE FROM meta WHERE key='log'");
  if (closed) closed = start_.database->execute("PRAGMA wal_checkpoint(TRUNCATE)");
  if (!closed)
    log::warn("the journal could not be closed cleanly; the next start looks closer",
              {{"cause", closed.error().message()}});
}

// ---- what is queued -----------------------------------------------------------------------------

void Writer::take(std::vector<Batch> batches) {
  for (auto& batch : batches) {
    taken_.events += batch.count.events;
    taken_.points += batch.count.points;
    if (records_.empty())
      records_ = std::move(batch.records);
    else
      std::move(batch.records.begin(), batch.records.end(), std::back_inserter(records_));
    for (auto& [id, points] : batch.points) {
      auto& waiting = points_[id];
      if (waiting.count == 0) {
        waiting = std::move(points);
        continue;
      }
      waiting.last_at = waiting.records.size() + points.last_at;
      waiting.records += points.records;
      waiting.count += points.count;
    }
  }
}

bool Writer::write() {
  const auto now = Clock::now();
  if (full_) space_looked_ = now;
  if (!points_.empty() && !start_.segments->dirty()) oldest_point_ = now;
  if (!survived(write_points())) return false;
  if (!records_.empty() || start_.segments->rows_wanted())
    if (!survived(commit())) return false;
  if (start_.segments->dirty() && now >= oldest_point_ + kPointsDelay)
    if (!survived(start_.segments->sync_all())) return false;
  full_ = short_of_files_ = false;
  publish();
  return true;
}

Result<Done> Writer::write_points() {
  while (!points_.empty()) {
    auto& [id, points] = *points_.begin();
    seal(points.records);
    if (auto written = start_.segments->append(id, points.records, points.count, points.last_at); !written)
      return written;
    points_.erase(points_.begin());
  }
  return ok();
}

Result<Done> Writer::commit() {
  std::set<JobId> jobs, sweeps;
  std::int64_t newest = 0;
  for (const auto& record : records_) {
    if (const auto* of_sweep = std::get_if<Batch::SweepEvent>(&record)) {
      sweeps.insert(of_sweep->id);
      if (std::holds_alternative<proto::SweepSubmitted>(of_sweep->event.event))
        newest = std::max(newest, of_sweep->id.value());
    }
    const auto* event = std::get_if<Batch::Event>(&record);
    if (event == nullptr) continue;
    jobs.insert(event->id);
    if (std::holds_alternative<proto::JobSubmitted>(event->event.event))
      newest = std::max(newest, event->id.value());
  }
  if (auto synced = start_.segments->sync(jobs); !synced) return synced;
  if (newest > 0)
    if (auto reserved = start_.numbers.reserve(newest); !reserved) return reserved;
  auto done = start_.database->transaction([&]() -> Result<Done> {
    for (const auto& record : records_)
      if (auto stored = std::visit([&](const auto& value) { return store(value); }, record); !stored)
        return stored;
    return store_rows();
  });
  if (!done) {
    for (const auto* ids : {&jobs, &sweeps})
      for (const auto id : *ids) start_.next_event.erase(id);  // asked for again
    return done;
  }
  start_.segments->rows_stored();
  start_.next_id = std::max(start_.next_id, newest + 1);
  for (const auto& record : records_) {
    if (const auto* of_sweep = std::get_if<Batch::SweepEvent>(&record);
        of_sweep != nullptr && !of_sweep->row.is_null())
      start_.next_event.erase(of_sweep->id);
    const auto* event = std::get_if<Batch::Event>(&record);
    if (event == nullptr || event->snapshot == nullptr || !core::is_terminal(event->snapshot->phase))
      continue;
    start_.segments->forget(event->id);
    start_.next_event.erase(event->id);
  }
  records_.clear();
  written_.events = taken_.events;
  return wal_pages_ < kCheckpointPages ? ok() : checkpoint();
}

Result<std::int64_t> Writer::take_event_number(JobId id) {
  auto next = start_.next_event.find(id);
  if (next == start_.next_event.end()) {
    auto row = last_event_.bind(id.value()).step();
    if (!row) return row.error();
    next = start_.next_event.emplace(id, last_event_.integer(0) + 1).first;
    last_event_.reset();
  }
  return next->second++;
}

Result<Done> Writer::store(const Batch::SweepEvent& event) {
  const auto id = event.id.value();
  const auto number = take_event_number(event.id);
  if (!number) return number.error();
  if (const auto* submitted = std::get_if<proto::SweepSubmitted>(&event.event.event)) {
    insert_sweep_.bind(id);
    if (submitted->submission.empty())
      insert_sweep_.bind_null();
    else
      insert_sweep_.bind(submitted->submission);
    if (auto stored = insert_sweep_.run(); !stored) return stored;
  }
  const auto json = proto::dump_json(proto::to_json(event.event));
  if (auto stored = insert_event_.bind(id).bind(*number).bind(event.event.at).bind(json).run(); !stored)
    return stored;
  if (event.row.is_null()) return ok();
  const auto row = proto::dump_json(event.row);
  // 0 means that it goes on: as with jobs.
  return end_sweep_.bind(std::max<std::int64_t>(event.event.at, 1)).bind(row).bind(id).run();
}

Result<Done> Writer::store(const Batch::Event& event) {
  const auto id = event.id.value();
  const auto taken = take_event_number(event.id);
  if (!taken) return taken.error();
  const auto number = *taken;
  std::string json;
  if (const auto* submitted = std::get_if<proto::JobSubmitted>(&event.event.event)) {
    const auto spec = spec_number(event.id, submitted->array);
    if (auto stored = store_spec(spec, submitted->spec); !stored) return stored;
    insert_job_.bind(id).bind(spec);
    if (submitted->submission.empty())
      insert_job_.bind_null();
    else
      insert_job_.bind(submitted->submission);
    if (auto stored = insert_job_.run(); !stored) return stored;
    auto without_spec = *submitted;
    without_spec.spec = {};
    json = proto::dump_json(proto::to_json(proto::StampedEvent{event.event.at, std::move(without_spec)}));
  } else {
    json = proto::dump_json(proto::to_json(event.event));
  }
  if (auto stored = insert_event_.bind(id).bind(number).bind(event.event.at).bind(json).run(); !stored)
    return stored;
  if (event.snapshot == nullptr) return ok();
  const auto& state = *event.snapshot;
  const auto snapshot = proto::dump_json(to_json(state));
  // 0 means that it lives: a clock that says 1970 must not make an ended job live.
  const std::int64_t ended = core::is_terminal(state.phase) ? std::max<std::int64_t>(state.ended_ms, 1) : 0;
  return update_job_.bind(ended)
      .bind(core::to_string(state.phase))
      .bind(snapshot)
      .bind(number + 1)
      .bind(id)
      .run();
}

Result<Done> Writer::store_spec(std::int64_t number, const proto::SharedSpec& spec) {
  auto there = has_spec_.bind(number).step();
  if (!there) return there.error();
  has_spec_.reset();
  if (*there) return ok();
  const auto json = proto::dump_json(to_json(*spec));
  return insert_spec_.bind(number).bind(json).run();
}

Result<Done> Writer::store(const Document& document) {
  if (document.value.is_null()) return drop_document_.bind(document.kind).bind(document.name).run();
  const auto value = proto::dump_json(document.value);
  return put_document_.bind(document.kind).bind(document.name).bind(value).run();
}

Result<Done> Writer::store_rows() {
  for (const auto& [key, row] : start_.segments->rows()) {
    put_segment_.bind(key.first.value())
        .bind(key.second)
        .bind(row.first)
        .bind(row.points)
        .bind(row.bytes)
        .bind(row.last_at);
    if (auto stored = put_segment_.run(); !stored) return stored;
  }
  return ok();
}

Result<Done> Writer::checkpoint() {
  auto& db = *start_.database;
  int pages = 0, moved = 0;
  const int code = sqlite3_wal_checkpoint_v2(db.handle(), nullptr, SQLITE_CHECKPOINT_PASSIVE, &pages, &moved);
  if (code == SQLITE_OK || (code & 0xff) == SQLITE_BUSY) return ok();
  return db.failed(code, "checkpoint");
}

// ---- failures and news --------------------------------------------------------------------------

bool Writer::survived(const Result<Done>& done) {
  if (done) return true;
  const auto& error = done.error();
  if (error.code() != Errc::kUnavailable && error.code() != Errc::kLimit) end_of_disk(error);
  if (!full_) log::error("nothing can be stored", {{"cause", error.message()}});
  full_ = true;
  short_of_files_ = error.code() == Errc::kLimit;
  why_ = short_of_files_ ? error.message() : no_space_in(start_.state_dir);
  set_health({false, why_});
  return false;
}

void Writer::look_after_space() {
  const auto now = Clock::now();
  if (ballast_.there()) {
    if (!full_) set_health({});
    return;
  }
  if (now < space_looked_ + kRetryAfter) return;
  space_looked_ = now;
  std::string why;
  const bool filled = ballast_.fill(why);
  if (full_) return;  // the next write tells
  if (filled)
    set_health({});
  else
    set_health({false, why});
}

void Writer::prune_some() {
  Result<Done> begun = ok();
  if (!pruner_.busy()) {
    PruneCall call;
    {
      std::unique_lock lock(mutex_);
      if (prunes_.empty()) {
        lock.unlock();
        return shrink_some();
      }
      call = std::move(prunes_.front());
      prunes_.pop_front();
    }
    pruned_ = std::move(call.told);
    begun = pruner_.begin(std::move(call.request));
  }
  auto step = full_   ? Result<Pruned>(fail(Errc::kUnavailable, why_))
              : begun ? pruner_.step()
                      : Result<Pruned>(begun.error());
  if (step) {
    pruned_(std::move(*step));
    if (wal_pages_ >= kCheckpointPages) survived(checkpoint());
    return;
  }
  // A page of old history that cannot be read is no reason to end; a disk that does not write is.
  if (!full_ && start_.database->trouble() == Trouble::kIo) end_of_disk(step.error());
  Pruned problem = pruner_.stop();
  problem.problem = step.error().message();
  pruned_(std::move(problem));
}

void Writer::shrink_some() {
  if (full_ || !pruner_.may_shrink()) return;
  if (auto done = pruner_.shrink(); !done) {
    if (start_.database->trouble() == Trouble::kIo) end_of_disk(done.error());
    return log::warn("the journal's file could not be made smaller; after the next prune it is tried again",
                     {{"cause", done.error().message()}});
  }
  // The file is cut when the log is moved into it.
  if (wal_pages_ >= kCheckpointPages || !pruner_.may_shrink()) survived(checkpoint());
}

void Writer::set_health(Health health) {
  {
    const std::lock_guard lock(mutex_);
    if (health.writable == health_.writable && health.why == health_.why) return;
    if (health.writable != health_.writable) {
      if (health.writable)
        log::info("the journal takes writes again: the head takes submits",
                  {{"state_dir", start_.state_dir}});
      else
        log::warn("the head is read-only: it takes no submits, running jobs continue",
                  {{"cause", health.why}});
    }
    health_ = std::move(health);
  }
  start_.progressed();
}

void Writer::publish() {
  if (points_.empty() && !start_.segments->dirty()) written_.points = taken_.points;
  {
    const std::lock_guard lock(mutex_);
    if (durable_ == written_) return;
    durable_ = written_;
  }
  start_.progressed();
}

}  // namespace rtrain::store
