// The tables of the journal, their version, and what must hold before a head relies on them.
//
//   meta      (key, value)                              "clean": the last head closed it; "log": -wal belongs to it, since a head that writes has not closed it; "copy": it came from a backup; "pruned": jobs just removed, whose files may be left
//   jobs      (id, ended, phase, snapshot, snapshot_events, spec, submission)  ended: when, 0 for a job that lives; snapshot: JobState after so many
//                                                       events; spec: its row in specs, null when event 0 holds it; submission: the client's key
//   specs     (id, json)                                of a job, or of all jobs of an array; id: the job's, the array's
//   sweeps    (id, ended, row, submission)              ended: when, 0 for one that goes on; row: what a list shows of one that ended;
//                                                       submission: the client's key
//   events    (job, number, at, json)                   number: 0, 1, ... within the job or sweep; job_submitted is without its spec
//   documents (kind, name, value)                       the newest value of each
//   segments  (job, segment, first, points, bytes, last_at)   what is durable in a metric file (segment.h)
#pragma once

#include "daemon/store/database.h"
#include "proto/json.h"

namespace rtrain::store {

inline constexpr int kSchemaVersion = 4;
/// jobs.snapshot_events of a job that ended and of whose events recover has found the first ones only, or
/// none: its snapshot alone tells the end.
inline constexpr std::int64_t kHistoryLost = -1;
/// Texts that the journal holds were checked when they came; these bounds keep a broken one from the stack.
inline constexpr proto::JsonLimits kStoredJson{1u << 30, 1000};
/// "RTRN": `file journal.db` and fsck tell a journal from any other database.
inline constexpr std::int64_t kApplicationId = 0x5254524E;

/// The database's file in a state folder.
[[nodiscard]] std::string journal_path(const std::string& state_dir);

/// There while `rtraind recover` works on a state folder, and when it died in the middle.
[[nodiscard]] std::string recovering_folder(const std::string& state_dir);

/// True: the last head was killed, and the log that it wrote is gone. @param has_log  its file was there
/// before the database was opened
[[nodiscard]] Result<bool> lacks_log(Database& database, bool has_log);

/// kIo when the type of statfs(2) is that of a network file system: locks and shared memory of SQLite's WAL
/// do not work across machines.
[[nodiscard]] Result<Done> check_file_system(const std::string& state_dir, std::uint32_t type);

/// The hint of every error that says the journal is broken.
[[nodiscard]] std::string repair_hint(const std::string& state_dir);

/// Opens the journal for its one writing connection: makes it where there is none, and brings an older schema
/// up to date, after a backup. kIo with what is wrong and the way out: no folder, not writable, on a network
/// file system, not a journal, broken, truncated, without its log. kConflict: its schema is newer than this
/// program. The whole file is read (quick_check) only when the last head did not close it and it is no larger
/// than kQuickCheckBytes: a start must be fast. What is not read now is found when it is read, or by fsck.
/// @param sync false: nothing is forced to the disk; a power cut may lose it all
[[nodiscard]] Result<std::unique_ptr<Database>> open_journal(const std::string& state_dir, bool sync = true);

inline constexpr std::int64_t kQuickCheckBytes = 32 << 20;
/// A journal of an rtraind that could not give space back is rewritten at the start, once, up to this size:
/// about a second.
inline constexpr std::int64_t kRewriteBytes = 128 << 20;

/// The schema version of an open database; refuses one that is no journal or newer than this program.
[[nodiscard]] Result<int> check_version(Database& database, const std::string& state_dir);

}  // namespace rtrain::store
