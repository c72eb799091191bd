#include "daemon/store/salvage.h"

#include "common/os/file.h"
#include "daemon/store/raw_rows.h"
#include "daemon/store/schema.h"
#include "proto/json.h"

#include <algorithm>

namespace rtrain::store {
namespace {

using Kind = RawValue::Kind;
/// 'i' an integer, 't' a text, 'n' null, '?' anything else.
std::string shape_of(const RawRow& row) {
  std::string shape;
  for (const auto& value : row.values)
    shape += value.kind == Kind::kInteger ? 'i'
             : value.kind == Kind::kText  ? 't'
             : value.kind == Kind::kNull  ? 'n'
                                          : '?';
  return shape;
}

/// jobs as schema 1 has it (the id is the rowid), and as an `ALTER TABLE` of schema 3 left or made it.
bool is_job(std::string_view shape) {
  if (shape.size() != 5 && shape.size() != 7) return false;
  const auto one_of = [&](std::size_t at, std::string_view kinds) {
    return kinds.find(shape[at]) != std::string_view::npos;
  };
  return shape.starts_with("nit") && one_of(3, "tn") && shape[4] == 'i' &&
         (shape.size() == 5 || (one_of(5, "in") && one_of(6, "tn")));
}

bool is_sweep(std::string_view shape) {
  return shape == "nitt" || shape == "nitn" || shape == "nint" || shape == "ninn";
}

class Salvage {
 public:
  Salvage(RawPages pages, Database& into) : pages_(std::move(pages)), db_(into) {}

  Result<std::int64_t> run() {
    for (auto& [statement, sql] : std::initializer_list<std::pair<Statement&, std::string_view>>{
             {job_,
              "INSERT INTO jobs VALUES(?, ?, ?, ?, ?, ?, ?) ON CONFLICT(id) DO UPDATE SET "
              "ended=excluded.ended, phase=excluded.phase,"
              " snapshot=excluded.snapshot, snapshot_events=excluded.snapshot_events"
              " WHERE excluded.ended>jobs.ended OR (excluded.ended=jobs.ended AND "
              "excluded.snapshot_events>jobs.snapshot_events)"},
             {sweep_,
              "INSERT INTO sweeps VALUES(?, ?, ?, ?) ON CONFLICT(id) DO UPDATE SET ended=excluded.ended, "
              "row=excluded.row WHERE excluded.ended>sweeps.ended"},
             {spec_, "INSERT OR IGNORE INTO specs VALUES(?, ?)"},
             {event_, "INSERT OR IGNORE INTO events VALUES(?, ?, ?, ?)"},
             {document_, "INSERT OR IGNORE INTO documents VALUES(?, ?, ?)"}}) {
      auto prepared = db_.prepare(sql);
      if (!prepared) return prepared.error();
      statement = std::move(*prepared);
    }
    auto done = db_.transaction([this]() -> Result<Done> {
      Result<Done> stored = ok();
      const auto each = [&](const RawRow& row) {
        stored = take(row);
        return stored.has_value();
      };
      for (std::uint32_t number = 2; number <= pages_.count() && number != 0; ++number)
        if (!each_raw_row(pages_, number, each)) break;
      return stored;
    });
    if (!done) return done.error();
    return rows_;
  }

 private:
  Result<Done> take(const RawRow& row) {
    const auto shape = shape_of(row);
    const auto& values = row.values;
    Statement* into = nullptr;
    if (row.of_table && row.rowid >= 1 && shape == "nt") {
      into = &spec_.bind(row.rowid).bind(values[1].text);
    } else if (row.of_table && row.rowid >= 1 && is_job(shape)) {
      job_.bind(row.rowid);
      for (std::size_t i = 1; i < values.size(); ++i) bind(job_, values[i]);
      for (std::size_t i = values.size(); i < 7; ++i) job_.bind_null();
      into = &job_;
    } else if (row.of_table && row.rowid >= 1 && is_sweep(shape)) {
      into = &sweep_.bind(row.rowid);
      for (std::size_t i = 1; i < values.size(); ++i) bind(sweep_, values[i]);
    } else if (!row.of_table && shape == "iiit" && values[0].integer >= 1 && values[1].integer >= 0 &&
               values[3].text.starts_with('{')) {
      for (const auto& value : values) bind(event_, value);
      into = &event_;
    } else if (!row.of_table && shape == "ttt" && proto::parse_json(values[2].text, kStoredJson)) {
      for (const auto& value : values) bind(document_, value);
      into = &document_;
    }
    if (into == nullptr) return ok();
    ++rows_;
    return into->run();
  }

  /// The value is not copied.
  static void bind(Statement& statement, const RawValue& value) {
    if (value.kind == Kind::kNull)
      statement.bind_null();
    else if (value.kind == Kind::kInteger)
      statement.bind(value.integer);
    else
      statement.bind(value.text);
  }

  RawPages pages_;
  Database& db_;
  Statement job_, sweep_, spec_, event_, document_;
  std::int64_t rows_ = 0;
};

Result<Done> add_rows_of(const std::string& backup, Database& into) {
  auto attach = into.prepare("ATTACH ? AS backup");
  if (!attach) return attach.error();
  if (auto attached = attach->bind(backup).run(); !attached) return attached;
  auto specs = into.integer("SELECT count(*) FROM backup.sqlite_schema WHERE type='table' AND name='specs'");
  if (!specs) return specs.error();
  auto sweeps =
      into.integer("SELECT count(*) FROM backup.sqlite_schema WHERE type='table' AND name='sweeps'");
  if (!sweeps) return sweeps.error();
  std::string sql =
      "INSERT OR IGNORE INTO events SELECT job, number, at, json FROM backup.events;"
      "INSERT OR IGNORE INTO documents SELECT kind, name, value FROM backup.documents;";
  // Before schema 3 a spec was in event 0, and jobs had less to say.
  sql += *specs > 0 ? "INSERT OR IGNORE INTO specs SELECT id, json FROM backup.specs;"
                      "INSERT OR IGNORE INTO jobs SELECT id, ended, phase, snapshot, snapshot_events, spec, "
                      "submission FROM backup.jobs"
                    : "INSERT OR IGNORE INTO jobs SELECT id, ended, phase, snapshot, snapshot_events, NULL, "
                      "NULL FROM backup.jobs";
  if (*sweeps > 0)
    sql += ";INSERT OR IGNORE INTO sweeps SELECT id, ended, row, submission FROM backup.sweeps";
  return into.transaction([&] { return into.execute(sql); });
}

}  // namespace

Result<std::int64_t> salvage(const std::string& path, const std::string& into_dir,
                             const std::string& backup) {
  auto pages = RawPages::open(path);
  if (!pages) return pages.error();
  if (auto made = os::make_dirs(into_dir, 0700); !made) return made.error();
  auto opened = open_journal(into_dir, false);
  if (!opened) return opened.error();
  auto rows = Salvage(std::move(*pages), **opened).run();
  if (rows && !backup.empty())
    if (auto added = add_rows_of(backup, **opened); !added)
      return added.error().in("the rows of the backup " + backup);
  return rows;
}

}  // namespace rtrain::store
