// Rules that can be broken on purpose, to see that a test notices. Only in builds with RTRAIN_FAULTS: in
// every other one on() is a constant and nothing of this is left in the program.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace rtrain::fault {

enum class Fault {
  kAckBeforeCommit,        ///< what follows from an event is told before the event is durable
  kConfirmBeforeCommit,    ///< an agent's messages are confirmed before they are durable
  kIdReuse,                ///< after a restart numbers count on from the jobs that live
  kAttemptNotChecked,      ///< a message of an older attempt counts for the current one
  kSeqNotChecked,          ///< a report that was seen before is taken again
  kDoubleFree,             ///< the resources of an attempt are freed twice
  kFreeEarly,              ///< they are free as soon as the attempt failed
  kNoLeaseStop,            ///< an agent whose lease ran out lets its ranks run
  kLeaseTooShort,          ///< the head gives a silent node up before its agent does
  kLoseOnDisconnect,       ///< ranks are given up when their agent's connection ends
  kLostIsSuccess,          ///< a rank without an exit record succeeded
  kRejoinNotCompared,      ///< ranks that their agent does not have any more are not missed
  kCancelNotStored,        ///< a cancel is applied and not journalled
  kReportNotStored,        ///< one report in five is applied and not journalled
  kOutboxForgets,          ///< what a broken connection swallowed is not sent again
  kOneRetryTooMany,        ///< max_failures is off by one
  kCordonIgnored,          ///< the scheduler does not hear of cordons and drains
  kNodeSettingNotStored,   ///< what operators say of a node is applied and not journalled
  kDrainDeadlineOff,       ///< nothing happens at the deadline of a drain
  kReservationIgnored,     ///< the scheduler does not hear of reservations
  kReservationNotStored,   ///< a reservation is applied and not journalled
  kDependencyNotChecked,   ///< a job does not wait for those that it depends on
  kArrayLimitOff,          ///< all jobs of an array may run at once
  kValidationForgotten,    ///< the end of a validation is not told to the job whose checkpoint it was
  kPromotionReleasesNone,  ///< a trial of a sweep is promoted and its job is not released
  kPauseKeepsPlace,        ///< a trial that is paused is held and does not yield
  kStopKeepsPlace,         ///< a trial that is stopped trains on
  kTrialSubmittedTwice,    ///< a head that starts submits the trials that run once more
  kSuggestionNotStored,    ///< the parameters of a trial are applied and not journalled
  kRungSkipped,            ///< a trial comes to a rung and is judged at the one after it
  kRedoneWorkDecides,      ///< a report of work that is done again comes to its rung again
  kStoppedSweepStarts,     ///< a sweep that stops still starts trials
  kFinishedIsPruned,       ///< a trial that has all that its schedule gives counts as pruned
  kPromotionLiftsHold,     ///< a promotion lifts the hold of a user, too
  kSweepLimitOff,          ///< no limit of a sweep is ever hit
  kPausedSweepPlaces,      ///< the jobs of a sweep that is paused start
  kReportsNotJudgedAgain,  ///< reports that a dead head had stored and not judged are passed over
  kPinNotSent,  ///< the rank that wrote a checkpoint does not hear that another job is to go on from it
  // In what the simulation leaves out: planted by tests/faults.
  kFolderNotSynced,      ///< the entry of a new metric file is not forced to the disk
  kLostStreamIsSuccess,  ///< a follower whose stream is lost for good says that the job succeeded
};
inline constexpr std::size_t kSimulated = 38;  ///< the first so many are in what is simulated
inline constexpr std::array<std::string_view, 40> kNames{"ack_before_commit",
                                                         "confirm_before_commit",
                                                         "id_reuse",
                                                         "attempt_not_checked",
                                                         "seq_not_checked",
                                                         "double_free",
                                                         "free_early",
                                                         "no_lease_stop",
                                                         "lease_too_short",
                                                         "lose_on_disconnect",
                                                         "lost_is_success",
                                                         "rejoin_not_compared",
                                                         "cancel_not_stored",
                                                         "report_not_stored",
                                                         "outbox_forgets",
                                                         "one_retry_too_many",
                                                         "cordon_ignored",
                                                         "node_setting_not_stored",
                                                         "drain_deadline_off",
                                                         "reservation_ignored",
                                                         "reservation_not_stored",
                                                         "dependency_not_checked",
                                                         "array_limit_off",
                                                         "validation_forgotten",
                                                         "promotion_releases_none",
                                                         "pause_keeps_place",
                                                         "stop_keeps_place",
                                                         "trial_submitted_twice",
                                                         "suggestion_not_stored",
                                                         "rung_skipped",
                                                         "redone_work_decides",
                                                         "stopped_sweep_starts",
                                                         "finished_is_pruned",
                                                         "promotion_lifts_hold",
                                                         "sweep_limit_off",
                                                         "paused_sweep_places",
                                                         "reports_not_judged_again",
                                                         "pin_not_sent",
                                                         "folder_not_synced",
                                                         "lost_stream_is_success"};

[[nodiscard]] constexpr std::optional<Fault> from_name(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i)
    if (kNames[i] == name) return static_cast<Fault>(i);
  return std::nullopt;
}

#ifdef RTRAIN_FAULTS
inline namespace can_be_planted {
inline std::uint64_t planted = 0;  ///< one bit each
inline void plant(std::optional<Fault> fault) {
  planted = fault ? std::uint64_t{1} << static_cast<int>(*fault) : 0;
}
[[nodiscard]] inline bool on(Fault fault) { return (planted >> static_cast<int>(fault) & 1) != 0; }
}  // namespace can_be_planted
#else
inline namespace never_planted {
[[nodiscard]] constexpr bool on(Fault) { return false; }
}  // namespace never_planted
#endif

}  // namespace rtrain::fault
