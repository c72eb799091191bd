#include "daemon/store/recovery.h"

#include "common/base/clip.h"
#include "common/log/log.h"
#include "common/os/file.h"
#include "daemon/store/job_state_json.h"
#include "daemon/store/schema.h"
#include "daemon/store/stored_specs.h"
#include "daemon/store/stored_sweeps.h"

#include <algorithm>
#include <filesystem>

#include <fcntl.h>
#include <unistd.h>

namespace rtrain::store {
namespace {

/// A snapshot of a large job, or an event of one, may be larger than what comes over a wire.
Result<Done> cut(const std::string& path, std::int64_t bytes) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return fail_errno("open " + path, errno);
  const bool done = ::ftruncate(fd, static_cast<off_t>(bytes)) == 0 && ::fsync(fd) == 0;
  const int error = errno;
  ::close(fd);
  return done ? ok() : Result<Done>(fail_errno("cut " + path, error));
}

class Replay {
 public:
  Replay(Database& database, const std::string& state_dir, SegmentFiles& segments)
      : db_(database), state_dir_(state_dir), segments_(segments) {}

  Result<Recovery> run() {
    auto jobs = db_.prepare("SELECT id, snapshot, snapshot_events FROM jobs WHERE ended=0 ORDER BY id");
    auto events = db_.prepare("SELECT json FROM events WHERE job=? AND number>=? ORDER BY number");
    auto rows = db_.prepare(
        "SELECT segment, first, points, bytes, last_at FROM segments WHERE job=? ORDER BY segment DESC LIMIT "
        "1");
    for (const auto* prepared : {&jobs, &events, &rows})
      if (!*prepared) return prepared->error().in("the journal");
    auto specs = StoredSpecs::open(db_);
    if (!specs) return specs.error().in("the journal");
    specs_ = std::move(*specs);
    for (;;) {
      auto row = jobs->step();
      if (!row) return row.error().in("the journal");
      if (!*row) break;
      const JobId id(jobs->integer(0));
      auto state = job(id, jobs->is_null(1) ? std::string_view() : jobs->text(1), jobs->integer(2), *events);
      if (!state && !is_of_record(state.error())) return broken(id, state.error());
      if (!state) {
        set_aside(id, "job " + to_string(id), state.error());
        continue;
      }
      if (auto done = points(*state, *rows); !done) return done.error();
      recovery_.found.jobs.push_back(std::move(*state));
    }
    if (auto done = ended(); !done) return done.error().in("the journal");
    if (auto done = sweeps(); !done) return done.error().in("the journal");
    if (auto done = documents(); !done) return done.error().in("the journal");
    auto last_end = db_.integer("SELECT ifnull(max(ended), 0) FROM jobs");
    if (!last_end) return last_end.error().in("the journal");
    recovery_.found.newest_ms = *last_end;
    for (const auto& state : recovery_.found.jobs)
      recovery_.found.newest_ms = std::max(recovery_.found.newest_ms, state.updated_ms);
    auto newest = db_.integer(
        "SELECT max(ifnull((SELECT max(id) FROM jobs), 0), ifnull((SELECT max(job) FROM events), 0), "
        "ifnull((SELECT max(id) FROM sweeps), 0))");
    if (!newest) return newest.error().in("the journal");
    recovery_.next_id = *newest + 1;
    return std::move(recovery_);
  }

 private:
  Error broken(JobId id, const Error& error) {
    return fail(
        Errc::kIo,
        "the journal " + db_.path() + ": job " + to_string(id) + " cannot be read back: " + error.message(),
        repair_hint(state_dir_));
  }

  void set_aside(JobId job, std::string what, const Error& why) {
    log::error("a record cannot be read; the head goes on without it",
               {{"record", what}, {"cause", why.message()}, {"hint", repair_hint(state_dir_)}});
    recovery_.found.set_aside.push_back({job, std::move(what), clipped(why.message(), 500)});
  }

  /// The record says what no reader takes; else the journal itself cannot be read.
  static bool is_of_record(const Error& error) {
    return error.code() == Errc::kInvalidArgument || error.code() == Errc::kProtocol ||
           error.code() == Errc::kConflict;
  }

  Result<core::JobState> job(JobId id, std::string_view snapshot, std::int64_t in_snapshot,
                             Statement& events) {
    std::optional<core::JobState> state;
    if (!snapshot.empty()) {
      auto json = proto::parse_json(snapshot, kStoredJson);
      auto read = json ? job_state_from_json(*json) : Result<core::JobState>(json.error());
      if (!read) return read.error().in("its snapshot");
      state = std::move(*read);
      if (auto done = specs_.complete(*state); !done) return done.error();
    }
    std::int64_t number = state ? in_snapshot : 0;
    events.bind(id.value()).bind(number);
    for (;; ++number) {
      auto row = events.step();
      if (!row) return row.error();
      if (!*row) break;
      if (auto done = replay(id, state, events.text(0)); !done) {
        events.reset();
        return done.error().in("event " + std::to_string(number));
      }
    }
    if (!state) return fail(Errc::kProtocol, "it has no events");
    recovery_.next_event[id] = number;
    recovery_.since_snapshot[id] = number - (snapshot.empty() ? 0 : in_snapshot);
    return std::move(*state);
  }

  Result<Done> replay(JobId id, std::optional<core::JobState>& state, std::string_view text) {
    auto json = proto::parse_json(text, kStoredJson);
    if (!json) return json.error();
    auto event = proto::event_from_json(*json);
    if (!event) return event.error();
    if (state) return core::advance(*state, *event);
    auto* submitted = std::get_if<proto::JobSubmitted>(&event->event);
    if (submitted == nullptr)
      return fail(Errc::kProtocol, "the first event is " + std::string(proto::event_name(event->event)) +
                                       " instead of job_submitted");
    if (auto done = specs_.complete(id, *submitted); !done) return done;
    state = core::submitted(id, event->at, *submitted);
    return ok();
  }

  Result<Done> points(core::JobState& state, Statement& rows) {
    if (state.attempt.value() == 0) return ok();  // it never ran
    rows.bind(state.id.value());
    auto found = rows.step();
    if (!found) return found.error().in("the journal");
    SegmentRow row;
    if (*found) {
      row = {rows.integer(0), rows.integer(1), rows.integer(2), rows.integer(3), rows.integer(4)};
      rows.reset();
    }
    auto tail = recover_tail(state_dir_, state, row);
    if (!tail) return tail.error();
    if (tail->rows.empty()) return ok();
    segments_.adopt(state.id, tail->rows, tail->damaged);
    state.reports = tail->rows.back().end();
    if (!tail->last) return ok();
    state.metrics = std::move(tail->last->metrics);
    state.updated_ms = std::max(state.updated_ms, tail->last->time_ms);
    if (tail->last->attempt == state.attempt.value())
      state.last_seq = std::max(state.last_seq, tail->last->seq);
    return ok();
  }

  Result<Done> ended() {
    auto rows = db_.prepare("SELECT phase, count(*) FROM jobs WHERE ended>0 GROUP BY phase");
    if (!rows) return rows.error();
    for (;;) {
      auto row = rows->step();
      if (!row) return row.error();
      if (!*row) return ok();
      const auto phase = core::phase_from_string(rows->text(0));
      if (!phase)
        return fail(Errc::kIo, "a job has ended as \"" + std::string(rows->text(0)) + "\"",
                    repair_hint(state_dir_));
      recovery_.found.ended[*phase] = rows->integer(1);
    }
  }

  /// One that does not replay is set aside: its jobs go on, and nothing new starts.
  Result<Done> sweeps() {
    auto rows = db_.prepare("SELECT id FROM sweeps WHERE ended=0 ORDER BY id");
    auto events = db_.prepare(kEventsOfSweep);
    if (!rows || !events) return rows ? events.error() : rows.error();
    for (;;) {
      auto row = rows->step();
      if (!row) return row.error();
      if (!*row) return ok();
      const JobId id(rows->integer(0));
      auto found = replay_stored_sweep(*events, id);
      if (!found.record || !found.problem.empty())
        set_aside(id, "sweep " + to_string(id), fail(Errc::kProtocol, found.problem));
      else
        recovery_.found.sweeps.push_back(std::move(*found.record));
    }
  }

  Result<Done> documents() {
    auto rows = db_.prepare("SELECT kind, name, value FROM documents ORDER BY kind, name");
    if (!rows) return rows.error();
    for (;;) {
      auto row = rows->step();
      if (!row) return row.error();
      if (!*row) return ok();
      auto value = proto::parse_json(rows->text(2), kStoredJson);
      if (!value) {
        set_aside(JobId(0), "document " + std::string(rows->text(0)) + " " + std::string(rows->text(1)),
                  value.error());
        continue;
      }
      recovery_.found.documents.push_back(
          {std::string(rows->text(0)), std::string(rows->text(1)), std::move(*value)});
    }
  }

  Database& db_;
  const std::string& state_dir_;
  SegmentFiles& segments_;
  StoredSpecs specs_;
  Recovery recovery_;
};

}  // namespace

Result<Recovery> recover_journal(Database& database, const std::string& state_dir, SegmentFiles& segments) {
  return Replay(database, state_dir, segments).run();
}

Result<MetricTail> recover_tail(const std::string& state_dir, const core::JobState& state, SegmentRow row) {
  MetricTail tail;
  if (row.segment >= 0) tail.rows.push_back(row);
  const auto take = [&](const RecordView& record, const std::string& path) -> Result<Done> {
    auto point = to_point(record, path);
    if (!point) return point.error();
    tail.last = std::move(*point);
    return ok();
  };
  // The last point that the index knows, in case nothing lies behind it.
  if (row.segment >= 0 && row.last_at > 0) {
    const auto path = segment_path(state_dir, state.id, row.segment);
    auto text = read_range(path, row.last_at, row.bytes);
    std::string problem = text ? "" : text.error().message();
    if (text) {
      SegmentScan scan(*text, row.last_at);
      const auto record = scan.next();
      auto taken = record ? take(*record, path) : Result<Done>(fail(Errc::kIo, scan.problem()));
      if (!taken) problem = path + ", offset " + std::to_string(row.last_at) + ": " + taken.error().message();
    }
    if (!problem.empty()) {
      log::error("stored metrics cannot be read; the job goes on",
                 {{"job", to_string(state.id)}, {"cause", problem}, {"hint", repair_hint(state_dir)}});
      tail.damaged = true;
      return tail;
    }
  }
  for (std::int64_t segment = std::max<std::int64_t>(row.segment, 0);; ++segment) {
    const auto path = segment_path(state_dir, state.id, segment);
    std::error_code ec;
    if (segment != row.segment && !std::filesystem::exists(path, ec)) return tail;
    const bool known = segment == row.segment;
    const std::int64_t from = known ? row.bytes : kSegmentHeaderBytes;
    auto text = read_range(path, known ? from : 0, -1);
    if (!text && known) {
      log::error("stored metrics cannot be read; the job goes on",
                 {{"job", to_string(state.id)}, {"cause", text.error().message()}});
      tail.damaged = true;
      return tail;
    }
    if (!text) return text.error();
    if (!known) {
      const auto first = tail.rows.empty() ? 0 : tail.rows.back().end();
      if (!text->starts_with(segment_header(state.id, first))) {
        log::warn("a metric file that was just begun is removed",
                  {{"job", to_string(state.id)}, {"file", path}});
        std::filesystem::remove(path, ec);
        return tail;
      }
      tail.rows.push_back({segment, first, 0, kSegmentHeaderBytes, 0});
      text->erase(0, static_cast<std::size_t>(kSegmentHeaderBytes));
    }
    auto& found = tail.rows.back();
    SegmentScan scan(*text, from);
    bool unknown_event = false;
    while (const auto record = scan.next()) {
      unknown_event =
          record->has_event && (record->attempt > state.attempt.value() ||
                                (record->attempt == state.attempt.value() && record->seq > state.last_seq));
      if (unknown_event) break;
      if (auto taken = take(*record, path); !taken) {
        log::error("stored metrics cannot be read; the job goes on", {{"job", to_string(state.id)},
                                                                      {"cause", taken.error().message()},
                                                                      {"hint", repair_hint(state_dir)}});
        tail.damaged = true;
        return tail;
      }
      ++found.points;
      found.last_at = record->at;
      found.bytes = record->at + record->bytes;
    }
    const auto end = from + static_cast<std::int64_t>(text->size());
    if (found.bytes == end) continue;
    const auto why =
        unknown_event ? "a report whose checkpoint was not stored; its agent sends it again" : scan.problem();
    log::warn("the end of a metric file is cut off", {{"job", to_string(state.id)},
                                                      {"file", path},
                                                      {"from", std::to_string(found.bytes)},
                                                      {"to", std::to_string(end)},
                                                      {"cause", why}});
    if (auto done = cut(path, found.bytes); !done) return done.error();
    return tail;
  }
}

}  // namespace rtrain::store
