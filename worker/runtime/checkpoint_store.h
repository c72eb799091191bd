// Checkpoints in storage: <run_dir>/checkpoint_000003 appears whole or not at all.
#pragma once

#include "common/base/result.h"
#include "proto/message/types.h"

#include <cstdint>
#include <string>
#include <vector>

namespace rtrain::runtime {

/// One attempt's hand in the run's folder. Every rank stages its files into
/// <run_dir>/.checkpoint_report_000007.tmp-<attempt>/ (the number of the report, which all ranks know); when
/// all have, rank 0 publishes it by a rename. Errors are kIo and name the path and the cause (no space left,
/// quota, read-only).
/// A published checkpoint has a checksums.json (proto/tensors/checksums.h) of all its files. Each rank
/// computes those of what it brings, all at the same time, and leaves them beside the staged folder, in
/// .checkpoint_report_000007.tmp-<attempt>.sums-<rank>; rank 0 joins them. Files whose checksums stand in a
/// checksums.json of the source, as in a folder of Trainer, are not read.
/// @thread the training thread.
class CheckpointStore {
 public:
  CheckpointStore(std::string run_dir, std::int64_t attempt, int rank, int world_size = 1);

  /// Removes what older attempts left half-written. Rank 0, before the first checkpoint.
  [[nodiscard]] Result<Done> remove_leftovers() const;
  /// A folder of this rank to make a checkpoint in, empty and below the run's folder: what a rank that is
  /// killed leaves there goes with the other leftovers. Its files are moved by stage(), not copied.
  [[nodiscard]] Result<std::string> make_scratch() const;
  /// Why a folder cannot be brought as a checkpoint: it is the run's folder, holds it, or is one of its
  /// checkpoints. kInvalidArgument.
  [[nodiscard]] Result<Done> accepts(const std::string& source) const;
  /// Copies the files below `source` (all folders, regular files and what symbolic links point to) and fsyncs
  /// them. Of files that several ranks bring under one name, the last stays.
  /// @param may_move nobody needs them where they are: files below the run's folder are moved
  [[nodiscard]] Result<Done> stage(const std::string& source, std::int64_t report,
                                   bool may_move = false) const;
  /// Why a name cannot be that of a checkpoint: it is empty, hidden, a path, or one of the form
  /// checkpoint_<n>. kInvalidArgument.
  [[nodiscard]] static Result<Done> accepts_name(const std::string& name);
  /// Makes the staged folder visible under its name and lasting. What an attempt published but never told the
  /// head is replaced.
  /// @param name below the run's folder; empty: checkpoint_<index>
  /// @param kept the checkpoints of the job, none of which is replaced. kInvalidArgument: `name` is one of
  ///        them, or something else is there.
  [[nodiscard]] Result<Done> publish(std::int64_t report, std::int64_t index, const std::string& name = {},
                                     const std::vector<proto::CheckpointRecord>& kept = {}) const;
  /// True for a path below the run's folder.
  [[nodiscard]] bool owns(const std::string& path) const;
  /// Removes what stage() wrote, after a failure.
  void discard(std::int64_t report) const;
  /// Removes published checkpoints; gone from the name space before their files are. One that is not below
  /// the run's folder stays. Returns the paths that need no further try.
  [[nodiscard]] std::vector<std::string> remove(
      const std::vector<proto::CheckpointRecord>& checkpoints) const;
  /// <run_dir>/checkpoint_000003 for index 3
  [[nodiscard]] std::string path(std::int64_t index) const;

 private:
  /// Of what the ranks staged. Where two ranks brought one name, the file that is there counts.
  [[nodiscard]] Result<Done> write_sums(std::int64_t report) const;
  void remove_sums(std::int64_t report) const;
  [[nodiscard]] std::string scratch_path() const;
  [[nodiscard]] std::string staging_path(std::int64_t report) const;
  [[nodiscard]] std::string sums_path(std::int64_t report, int rank) const;
  [[nodiscard]] std::string hidden_path(std::int64_t index) const;  // of a checkpoint on its way out
  std::string run_dir_, suffix_;
  std::int64_t attempt_;
  int rank_, world_size_;
};

}  // namespace rtrain::runtime
