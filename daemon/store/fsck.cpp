#include "daemon/store/fsck.h"

#include "daemon/store/job_state_json.h"
#include "daemon/store/schema.h"
#include "daemon/store/segment.h"
#include "daemon/store/state_lock.h"
#include "daemon/store/stored_sweeps.h"
#include "proto/event/event.h"

#include <filesystem>

namespace rtrain::store {
namespace {

class Fsck {
 public:
  /// @param version  of the schema: an older one has no table of sweeps
  Fsck(Database& database, const std::string& state_dir, int version)
      : db_(database), state_dir_(state_dir), has_sweeps_(version >= 4) {}

  FsckReport run() {
    if (auto done = integrity(); !done) report(done.error().message());
    if (auto done = jobs(); !done) report(done.error().message());
    if (auto done = sweeps(); !done) report(done.error().message());
    if (auto done = documents(); !done) report(done.error().message());
    if (auto done = metrics(); !done) report(done.error().message());
    return std::move(report_);
  }

 private:
  void report(std::string line) { report_.problems.push_back(std::move(line)); }

  Result<Done> integrity() {
    auto check = db_.prepare("PRAGMA integrity_check(20)");
    if (!check) return check.error();
    for (;;) {
      auto row = check->step();
      if (!row) return row.error();
      if (!*row) return ok();
      if (check->text(0) != "ok") report(db_.path() + ": " + std::string(check->text(0)));
    }
  }

  Result<Done> jobs() {
    auto jobs = db_.prepare("SELECT id, phase, ended, snapshot, snapshot_events FROM jobs ORDER BY id");
    auto events = db_.prepare(kEventsOfJob);
    auto specs = StoredSpecs::open(db_);
    if (!jobs || !events) return jobs ? events.error() : jobs.error();
    if (!specs) return specs.error();
    for (;;) {
      auto row = jobs->step();
      if (!row) return row.error();
      if (!*row) break;
      const JobId id(jobs->integer(0));
      const auto replayed = replay_job(*events, *specs, id);
      report_.events += replayed.events;
      const std::string place = db_.path() + ": job " + to_string(id);
      // Recover has said what is lost; the snapshot stands for it.
      const bool history_lost =
          jobs->integer(2) != 0 && jobs->integer(4) == kHistoryLost && !jobs->is_null(3);
      if (!replayed.problem.empty())
        report(place + ": event " + std::to_string(replayed.events) + ": " + replayed.problem);
      else if (!replayed.state && !history_lost)
        report(place + ": it has no events");
      else if (!history_lost && core::is_terminal(replayed.state->phase) != (jobs->integer(2) != 0))
        report(place + ": its events lead to " + std::string(core::to_string(replayed.state->phase)) +
               ", and it is stored as " + std::string(jobs->text(1)));
      else if (const auto wrong = snapshot_problem(*jobs); !wrong.empty())
        report(place + ": its snapshot: " + wrong);
      else
        ++report_.jobs;
    }
    auto strays =
        db_.integer("SELECT count(DISTINCT job) FROM events WHERE job NOT IN (SELECT id FROM jobs)" +
                    std::string(has_sweeps_ ? " AND job NOT IN (SELECT id FROM sweeps)" : ""));
    if (!strays) return strays.error();
    if (*strays > 0)
      report(db_.path() + ": events of " + std::to_string(*strays) + " jobs that are not there");
    return ok();
  }

  static std::string snapshot_problem(Statement& row) {
    if (row.is_null(3)) return {};
    const auto json = proto::parse_json(row.text(3), kStoredJson);
    if (!json) return json.error().message();
    const auto state = job_state_from_json(*json);
    return state ? "" : state.error().message();
  }

  Result<Done> sweeps() {
    if (!has_sweeps_) return ok();
    auto rows = db_.prepare("SELECT id, ended FROM sweeps ORDER BY id");
    auto events = db_.prepare(kEventsOfSweep);
    if (!rows || !events) return rows ? events.error() : rows.error();
    for (;;) {
      auto row = rows->step();
      if (!row) return row.error();
      if (!*row) return ok();
      const JobId id(rows->integer(0));
      auto found = replay_stored_sweep(*events, id, SearchAgain::kYes);
      const std::string place = db_.path() + ": sweep " + to_string(id);
      report_.events += static_cast<std::int64_t>(found.events.size());
      if (!found.problem.empty())
        report(place + ": " + found.problem);
      else if (core::is_terminal(found.record->state.phase) != (rows->integer(1) != 0))
        report(place + ": its events lead to " + std::string(core::to_string(found.record->state.phase)) +
               ", and it is stored as one that " + (rows->integer(1) != 0 ? "ended" : "goes on"));
      else
        ++report_.sweeps;
      if (auto note = other_suggestions(found); !note.empty()) report_.notes.push_back(place + ": " + note);
    }
  }

  Result<Done> documents() {
    auto rows = db_.prepare("SELECT kind, name, value FROM documents ORDER BY kind, name");
    if (!rows) return rows.error();
    for (;;) {
      auto row = rows->step();
      if (!row) return row.error();
      if (!*row) return ok();
      if (auto value = proto::parse_json(rows->text(2), kStoredJson); !value)
        report(db_.path() + ": document " + std::string(rows->text(0)) + " " + std::string(rows->text(1)) +
               ": " + value.error().message());
    }
  }

  Result<Done> metrics() {
    auto rows = db_.prepare("SELECT job, segment, first, points, bytes FROM segments ORDER BY job, segment");
    if (!rows) return rows.error();
    JobId job;
    std::int64_t segment = 0, next = 0;
    for (;;) {
      auto row = rows->step();
      if (!row) return row.error();
      if (!*row) return ok();
      if (JobId(rows->integer(0)) != job) job = JobId(rows->integer(0)), segment = 0, next = 0;
      const SegmentRow indexed{rows->integer(1), rows->integer(2), rows->integer(3), rows->integer(4), 0};
      const auto path = segment_path(state_dir_, job, indexed.segment);
      if (indexed.segment != segment || indexed.first != next)
        report(path + ": begins at point " + std::to_string(indexed.first) + " instead of " +
               std::to_string(next));
      file(job, indexed, path);
      segment = indexed.segment + 1;
      next = indexed.end();
    }
  }

  void file(JobId job, const SegmentRow& indexed, const std::string& path) {
    auto text = read_range(path, 0, indexed.bytes);
    if (!text) return report(text.error().message());
    if (!text->starts_with(segment_header(job, indexed.first)))
      return report(path + ", offset 0: the header is not that of job " + to_string(job));
    SegmentScan scan(std::string_view(*text).substr(kSegmentHeaderBytes), kSegmentHeaderBytes);
    std::int64_t points = 0;
    while (const auto record = scan.next()) {
      if (auto point = to_point(*record, path); !point) report(point.error().message());
      ++points;
    }
    report_.points += points;
    if (!scan.problem().empty())
      report(path + ", offset " + std::to_string(scan.offset()) + ": " + scan.problem());
    else if (points != indexed.points)
      report(path + ": has " + std::to_string(points) + " points instead of " +
             std::to_string(indexed.points));
  }

  Database& db_;
  const std::string& state_dir_;
  bool has_sweeps_;
  FsckReport report_;
};

}  // namespace

ReplayedJob replay_job(Statement& events, StoredSpecs& specs, JobId id,
                       const std::function<void(std::int64_t at, std::string_view json)>& each) {
  ReplayedJob job;
  const auto one = [&]() -> Result<Done> {
    if (events.integer(0) != job.events) return fail(Errc::kIo, "it is missing");
    auto json = proto::parse_json(events.text(2), kStoredJson);
    if (!json) return json.error();
    auto event = proto::event_from_json(*json);
    if (!event) return event.error();
    if (job.state) return core::advance(*job.state, *event);
    auto* submitted = std::get_if<proto::JobSubmitted>(&event->event);
    if (submitted == nullptr) return fail(Errc::kIo, "the first event is no job_submitted");
    if (auto done = specs.complete(id, *submitted); !done) return done;
    job.state = core::submitted(id, event->at, *submitted);
    return ok();
  };
  events.bind(id.value());
  for (;;) {
    auto row = events.step();
    if (!row) job.problem = row.error().message();
    if (!row || !*row) return job;
    if (auto done = one(); !done) {
      events.reset();
      job.problem = done.error().message();
      return job;
    }
    if (each) each(events.integer(1), events.text(2));
    ++job.events;
  }
}

std::string check_database(const std::string& path, const std::string& state_dir) {
  auto database = Database::open(path, Database::Mode::kReadWrite);
  if (!database) return database.error().message();
  if (auto version = check_version(**database, state_dir); !version) return version.error().message();
  auto verdict = (*database)->text("PRAGMA integrity_check(1)");
  if (!verdict) return verdict.error().message();
  return *verdict == "ok" ? "" : *verdict;
}

Result<FsckReport> fsck(const std::string& state_dir) {
  std::error_code ec;
  if (!std::filesystem::exists(journal_path(state_dir), ec))
    return fail(Errc::kNotFound, journal_path(state_dir) + ": there is no journal");
  auto lock = StateLock::take(state_dir);
  if (!lock) return fail(lock.error().code(), lock.error().message(), "stop the head first");
  auto database = Database::open(journal_path(state_dir), Database::Mode::kReadOnly);
  if (!database) return FsckReport{.problems = {database.error().message()}};
  auto version = check_version(**database, state_dir);
  if (!version) return FsckReport{.problems = {version.error().message()}};
  return Fsck(**database, state_dir, *version).run();
}

}  // namespace rtrain::store
