// A journal as heads before schema 3 (and 2) left it: each job's spec in its first event and its snapshot,
// with the job's own index in it.
#pragma once

#include "daemon/store/database.h"
#include "daemon/store/schema.h"
#include "tests/support/catch.h"

#include <string>

namespace rtrain::test {

/// Brings a closed journal back to that form.
inline void make_old_journal(const std::string& state_dir, int schema = 2) {
  auto database = *store::Database::open(store::journal_path(state_dir), store::Database::Mode::kReadWrite);
  std::string sql =
      "UPDATE events SET json=json_remove(json_set(json, '$.spec', json((SELECT specs.json FROM specs"
      " JOIN jobs ON jobs.spec=specs.id WHERE jobs.id=events.job))), '$.submission') WHERE number=0;"
      "UPDATE events SET json=json_set(json, '$.spec.train_loop_config.array_index',"
      " json_extract(json, '$.array.index')) WHERE number=0 AND json_type(json, '$.array')='object';"
      "UPDATE jobs SET snapshot=json_remove(json_set(snapshot, '$.spec', json((SELECT"
      " json_extract(events.json, '$.spec') FROM events WHERE events.job=jobs.id AND number=0))),"
      " '$.submission') WHERE snapshot IS NOT NULL;"
      "DROP TABLE sweeps; DROP INDEX jobs_spec; DROP INDEX jobs_submission; DROP TABLE specs;"
      "ALTER TABLE jobs DROP COLUMN spec; ALTER TABLE jobs DROP COLUMN submission;";
  if (schema < 2) sql += "DROP INDEX jobs_ended_as;";
  const auto done = database->execute(sql + "PRAGMA user_version=" + std::to_string(schema));
  INFO((done ? "" : done.error().message()));
  REQUIRE(done.has_value());
}

}  // namespace rtrain::test
