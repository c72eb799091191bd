// The rows of files that SQLite does not read any more, made by hand: whole, cut, overwritten, and changed at
// random.
#include "daemon/store/salvage.h"

#include "daemon/store/raw_rows.h"
#include "daemon/store/schema.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <random>

namespace salvage_test {

using namespace rtrain;
using namespace rtrain::store;
namespace fs = std::filesystem;

namespace {

constexpr const char* kSchema1 =
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
    " last_at INTEGER NOT NULL, PRIMARY KEY(job, segment)) WITHOUT ROWID;";
constexpr const char* kSchema3 =
    "CREATE TABLE specs(id INTEGER PRIMARY KEY, json TEXT NOT NULL);"
    "ALTER TABLE jobs ADD COLUMN spec INTEGER; ALTER TABLE jobs ADD COLUMN submission TEXT;"
    "CREATE INDEX jobs_spec ON jobs(spec) WHERE spec IS NOT NULL;";

/// A database with small pages, so that little makes trees and chains; in its folder others can be salvaged.
struct Made {
  test::TempDir folder;
  std::string path = (folder / "broken.db").string();
  std::unique_ptr<Database> database = *Database::open(path, Database::Mode::kCreate);
  int salvages = 0;

  explicit Made(const std::string& settings =
                    "PRAGMA page_size=512; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL") {
    sql(settings + "; PRAGMA secure_delete=OFF; PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=0");
    sql(kSchema1);
  }
  void sql(const std::string& text) { REQUIRE(database->execute(text).has_value()); }
  /// With jobs of schema 1 below those of schema 3, and texts of up to `longest` bytes.
  void fill(int jobs, int longest) {
    const auto row = [&](int id) { return std::to_string(id); };
    const auto text = [&](int id) {
      return "'{\"text\":\"" + std::string(static_cast<std::size_t>(longest * id / jobs), 'x') + "\"}'";
    };
    sql("BEGIN");
    for (int id = 1; id <= jobs; ++id) {
      if (id == jobs / 2) sql(kSchema3);
      sql(id < jobs / 2 ? "INSERT INTO jobs VALUES(" + row(id) + ", 7, 'FAILED', " + text(id) + ", 3)"
                        : "INSERT INTO jobs VALUES(" + row(id) + ", 0, 'QUEUED', NULL, 0, " + row(id) + ", " +
                              (id % 2 == 0 ? "NULL" : "'key'") + ")");
      if (id >= jobs / 2) sql("INSERT INTO specs VALUES(" + row(id) + ", " + text(id) + ")");
      for (int number = 0; number < 3; ++number)
        sql("INSERT INTO events VALUES(" + row(id) + ", " + row(number) + ", " + row(number * 1'000'000'000) +
            ", " + text(id * number / 2) + ")");
      sql("INSERT INTO segments VALUES(" + row(id) + ", 0, 0, 1, 2, 3)");
    }
    sql("INSERT INTO documents VALUES('node', 'a', " + text(jobs) +
        "), ('node', 'b', '{}'), ('usage', 'c', '1')");
    sql("COMMIT");
  }
  void close() {
    sql("PRAGMA wal_checkpoint(TRUNCATE)");
    database.reset();
  }
  void overwrite(std::uint32_t page, std::size_t page_bytes = 512) const {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>((page - 1) * page_bytes));
    file << std::string(page_bytes, '\xa7');
  }
  /// What is salvaged: rows by table.
  std::map<std::string, std::int64_t> rows(const std::string& backup = "") {
    const auto into = (folder / ("into-" + std::to_string(++salvages))).string();
    const auto found = salvage(path, into, backup);
    INFO((found ? "" : found.error().message()));
    REQUIRE(found.has_value());
    return rows_in(journal_path(into));
  }
  static std::map<std::string, std::int64_t> rows_in(const std::string& file) {
    const auto opened = *Database::open(file, Database::Mode::kReadOnly);
    std::map<std::string, std::int64_t> counts;
    for (const char* table : {"jobs", "specs", "events", "documents"})
      counts[table] = *opened->integer("SELECT count(*) FROM " + std::string(table));
    return counts;
  }
};

using Rows = std::map<std::string, std::int64_t>;

}  // namespace

TEST_CASE("salvage: every row of a whole file is found, of both schemas, however long it is") {
  for (const char* settings : {"PRAGMA page_size=512; PRAGMA auto_vacuum=INCREMENTAL",
                               "PRAGMA page_size=512; PRAGMA auto_vacuum=NONE",
                               "PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL",
                               "PRAGMA page_size=65536; PRAGMA auto_vacuum=NONE"}) {
    INFO(settings);
    Made made(settings);
    made.fill(60, 20'000);
    made.close();
    CHECK(made.rows() == Rows{{"jobs", 60}, {"specs", 31}, {"events", 180}, {"documents", 3}});
    const auto before = *Database::open(made.path, Database::Mode::kReadOnly),
               after = *Database::open(made.folder.path() / "into-1/journal.db", Database::Mode::kReadOnly);
    for (const char* sql :
         {"SELECT group_concat(id || ended || phase || ifnull(snapshot, '-') || snapshot_events || "
          "ifnull(spec, '-') || ifnull(submission, '-'))"
          " FROM (SELECT * FROM jobs ORDER BY id)",
          "SELECT group_concat(job || '.' || number || at || json) FROM (SELECT * FROM events ORDER BY job, "
          "number)",
          "SELECT group_concat(id || json) FROM (SELECT * FROM specs ORDER BY id)",
          "SELECT group_concat(kind || name || value) FROM (SELECT * FROM documents ORDER BY kind, name)"})
      CHECK(*before->text(sql) == *after->text(sql));
  }
}

TEST_CASE("salvage: without page 1, and with any page overwritten, the others give their rows") {
  Made made("PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL");
  made.fill(200, 100);
  made.close();
  const auto whole = made.rows();
  made.overwrite(1, 4096);
  CHECK(made.rows() == whole);
  const auto pages = fs::file_size(made.path) / 4096;
  REQUIRE(pages > 20);
  std::map<std::string, std::int64_t> sum;
  for (std::uint32_t page = 2; page <= pages; ++page) {
    const auto copy = made.path + ".whole";
    fs::copy_file(made.path, copy);
    made.overwrite(page, 4096);
    const auto rows = made.rows();
    for (const auto& [table, count] : whole) {
      CHECK(count - rows.at(table) < 200);
      sum[table] += count - rows.at(table);
    }
    fs::rename(copy, made.path);
  }
  CHECK(sum == whole);  // each row lies in one page, and is lost with it alone
}

TEST_CASE("salvage: the log counts up to its last whole commit") {
  Made made;
  made.fill(20, 1000);
  made.sql("PRAGMA wal_checkpoint(TRUNCATE)");
  made.sql("INSERT INTO events VALUES(21, 0, 0, '{}')");
  const auto one = fs::file_size(made.path + "-wal");
  made.sql("UPDATE events SET json='{\"newer\":1}' WHERE job=3; INSERT INTO events VALUES(22, 0, 0, '{}')");
  CHECK(made.rows()["events"] == 62);
  CHECK(*(*Database::open(made.folder.path() / "into-1/journal.db", Database::Mode::kReadOnly))
             ->integer("SELECT count(*) FROM events WHERE json='{\"newer\":1}'") == 3);
  for (const auto page : {1u, 3u}) made.overwrite(page);
  CHECK(made.rows()["events"] > 50);
  const auto log = made.path + "-wal";
  const auto full = fs::file_size(log);
  // of the copy that a power cut leaves; nobody reads this one through SQLite again
  fs::resize_file(log, full - 1);
  CHECK(made.rows()["events"] <= 61);
  fs::resize_file(log, one - 1);
  CHECK(made.rows()["events"] <= 60);
  fs::resize_file(log, 10);
  CHECK(made.rows()["events"] <= 60);
}

TEST_CASE("salvage: what was deleted does not come back") {
  for (const char* settings : {"PRAGMA page_size=512; PRAGMA auto_vacuum=INCREMENTAL",
                               "PRAGMA page_size=512; PRAGMA auto_vacuum=NONE"}) {
    Made made(settings);
    made.fill(60, 500);
    made.sql(
        "DELETE FROM events WHERE job<=50; DELETE FROM jobs WHERE id<=50; DELETE FROM specs WHERE id<=50");
    made.close();
    CHECK(made.rows() == Rows{{"jobs", 10}, {"specs", 10}, {"events", 30}, {"documents", 3}});
  }
  Made made;  // without the list, whose begin is in page 1, the maps say what is free
  made.fill(60, 500);
  made.sql(
      "DELETE FROM events WHERE job<=50; DELETE FROM jobs WHERE id<=50; DELETE FROM specs WHERE id<=50; "
      "PRAGMA page_size");
  made.close();
  std::fstream(made.path, std::ios::in | std::ios::out | std::ios::binary).seekp(32) << std::string(8, '\0');
  CHECK(made.rows() == Rows{{"jobs", 10}, {"specs", 10}, {"events", 30}, {"documents", 3}});
}

TEST_CASE("salvage: a backup adds what is lost, also one of an older schema") {
  Made backup;
  backup.sql(
      "INSERT INTO events VALUES(1, 0, 5, '{\"old\":0}'), (1, 1, 5, '{\"old\":1}'); INSERT INTO jobs "
      "VALUES(1, 0, 'QUEUED', NULL, 0)");
  backup.close();
  Made made;
  made.sql(
      "INSERT INTO events VALUES(1, 1, 6, '{\"new\":1}'), (1, 2, 6, '{\"new\":2}'); INSERT INTO jobs "
      "VALUES(1, 7, 'FAILED', '{}', 3)");
  made.close();
  CHECK(made.rows(backup.path) == Rows{{"jobs", 1}, {"specs", 0}, {"events", 3}, {"documents", 0}});
  const auto joined = *Database::open(made.folder.path() / "into-1/journal.db", Database::Mode::kReadOnly);
  CHECK(*joined->text("SELECT group_concat(json) FROM events") == R"({"old":0},{"new":1},{"new":2})");
  CHECK(*joined->text("SELECT phase FROM jobs") == "FAILED");
}

TEST_CASE("salvage: a file that is no database has no rows, and none is an error") {
  const test::TempDir folder;
  const auto path = (folder / "broken.db").string(), into = (folder / "into").string();
  CHECK(salvage(path, into).error().code() == Errc::kNotFound);
  for (const std::size_t bytes : {1u, 100u, 4096u, 40'000u})
    for (const char byte : {'\0', 'x', '\x0a', '\x0d', '\x02', '\xff'}) {
      std::ofstream(path, std::ios::binary | std::ios::trunc) << std::string(bytes, byte);
      CHECK(*salvage(path, into) == 0);
    }
}

TEST_CASE("salvage: no change of a file makes the reader crash, or go on for long") {
  Made made;
  made.fill(24, 3000);
  made.sql(
      "PRAGMA wal_checkpoint(TRUNCATE); DELETE FROM events WHERE job<6; INSERT INTO events VALUES(99, 0, 0, "
      "'{}')");
  std::map<std::string, std::string> whole;
  for (const char* ending : {"", "-wal"}) {
    std::ifstream file(made.path + ending, std::ios::binary);
    whole[ending] = std::string(std::istreambuf_iterator<char>(file), {});
    REQUIRE(!whole[ending].empty());
  }
  made.database.reset();
  const auto path = (made.folder / "changed.db").string();
  std::mt19937 random(1);  // NOLINT: the same changes each time
  const auto below = [&](std::size_t end) { return random() % end; };
  std::size_t rows = 0;
  for (int round = 0; round < 3000; ++round) {
    for (const auto& [ending, text] : whole) {
      auto changed = text;
      for (std::size_t i = 0, changes = below(12); i < changes; ++i) {
        // Near the begin of a page lies what everything hangs on.
        const auto at = std::min(
            below(2) == 0 ? below(changed.size() / 512 + 1) * 512 + below(24) : below(changed.size()),
            changed.size() - 1);
        const auto kind = below(4);
        if (kind == 0) changed[at] = static_cast<char>(below(256));
        if (kind == 1) changed[at] = static_cast<char>("\x00\x01\x02\x05\x0a\x0d\x7f\xff"[below(8)]);
        if (kind == 2) changed.replace(at, 1, std::string(below(64), static_cast<char>(below(256))));
        if (kind == 3 && below(8) == 0) changed.resize(std::max<std::size_t>(at, 1));
      }
      std::ofstream(path + ending, std::ios::binary | std::ios::trunc) << changed;
    }
    auto pages = RawPages::open(path);
    if (!pages) continue;
    for (std::uint32_t page = 0; page <= pages->count() + 1; ++page)
      each_raw_row(*pages, page, [&](const RawRow& row) {
        CHECK(row.values.size() <= kRawColumns);
        ++rows;
        return true;
      });
  }
  CHECK(rows > 3000 * 20);
}

}  // namespace salvage_test
