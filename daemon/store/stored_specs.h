// Where the journal keeps the specs of jobs: each once, in a table of its own, named by the jobs that have
// it.
#pragma once

#include "daemon/core/job.h"
#include "daemon/store/database.h"

namespace rtrain::store {

/// Reads the specs that events and snapshots leave out. Those of a journal before schema 3 are in each job's
/// first event; the jobs of an array get one of them together all the same.
/// @thread the connection's. @lifetime the database outlives it
class StoredSpecs {
 public:
  StoredSpecs() = default;
  /// Also for a journal of an older schema, which has no table of specs.
  [[nodiscard]] static Result<StoredSpecs> open(Database& database);

  /// Gives the value its spec when it has none. kIo: the journal has no spec of that job, or one that cannot
  /// be read.
  [[nodiscard]] Result<Done> complete(JobId id, proto::JobSubmitted& event);
  [[nodiscard]] Result<Done> complete(core::JobState& state);

 private:
  [[nodiscard]] Result<Done> complete(JobId id, const std::optional<proto::ArrayTask>& array,
                                      proto::SharedSpec& spec);
  /// A spec with the index of one job of an array in it, as it was stored before schema 3, becomes the
  /// array's.
  void share(const proto::ArrayTask& array, proto::SharedSpec& spec);
  [[nodiscard]] Result<proto::SharedSpec> of(JobId id, const std::optional<proto::ArrayTask>& array);
  [[nodiscard]] Result<proto::SharedSpec> in_first_event(JobId id);

  Statement number_, spec_, first_event_;
  bool has_table_ = false;
  // The newest one read: the jobs of an array are read one after the other.
  std::int64_t last_id_ = 0;
  proto::SharedSpec last_;
  JobId shared_array_;
  std::string shared_text_;  ///< of the spec that the jobs of shared_array_ share, from an older journal
  proto::SharedSpec shared_;
};

/// The number under which a job's spec is stored: that of its array, which is its first job's.
[[nodiscard]] std::int64_t spec_number(JobId id, const std::optional<proto::ArrayTask>& array);

}  // namespace rtrain::store
