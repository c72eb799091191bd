#include "daemon/store/recover.h"

#include "common/os/file.h"
#include "daemon/store/backup.h"
#include "daemon/store/fsck.h"
#include "daemon/store/job_numbers.h"
#include "daemon/store/job_state_json.h"
#include "daemon/store/recover_source.h"
#include "daemon/store/recovery.h"
#include "daemon/store/salvage.h"
#include "daemon/store/schema.h"
#include "daemon/store/state_lock.h"
#include "daemon/store/stored_specs.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

namespace rtrain::store {
namespace fs = std::filesystem;
namespace {

/// When nobody knows how far the numbers went: so far beyond those that are known.
constexpr std::int64_t kNumbersSkipped = 100'000;
constexpr const char* kEndings[] = {"", "-wal", "-shm"};

/// "3-5, 9"
std::string ranges(const std::vector<JobId>& ids) {
  std::string text;
  for (std::size_t begin = 0, end = 0; begin < ids.size(); begin = end) {
    for (end = begin + 1; end < ids.size() && ids[end].value() == ids[end - 1].value() + 1; ++end) {
    }
    text += (text.empty() ? "" : ", ") + to_string(ids[begin]) +
            (end > begin + 1 ? "-" + to_string(ids[end - 1]) : "");
  }
  return text;
}

class Recover {
 public:
  Recover(const std::string& state_dir, const std::string& from) : state_dir_(state_dir), from_(from) {}

  Result<RecoverReport> run() {
    if (auto begun = undo(); !begun) return begun.error();
    auto done = make();
    if (done) done = put_in_place();
    if (done) return std::move(report_);
    close();
    if (auto undone = undo(); !undone) return undone.error().in(done.error().message());
    return done.error();
  }

 private:
  [[nodiscard]] std::string path() const { return journal_path(state_dir_); }
  /// As long as this folder is there no head starts. The new journal is made in a folder of its own in it,
  /// and the old one is moved into it; at the end the folder is renamed to what is kept. A run that dies
  /// before has done nothing: the next one moves the old journal back.
  [[nodiscard]] std::string work_dir() const { return recovering_folder(state_dir_); }
  [[nodiscard]] std::string new_dir() const { return work_dir() + "/new"; }
  [[nodiscard]] std::string salvage_dir() const { return work_dir() + "/salvaged"; }
  void lost(std::string line) { report_.lost.push_back(std::move(line)); }

  Result<Done> undo() {
    std::error_code ec;
    if (!fs::exists(work_dir(), ec)) return ok();
    for (const char* ending : kEndings) {
      const auto old = journal_path(work_dir()) + ending;
      if (!fs::exists(old, ec)) continue;
      fs::rename(old, path() + ending, ec);
      if (ec) return fail(Errc::kIo, "move " + old + " back: " + ec.message());
    }
    fs::remove_all(work_dir(), ec);
    if (ec) return fail(Errc::kIo, "remove " + work_dir() + ": " + ec.message());
    return os::fsync_path(state_dir_);
  }

  void close() {
    db_.reset();
    old_.reset();
    salvaged_.reset();
    backup_.reset();
  }

  Result<Done> make() {
    if (auto opened = open_sources(); !opened) return opened;
    if (auto begun = begin(); !begun) return begun;
    // One transaction: it is forced to the disk once, at its end.
    auto done = db_->transaction([this]() -> Result<Done> {
      if (auto copied = copy_jobs(); !copied) return copied;
      if (auto copied = copy_documents(); !copied) return copied;
      return db_->execute(
          "INSERT OR REPLACE INTO meta VALUES('clean', '0'); DELETE FROM meta WHERE key='log'");
    });
    return done ? db_->execute("PRAGMA wal_checkpoint(TRUNCATE)")
                : Result<Done>(done.error().in("writing the new journal"));
  }

  Result<Done> open_sources() {
    std::error_code ec;
    if (!from_.empty()) {
      if (auto wrong = check_database(from_, state_dir_); !wrong.empty())
        return fail(Errc::kIo, from_ + " is no sound backup: " + wrong);
      report_.backup = from_;
    } else {
      const bool has_log = fs::exists(path() + "-wal", ec);
      if (fs::exists(path(), ec)) old_ = RecoverSource::open(path());
      if (old_ && old_->lacks_log(has_log)) lost(path() + "-wal is gone, and the events that were in it");
      for (const auto& candidate : backups(state_dir_)) {
        if (!check_database(candidate, state_dir_).empty()) continue;
        report_.backup = candidate;
        break;
      }
    }
    if (!report_.backup.empty()) backup_ = RecoverSource::open(report_.backup);
    if (!old_)
      if (auto done = salvage_pages(); !done) return done;
    if (!old_ && !salvaged_ && !backup_)
      return fail(
          Errc::kNotFound,
          path() + " cannot be read at all, and there is no sound backup in " + backup_folder(state_dir_),
          "to begin anew without jobs, move journal.db away; next_job_id keeps numbers from being given "
          "twice");
    if (!old_ && salvaged_)
      lost(path() +
           " cannot be opened: its pages were read one by one, and what came last in a job or was in a "
           "broken page may be missing");
    else if (!old_ && from_.empty())
      lost(path() + " cannot be read at all: everything since the backup");
    return ok();
  }

  /// Once, when the old database is found to be broken. Without a page that holds anything there is no such
  /// source.
  Result<Done> salvage_pages() {
    if (std::exchange(salvage_tried_, true) || !from_.empty()) return ok();
    auto rows = salvage(path(), salvage_dir(), report_.backup);
    if (!rows && rows.error().code() == Errc::kNotFound) return ok();
    if (!rows) return rows.error().in("reading the pages of " + path());
    if (*rows > 0) salvaged_ = RecoverSource::open(journal_path(salvage_dir()));
    return ok();
  }

  Result<Done> begin() {
    if (auto made = os::make_dirs(new_dir(), 0700); !made) return made;
    auto opened = open_journal(new_dir());
    if (!opened) return opened.error();
    db_ = std::move(*opened);
    return ok();
  }

  Result<Done> copy_jobs() {
    auto ids = known_ids();
    if (!ids) return ids.error();
    auto insert_event = db_->prepare("INSERT INTO events VALUES(?, ?, ?, ?)");
    auto insert_job = db_->prepare("INSERT INTO jobs VALUES(?, ?, ?, ?, ?, ?, ?)");
    auto insert_spec = db_->prepare("INSERT INTO specs VALUES(?, ?)");
    auto insert_segment = db_->prepare("INSERT INTO segments VALUES(?, ?, ?, ?, ?, ?)");
    for (const auto* statement : {&insert_event, &insert_job, &insert_spec, &insert_segment})
      if (!*statement) return statement->error();
    std::set<std::int64_t> specs;
    std::vector<JobId> unknown;
    for (const auto& [id, known] : *ids) {
      if (auto sweep = best_sweep(id)) {
        if (auto stored = copy_sweep(id, *sweep, *insert_event); !stored) return stored;
        continue;
      }
      auto found = best(id);
      if (!found) return found.error();
      auto& job = *found;
      if (!job.state) {
        // That a broken database finds no row of a job, without an error, does not say that there was none.
        if (!known)
          unknown.push_back(id);
        else if (!job.problem.empty() || was_given(id))
          lost((sweeps_.contains(id) ? "sweep " : "job ") + to_string(id) + ": " +
               (job.problem.empty() ? "nothing of it can be read" : job.problem));
        continue;
      }
      if (!job.problem.empty()) lost(what_is_lost(id, job));
      for (std::size_t number = 0; number < job.events.size(); ++number) {
        const auto& [at, json] = job.events[number];
        insert_event->bind(id.value()).bind(static_cast<std::int64_t>(number)).bind(at).bind(json);
        if (auto stored = insert_event->run(); !stored) return stored;
      }
      if (auto stored = metrics(*job.state, *insert_segment); !stored) return stored;
      const bool ended = core::is_terminal(job.state->phase);
      const auto spec = spec_number(id, job.state->array);
      if (specs.insert(spec).second) {
        const auto json = proto::dump_json(to_json(*job.state->spec));
        if (auto stored = insert_spec->bind(spec).bind(json).run(); !stored) return stored;
      }
      const auto submission = job.state->submission;
      job.state->spec = {};
      const auto snapshot = proto::dump_json(to_json(*job.state));
      insert_job->bind(id.value())
          .bind(ended ? std::max<std::int64_t>(job.state->ended_ms, 1) : 0)
          .bind(core::to_string(job.state->phase))
          .bind(snapshot);
      insert_job->bind(job.by_snapshot ? kHistoryLost : static_cast<std::int64_t>(job.events.size()))
          .bind(spec);
      if (submission.empty())
        insert_job->bind_null();
      else
        insert_job->bind(submission);
      if (auto stored = insert_job->run(); !stored) return stored;
      ++report_.jobs;
      newest_ = std::max(newest_, id.value());
    }
    if (!unknown.empty())
      lost("jobs " + ranges(unknown) + ", if there were any: nothing of them can be read");
    return ok();
  }

  /// Of all databases that one which knows more of the sweep; nothing: no sweep has that number.
  std::optional<FoundSweep> best_sweep(JobId id) {
    std::optional<FoundSweep> sweep;
    for (auto* source : {old_.get(), salvaged_.get(), backup_.get()}) {
      if (source == nullptr || (sweep && sweep->problem.empty())) continue;
      auto other = source->sweep(id);
      if (!other || !other->record || (sweep && other->events.size() <= sweep->events.size())) continue;
      // What goes on after a backup was made is in no backup.
      if (sweep && other->problem.empty()) other->problem = "what came after the backup: " + sweep->problem;
      sweep = std::move(other);
    }
    return sweep;
  }

  /// By its events as far as they replay: where they are cut off, the head goes on with it from there.
  Result<Done> copy_sweep(JobId id, const FoundSweep& found, Statement& insert_event) {
    auto insert = db_->prepare("INSERT INTO sweeps VALUES(?, ?, ?, ?)");
    if (!insert) return insert.error();
    for (std::size_t number = 0; number < found.events.size(); ++number) {
      const auto& [at, json] = found.events[number];
      insert_event.bind(id.value()).bind(static_cast<std::int64_t>(number)).bind(at).bind(json);
      if (auto stored = insert_event.run(); !stored) return stored;
    }
    if (!found.problem.empty()) lost("sweep " + to_string(id) + ": everything from " + found.problem);
    const bool ended = core::is_terminal(found.record->state.phase);
    insert->bind(id.value()).bind(ended ? std::max<std::int64_t>(found.record->ended_ms, 1) : 0);
    const std::string row = ended ? row_of_sweep(id) : "";
    if (ended)
      insert->bind(row);
    else
      insert->bind_null();
    if (const auto& submission = found.record->state.submission; submission.empty())
      insert->bind_null();
    else
      insert->bind(submission);
    if (auto stored = insert->run(); !stored) return stored;
    ++report_.sweeps;
    newest_ = std::max(newest_, id.value());
    return ok();
  }

  /// Where no database has it, "{}": whoever asks makes it of the events.
  std::string row_of_sweep(JobId id) {
    for (auto* source : {old_.get(), salvaged_.get(), backup_.get()})
      if (source != nullptr)
        if (auto row = source->row_of_sweep(id); !row.empty()) return row;
    return "{}";
  }

  /// The jobs that some database names; and when the old one's list cannot be read, with `false`, every other
  /// number that may have been given.
  Result<std::map<JobId, bool>> known_ids() {
    std::map<JobId, bool> ids;
    const auto add = [&](const FoundIds& found) {
      for (const auto* list : {&found.jobs, &found.in_events, &found.sweeps})
        for (const auto id : *list) ids.emplace(id, true);
      sweeps_.insert(found.sweeps.begin(), found.sweeps.end());
      return found.jobs_whole;
    };
    if (backup_) add(backup_->ids());
    const bool whole = old_ && add(old_->ids());
    if (!whole)
      if (auto done = salvage_pages(); !done) return done.error();
    // A list that is whole is the truth: what pages tell of other jobs is of some that were forgotten.
    if (!whole && salvaged_) add(salvaged_->ids());
    if (!whole && (old_ || salvaged_) && mark_)
      for (std::int64_t id = 1; id < *mark_; ++id) ids.emplace(JobId(id), false);
    return ids;
  }

  /// A number that no job was given is of a broken page. Without the mark, which then reads as 1, any may do.
  [[nodiscard]] bool was_given(JobId id) const {
    return id.value() >= 1 && (!mark_ || *mark_ <= 1 || id.value() < *mark_);
  }

  static std::string what_is_lost(JobId id, const FoundJob& job) {
    const std::string from = "job " + to_string(id) + ": ",
                      event = "event " + std::to_string(job.events.size()) + " on (" + job.problem + ")";
    return job.by_snapshot ? from + "its history from " + event + "; how it ended is known"
                           : from + "everything from " + event;
  }

  /// Of all databases that one which goes further.
  Result<FoundJob> best(JobId id) {
    FoundJob job;
    const auto compare = [&](RecoverSource& source, const char* doubt) {
      auto other = source.job(id);
      if (!other.goes_further_than(job)) return;
      // Nothing comes after the end of a job; of one that lives nobody knows.
      if (!other.ended() && other.problem.empty() && !job.problem.empty())
        other.problem = doubt + job.problem;
      job = std::move(other);
    };
    if (old_) job = old_->job(id);
    if (old_ && !job.problem.empty())
      if (auto done = salvage_pages(); !done) return done.error();
    if (salvaged_ && !job.whole()) compare(*salvaged_, "if there was more: ");
    if (backup_) compare(*backup_, "what came after the backup: ");
    return job;
  }

  /// The metric files of a job, indexed by what is in them; the state gets what a start would give it.
  Result<Done> metrics(core::JobState& state, Statement& insert) {
    if (auto kept = keep_damaged(state.id); !kept) return kept;
    auto tail = recover_tail(state_dir_, state, {});
    if (!tail) return tail.error();
    for (const auto& row : tail->rows) {
      insert.bind(state.id.value())
          .bind(row.segment)
          .bind(row.first)
          .bind(row.points)
          .bind(row.bytes)
          .bind(row.last_at);
      if (auto stored = insert.run(); !stored) return stored;
      report_.points += row.points;
    }
    if (tail->rows.empty() || !tail->last) return ok();
    state.reports = tail->rows.back().end();
    state.metrics = tail->last->metrics;
    if (tail->last->attempt == state.attempt.value())
      state.last_seq = std::max(state.last_seq, tail->last->seq);
    return ok();
  }

  /// A file with damage is copied before it is cut; what follows it is moved aside.
  Result<Done> keep_damaged(JobId id) {
    std::int64_t next = 0, end = 0;
    std::error_code ec;
    while (fs::exists(segment_path(state_dir_, id, end), ec)) ++end;
    for (std::int64_t segment = 0; segment < end; ++segment) {
      const auto file = segment_path(state_dir_, id, segment);
      auto text = read_range(file, 0, -1);
      if (!text) return text.error();
      std::string problem = text->starts_with(segment_header(id, next)) ? "" : "the header is wrong";
      if (problem.empty()) {
        SegmentScan scan(std::string_view(*text).substr(kSegmentHeaderBytes), kSegmentHeaderBytes);
        while (scan.next()) ++next;
        problem = scan.problem();
        if (!problem.empty()) problem = "offset " + std::to_string(scan.offset()) + ": " + problem;
      }
      if (problem.empty()) continue;
      fs::copy_file(file, file + ".damaged", fs::copy_options::overwrite_existing, ec);
      if (ec) return fail(Errc::kIo, file + ": it is damaged and cannot be copied: " + ec.message());
      lost("job " + to_string(id) + ": metrics from point " + std::to_string(next) + " on (" + file +
           ".damaged, " + problem + ")");
      // The last one first: where this is broken off no gap is left at which the next run would stop.
      for (std::int64_t behind = end - 1; behind > segment; --behind) {
        const auto later = segment_path(state_dir_, id, behind);
        fs::rename(later, later + ".damaged", ec);
        if (ec) return fail(Errc::kIo, "move " + later + " aside: " + ec.message());
        lost("job " + to_string(id) + ": the metrics in " + later + ".damaged");
      }
      return ok();
    }
    return ok();
  }

  Result<Done> copy_documents() {
    Result<std::vector<std::array<std::string, 3>>> found = fail(Errc::kNotFound, "");
    if (old_) found = old_->documents();
    if (!found && old_)
      if (auto done = salvage_pages(); !done) return done;
    if (!found && old_ && salvaged_)
      lost("what operators set, as far as it was in broken pages");
    else if (!found && old_)
      lost(std::string("what operators set since the backup") + (backup_ ? "" : "; there is no backup"));
    if (!found && salvaged_) found = salvaged_->documents();
    if (!found && backup_) found = backup_->documents();
    if (!found) return ok();
    auto insert = db_->prepare("INSERT OR REPLACE INTO documents VALUES(?, ?, ?)");
    if (!insert) return insert.error();
    for (const auto& [kind, name, value] : *found)
      if (auto stored = insert->bind(kind).bind(name).bind(value).run(); !stored) return stored;
    return ok();
  }

  Result<Done> put_in_place() {
    close();
    std::error_code ec;
    fs::remove_all(salvage_dir(), ec);
    bool moved = false;
    for (const char* ending : kEndings) {
      if (!fs::exists(path() + ending, ec)) continue;
      fs::rename(path() + ending, journal_path(work_dir()) + ending, ec);
      if (ec) return fail(Errc::kIo, "move " + path() + ending + " aside: " + ec.message());
      moved = true;
    }
    fs::rename(journal_path(new_dir()), path(), ec);
    if (ec) return fail(Errc::kIo, "move the new journal to " + path() + ": " + ec.message());
    if (auto numbers = go_on_with_numbers(); !numbers) return numbers;
    if (auto synced = os::fsync_path(state_dir_); !synced) return synced;
    fs::remove_all(moved ? new_dir() : work_dir(), ec);
    if (moved) {
      std::string stamp = proto::rfc3339(os::unix_ms_now()).substr(0, 23);
      std::ranges::replace(stamp, ':', '-');
      report_.aside = path() + ".broken-" + stamp;
      fs::rename(work_dir(), report_.aside, ec);
      if (ec) return fail(Errc::kIo, "rename " + work_dir() + " to " + report_.aside + ": " + ec.message());
    }
    return os::fsync_path(state_dir_);
  }

  Result<Done> go_on_with_numbers() {
    std::error_code ec;
    const bool known = fs::exists(state_dir_ + "/next_job_id", ec);
    report_.next_id = newest_ + 1;
    if (known && mark_) {
      report_.next_id = std::max(report_.next_id, *mark_);
    } else {
      report_.next_id += kNumbersSkipped;
      lost("next_job_id, the mark of the numbers that were given: they go on at " +
           std::to_string(report_.next_id));
    }
    return os::write_file_atomic(state_dir_ + "/next_job_id", std::to_string(report_.next_id) + "\n", 0600);
  }

  const std::string& state_dir_;
  const std::string& from_;
  /// Of the numbers that were given; one that cannot be read is an error here.
  const Result<std::int64_t> mark_ = JobNumbers::read(state_dir_);
  /// salvaged_: of the pages of the old one, and of the backup
  std::unique_ptr<RecoverSource> old_, salvaged_, backup_;
  bool salvage_tried_ = false;
  std::unique_ptr<Database> db_;
  std::int64_t newest_ = 0;
  std::set<JobId> sweeps_;  ///< that some database names
  RecoverReport report_;
};

}  // namespace

Result<RecoverReport> recover(const std::string& state_dir, const std::string& from) {
  std::error_code ec;
  if (!fs::is_directory(state_dir, ec)) return fail(Errc::kNotFound, state_dir + ": no such folder");
  auto lock = StateLock::take(state_dir);
  if (!lock) return fail(lock.error().code(), lock.error().message(), "stop the head first");
  return Recover(state_dir, from).run();
}

}  // namespace rtrain::store
