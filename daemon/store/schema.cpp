#include "daemon/store/schema.h"

#include "common/log/log.h"
#include "common/os/file.h"
#include "daemon/store/backup.h"

#include <array>
#include <filesystem>

#include <sqlite3.h>
#include <sys/statfs.h>
#include <unistd.h>

namespace rtrain::store {
namespace {

/// Migration i leads from version i to i + 1.
constexpr std::array<const char*, kSchemaVersion> kMigrations{
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE jobs(id INTEGER PRIMARY KEY, ended INTEGER NOT NULL, phase TEXT NOT NULL, snapshot TEXT, "
    "snapshot_events INTEGER NOT NULL);"
    "CREATE INDEX jobs_ended ON jobs(ended);"
    "CREATE TABLE events(job INTEGER NOT NULL, number INTEGER NOT NULL, at INTEGER NOT NULL, json TEXT NOT "
    "NULL, PRIMARY KEY(job, number)) WITHOUT ROWID;"
    "CREATE TABLE documents(kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY(kind, "
    "name)) WITHOUT ROWID;"
    "CREATE TABLE segments(job INTEGER NOT NULL, segment INTEGER NOT NULL, first INTEGER NOT NULL, points "
    "INTEGER NOT NULL, bytes INTEGER NOT NULL,"
    " last_at INTEGER NOT NULL, PRIMARY KEY(job, segment)) WITHOUT ROWID;",
    // Counts of jobs by how they ended, without a look at the jobs.
    "CREATE INDEX jobs_ended_as ON jobs(phase) WHERE ended>0;",
    // A spec is stored once for all jobs of an array. Jobs that were there before keep theirs in their first
    // events.
    "CREATE TABLE specs(id INTEGER PRIMARY KEY, json TEXT NOT NULL);"
    "ALTER TABLE jobs ADD COLUMN spec INTEGER;"
    "ALTER TABLE jobs ADD COLUMN submission TEXT;"
    "CREATE INDEX jobs_spec ON jobs(spec) WHERE spec IS NOT NULL;"
    "CREATE INDEX jobs_submission ON jobs(submission) WHERE submission IS NOT NULL;",
    // Their events stand beside those of jobs: numbers come from one counter.
    "CREATE TABLE sweeps(id INTEGER PRIMARY KEY, ended INTEGER NOT NULL, row TEXT, submission TEXT);"
    "CREATE INDEX sweeps_submission ON sweeps(submission) WHERE submission IS NOT NULL;"};

Error broken(const std::string& state_dir, const std::string& what) {
  return fail(Errc::kIo, "the journal " + journal_path(state_dir) + " is broken: " + what,
              repair_hint(state_dir));
}

bool has_content(const std::string& path) {
  std::error_code ec;
  const auto size = std::filesystem::file_size(path, ec);
  return !ec && size > 0;
}

/// What an error of SQLite means for a head that wants to start.
Error refuse(Database& database, const std::string& state_dir, const Error& error) {
  if (database.trouble() == Trouble::kCorrupt) return broken(state_dir, error.message());
  if (database.trouble() == Trouble::kNoSpace)
    return fail(Errc::kIo, error.message(), "make room in " + state_dir);
  return error.in("the journal");
}

Result<Done> migrate(Database& database, int version) {
  return database.transaction([&]() -> Result<Done> {
    for (int from = version; from < kSchemaVersion; ++from)
      if (auto done = database.execute(kMigrations[static_cast<std::size_t>(from)]); !done) return done;
    return database.execute("PRAGMA application_id=" + std::to_string(kApplicationId) +
                            "; PRAGMA user_version=" + std::to_string(kSchemaVersion));
  });
}

/// The last head may have died at any moment: SQLite's own recovery has run by now, and what it gave is
/// looked at.
Result<Done> check_contents(Database& database, const std::string& state_dir) {
  auto clean = database.text("SELECT value FROM meta WHERE key='clean'");
  if (!clean) return refuse(database, state_dir, clean.error());
  auto pages = database.integer("PRAGMA page_count");
  auto size = database.integer("PRAGMA page_size");
  if (!pages || !size) return refuse(database, state_dir, pages ? size.error() : pages.error());
  if (*clean == "1" || *pages * *size > kQuickCheckBytes) return ok();
  auto verdict = database.text("PRAGMA quick_check(1)");
  if (!verdict) return refuse(database, state_dir, verdict.error());
  if (*verdict != "ok") return broken(state_dir, *verdict);
  return ok();
}

/// What is free in the file can be given back to the disk, a few pages at a time. An older rtraind's file has
/// to be rewritten for that.
Result<Done> make_shrinkable(Database& database, const std::string& state_dir) {
  auto mode = database.integer("PRAGMA auto_vacuum");
  auto pages = database.integer("PRAGMA page_count");
  auto size = database.integer("PRAGMA page_size");
  for (const auto* read : {&mode, &pages, &size})
    if (!*read) return refuse(database, state_dir, read->error());
  if (*mode != 0) return ok();
  const std::int64_t bytes = *pages * *size;
  const auto mib = std::to_string(bytes >> 20);
  if (bytes > kRewriteBytes) {
    log::info(
        "the journal's file does not become smaller when jobs are forgotten; it does once `rtraind recover` "
        "has made a new one",
        {{"file", database.path()}, {"mib", mib}});
    return ok();
  }
  log::info("the journal is rewritten once, so that its file can become smaller when jobs are forgotten",
            {{"file", database.path()}, {"mib", mib}});
  auto done = database.execute("PRAGMA auto_vacuum=INCREMENTAL; VACUUM");
  if (done) return done;
  if (database.trouble() != Trouble::kNoSpace) return refuse(database, state_dir, done.error());
  log::warn("there is no room to rewrite the journal; the next start tries again",
            {{"cause", done.error().message()}});
  return ok();
}

}  // namespace

std::string recovering_folder(const std::string& state_dir) { return state_dir + "/recovered"; }

Result<bool> lacks_log(Database& database, bool has_log) {
  auto mark = database.text("SELECT value FROM meta WHERE key='log'");
  if (!mark) return mark.error();
  return *mark == "1" && !has_log;
}

Result<Done> check_file_system(const std::string& state_dir, std::uint32_t type) {
  constexpr std::pair<std::uint32_t, const char*> kNetwork[]{
      {0x6969, "NFS"},        {0xFF534D42, "SMB"},  {0xFE534D42, "SMB"},
      {0x517B, "SMB"},        {0x5346414F, "AFS"},  {0x00C36400, "Ceph"},
      {0x0BD00BD0, "Lustre"}, {0x47504653, "GPFS"}, {0x19830326, "BeeGFS"}};
  for (const auto& [network, name] : kNetwork)
    if (type == network)
      return fail(Errc::kIo,
                  state_dir + " is on a network file system (" + name + "), on which the journal is not safe",
                  "set state_dir to a folder on a local disk of the head's machine");
  return ok();
}

std::string journal_path(const std::string& state_dir) { return state_dir + "/journal.db"; }

std::string repair_hint(const std::string& state_dir) {
  return "`rtraind fsck " + state_dir + "` says what is wrong with it, `rtraind recover " + state_dir +
         "` makes a sound one from what can be read or from a backup";
}

Result<int> check_version(Database& database, const std::string& state_dir) {
  auto version = database.integer("PRAGMA user_version");
  auto application = database.integer("PRAGMA application_id");
  auto objects = database.integer("SELECT count(*) FROM sqlite_schema");
  for (const auto* read : {&version, &application, &objects})
    if (!*read) return refuse(database, state_dir, read->error());
  if (*objects == 0 && *application == 0 && *version == 0) return 0;  // it was just made
  if (*application != kApplicationId) return broken(state_dir, "it is another program's database");
  if (*version > kSchemaVersion)
    return fail(Errc::kConflict,
                "the journal " + database.path() + " has schema version " + std::to_string(*version) +
                    ", and this rtraind knows " + std::to_string(kSchemaVersion) +
                    ": a newer rtraind wrote it",
                "start that one again, or restore a backup from before the upgrade: rtraind recover " +
                    state_dir + " --from BACKUP");
  if (*version < 1) return broken(state_dir, "its schema version is " + std::to_string(*version));
  return static_cast<int>(*version);
}

Result<std::unique_ptr<Database>> open_journal(const std::string& state_dir, bool sync) {
  const std::string path = journal_path(state_dir);
  struct statfs info {};
  if (::statfs(state_dir.c_str(), &info) != 0) return fail_errno("look at " + state_dir, errno);
  if (auto local = check_file_system(state_dir, static_cast<std::uint32_t>(info.f_type)); !local)
    return local.error();
  std::error_code ec;
  if (std::filesystem::exists(recovering_folder(state_dir), ec))
    return fail(Errc::kIo, "rtraind recover did not come to its end in " + state_dir,
                "run it again: rtraind recover " + state_dir);
  const bool exists = std::filesystem::exists(path, ec);
  if (exists && ::access(path.c_str(), R_OK | W_OK) != 0)
    return fail_errno("the journal " + path + " cannot be written", errno);
  // A journal that lost its main file and has a log would be replayed into nothing.
  if (!exists && has_content(path + "-wal"))
    return broken(state_dir, "there is " + path + "-wal, and the file it belongs to is gone");
  // A first start that died may leave an empty file; one that gave numbers to jobs has not.
  const bool used = std::filesystem::exists(state_dir + "/next_job_id", ec);
  if (exists && used && std::filesystem::file_size(path, ec) == 0 && !has_content(path + "-wal"))
    return broken(state_dir, "the file is empty");
  if (!exists && used)
    log::warn("there is no journal: the head starts without jobs; numbers go on", {{"file", path}});
  const bool has_log = std::filesystem::exists(path + "-wal", ec);
  auto opened = Database::open(path, Database::Mode::kCreate);
  if (!opened) return opened.error().in("the journal");
  auto& database = **opened;
  // The log stays when this connection is closed, however that comes about: one that is not there was taken
  // away.
  int stays = 1;
  sqlite3_file_control(database.handle(), "main", SQLITE_FCNTL_PERSIST_WAL, &stays);
  auto version = check_version(database, state_dir);
  if (!version) return version.error();
  if (*version > 0) {
    auto lacks = lacks_log(database, has_log);
    if (!lacks) return refuse(database, state_dir, lacks.error());
    if (*lacks)
      return broken(state_dir,
                    "the last head was killed, and " + path + "-wal, with its last events, is gone");
  }
  const std::string settings =
      std::string("PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=") +
      (sync ? "FULL" : "OFF") +
      "; PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=67108864; PRAGMA cache_size=-16384; PRAGMA "
      "foreign_keys=OFF";
  if (auto set = database.execute(settings); !set) return refuse(database, state_dir, set.error());
  if (*version < kSchemaVersion) {
    if (*version > 0) {
      log::info("the journal's schema is brought up to date",
                {{"from", std::to_string(*version)}, {"to", std::to_string(kSchemaVersion)}});
      if (auto backup = write_backup(state_dir, "-schema-" + std::to_string(*version)); !backup)
        return backup.error().in("a backup before the schema changes");
    }
    if (auto done = migrate(database, *version); !done) return refuse(database, state_dir, done.error());
    if (sync && !exists)
      if (auto synced = os::fsync_path(state_dir); !synced) return synced.error();
  }
  if (*version > 0)
    if (auto sound = check_contents(database, state_dir); !sound) return sound.error();
  if (*version > 0)
    if (auto done = make_shrinkable(database, state_dir); !done) return done.error();
  // Not clean until it is closed; moved into the main file at once, where it is found also when the log is
  // gone.
  if (auto marked = database.execute(
          "INSERT OR REPLACE INTO meta VALUES('clean', '0'), ('log', '1'); PRAGMA wal_checkpoint(TRUNCATE)");
      !marked)
    return refuse(database, state_dir, marked.error());
  return opened;
}

}  // namespace rtrain::store
