// One turn of the head: an event, and all that follows from it, until nothing is due any more. The jobs say
// what must be done as values (core::Action); controllers do it, and what they know of other jobs by then
// they post as events. So no controller is called while another one stands on the stack.
#pragma once

#include "daemon/head/clock.h"
#include "daemon/head/jobs/job_book.h"

#include <span>
#include <variant>

namespace rtrain::head {

/// Carries out what a turn brings. None of these may call Turn::apply(): they post.
class TurnHandler {
 public:
  TurnHandler() = default;
  TurnHandler(const TurnHandler&) = delete;
  TurnHandler& operator=(const TurnHandler&) = delete;
  virtual ~TurnHandler() = default;
  virtual void on_action(JobId id, const core::Action& action) = 0;
  /// The job is not what it was, or may start now, or may not: once a turn for each, when all its actions are
  /// done.
  virtual void on_touched(JobId id) = 0;
  /// Something changed that the scheduler must look at.
  virtual void on_pass_requested() = 0;
  /// The turn is over: events may be applied again.
  virtual void on_end() = 0;
};

/// Works depth first: what follows from an action is done before the next action, as if it had been called.
/// @thread the head's.
class Turn {
 public:
  /// All must outlive it.
  Turn(JobBook& book, const Clock& clock, TurnHandler& handler)
      : book_(book), clock_(clock), handler_(handler) {}

  /// A turn that begins with this event. The refusal of the event, as JobBook::apply(); that of an event that
  /// was posted is logged. Throws std::logic_error within a turn.
  [[nodiscard]] Result<Done> apply(JobId id, proto::JobEvent event);
  /// The event is applied when what called this is done; outside of a turn it begins one. An event that is
  /// refused is logged: an agent sends again what was not confirmed before a connection broke.
  void post(JobId id, proto::JobEvent event);
  /// Likewise, in this order.
  void post(JobId id, std::vector<proto::JobEvent> events);
  /// JobBook::submit(), and what follows; within a turn this comes later, as with post().
  [[nodiscard]] Result<JobId> submit(proto::JobSpec spec, const QueueRoom& room, const std::string& user,
                                     const std::string& submission,
                                     std::optional<proto::ValidatedCheckpoint> validates,
                                     std::optional<proto::SweepTrial> sweep);
  /// TurnHandler::on_touched() at the end of this turn; outside of one, at once.
  void touch(std::span<const JobId> ids);
  void touch(JobId id) { touch(std::span(&id, 1)); }
  void request_pass() { handler_.on_pass_requested(); }

  [[nodiscard]] bool running() const { return running_; }

 private:
  struct Due {
    JobId id;
    std::variant<proto::JobEvent, core::Action> what;
  };
  class Running;
  void apply_posted(JobId id, proto::JobEvent event);
  /// What JobBook said is due next.
  void take_applied();
  void work();
  /// A turn of what was posted; within one it comes later.
  void work_off();
  void sync();

  JobBook& book_;
  const Clock& clock_;
  TurnHandler& handler_;
  // Kept between turns for their memory.
  Applied applied_;
  std::vector<Due> stack_;   ///< what is due, the next one last
  std::vector<Due> posted_;  ///< by what is being done, in order
  std::vector<JobId> touched_;
  bool running_ = false;
};

}  // namespace rtrain::head
