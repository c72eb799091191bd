// Checkpoints that are validated beside the training: a job for each, and what its end says.
#pragma once

#include "daemon/head/jobs/job_commands.h"
#include "daemon/head/scheduling/scheduling.h"

namespace rtrain::head {

/// `parent`: the job whose checkpoint is validated; `child`: the job that does it.
/// @thread the head's.
class Validations {
 public:
  Validations(HeadContext& context, Turn& turn, JobCommands& commands, const Scheduling& scheduling)
      : context_(context), turn_(turn), commands_(commands), scheduling_(scheduling) {}

  /// Left for the next tick when there is no room for the child in the queue, or on the disk.
  void start(JobId parent, std::int64_t index);
  /// The job has ended: whatever it validates is told.
  void on_ended(JobId child);
  /// Of the parent: those that have not ended.
  void cancel_all(JobId parent);
  /// The ranks of the parent are gone. What is in the queue when the time is over will not start in time.
  void await_children(JobId parent);
  /// That time is over.
  void on_timeout(JobId parent);
  /// To the ranks of the parent's attempt, or those on one node.
  void send_validated(JobId parent, std::int64_t index, const std::set<std::string>& nodes);
  void send_all_validated(JobId parent, const std::string& node);
  /// Children that found no room.
  void tick();
  /// After a start of the head. Submission and end of a validation are stored together with what they mean
  /// for the parent, so that only those are to do that had not begun.
  void recover();

 private:
  void end(JobId parent, proto::ValidationEnded ended);
  [[nodiscard]] std::vector<std::pair<std::int64_t, JobId>> children_of(JobId parent) const;
  void send(JobId parent, const proto::CheckpointRecord& checkpoint, const std::string& node);

  HeadContext& context_;
  Turn& turn_;
  JobCommands& commands_;
  const Scheduling& scheduling_;
  /// by parent and index of the checkpoint: the children that have not ended
  std::map<std::pair<JobId, std::int64_t>, JobId> running_;
  std::set<std::pair<JobId, std::int64_t>> unstarted_;  ///< no room for their jobs so far
};

}  // namespace rtrain::head
