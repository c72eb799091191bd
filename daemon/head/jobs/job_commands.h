// What users ask of jobs, alone or as arrays: submit, cancel, hold, release, yield.
#pragma once

#include "daemon/head/head_context.h"
#include "daemon/head/nodes/reservations.h"
#include "daemon/head/turn.h"

#include <functional>

namespace rtrain::head {

/// @thread the head's.
class JobCommands {
 public:
  JobCommands(HeadContext& context, Turn& turn, const Reservations& reservations)
      : context_(context), turn_(turn), reservations_(reservations) {}

  /// One job, or one for each index of an array: then the number is the array's, which is its first job's.
  /// kNotFound: it depends on a job that nobody knows. kInvalidArgument: its queue does not take it. A job
  /// without a time limit gets that of its queue. `submission`: the client's key; the number that was given
  /// out when it was used first comes back, and nothing is submitted (JobBook::submitted_before()).
  /// `validates`, `sweep`: of a job that the head submits itself.
  [[nodiscard]] Result<JobId> submit(proto::JobSpec spec, const std::string& user = {},
                                     const std::string& submission = {},
                                     std::optional<proto::ValidatedCheckpoint> validates = std::nullopt,
                                     std::optional<proto::SweepTrial> sweep = std::nullopt);
  /// Whether the reservation that the job names is there for the user; a job that names none may.
  [[nodiscard]] Result<Done> may_name_reservation_of(const proto::JobSpec& spec,
                                                     const std::string& user) const;
  [[nodiscard]] Result<Done> cancel(JobId id, const std::string& by);
  /// A held job that waits does not start until it is released; one that runs goes on.
  [[nodiscard]] Result<Done> hold(JobId id, const std::string& by);
  /// What a user held. kConflict as well for the job of a trial that is paused: its sweep releases it, as
  /// long as that goes on.
  [[nodiscard]] Result<Done> release(JobId id, const std::string& by);
  /// Who is asked whether a sweep goes on; nobody: none does.
  void ask_of_sweeps(std::function<bool(JobId)> goes_on) { sweep_goes_on_ = std::move(goes_on); }
  /// request_yield()
  [[nodiscard]] Result<Done> yield(JobId id, proto::YieldCause cause, const std::string& reason,
                                   double grace_s);
  /// What cancel, hold and release do, to every job of an array, or those with `indices`. The jobs that
  /// changed; when none did, the first refusal.
  [[nodiscard]] Result<std::vector<JobId>> for_array(JobId array,
                                                     const std::optional<std::vector<int>>& indices,
                                                     const proto::JobEvent& event);
  /// The job with this index of an array.
  [[nodiscard]] Result<JobId> member(JobId array, int index) const;

 private:
  [[nodiscard]] Result<std::vector<JobId>> members(JobId array,
                                                   const std::optional<std::vector<int>>& indices) const;

  HeadContext& context_;
  Turn& turn_;
  const Reservations& reservations_;
  std::function<bool(JobId)> sweep_goes_on_ = [](JobId) { return false; };
};

}  // namespace rtrain::head
