// The head without its sockets: agents come in, time passes, and what a turn brings goes to the controller
// that it belongs to.
#pragma once

#include "daemon/head/controllers.h"

namespace rtrain::head {

/// What the store had when this head started.
struct StartReport {
  proto::UnixMs started_ms = 0;
  std::vector<store::SetAside> set_aside;  ///< what could not be read
  /// Null: the job was not set aside.
  [[nodiscard]] const store::SetAside* find(JobId id) const;
};

/// @thread the head's.
class Dispatcher : private TurnHandler {
 public:
  using ChangeSink = std::function<void(JobId)>;
  /// The store must outlive it. Goes on where the store's last words left off: nodes that held ranks get a
  /// full lease from now. `changed` is not called before the constructor has returned.
  Dispatcher(proto::HeadConfig config, JobBook::Store store, store::Recovered recovered, ChangeSink changed,
             Clock clock = Clock::real(), std::string origin = {});

  /// May it? Then Welcome goes out, and agent_joined() follows.
  [[nodiscard]] Result<Done> agent_joins(const std::shared_ptr<AgentLine>& session,
                                         const proto::Hello& hello);
  void agent_joined(const std::shared_ptr<AgentLine>& session, const proto::Hello& hello);
  void agent_left(AgentLine& session);
  void agent_says(AgentLine& session, proto::Message message);
  /// Some times a second. Nodes whose silence lasted longer than their lease are lost, and the ranks on them;
  /// what is due for a job is done: its time limit, the end of its grace to yield, its retry, the verdict on
  /// a hang.
  void tick();

  [[nodiscard]] JobCommands& commands() { return controllers_.commands; }
  [[nodiscard]] Profiling& profiling() { return controllers_.profiling; }
  [[nodiscard]] Debugging& debugging() { return controllers_.debugging; }
  [[nodiscard]] Sweeps& sweeps() { return controllers_.sweeps; }
  [[nodiscard]] const Sweeps& sweeps() const { return controllers_.sweeps; }
  [[nodiscard]] Retention& retention() { return controllers_.retention; }
  [[nodiscard]] NodeAdmin& node_admin() { return controllers_.node_admin; }
  [[nodiscard]] const NodeAdmin& node_admin() const { return controllers_.node_admin; }
  [[nodiscard]] ReservationTable& reservations() { return controllers_.reservations; }
  [[nodiscard]] const ReservationTable& reservations() const { return controllers_.reservations; }
  [[nodiscard]] Scheduling& scheduling() { return controllers_.scheduling; }
  [[nodiscard]] const Scheduling& scheduling() const { return controllers_.scheduling; }
  [[nodiscard]] const Launcher& launcher() const { return controllers_.launcher; }

  [[nodiscard]] const HeadContext& context() const { return context_; }
  [[nodiscard]] const JobBook& jobs() const { return context_.book; }
  [[nodiscard]] NodeTable& nodes() { return context_.nodes; }
  [[nodiscard]] const NodeTable& nodes() const { return context_.nodes; }
  /// What the outside may be told, and when.
  [[nodiscard]] OutputGate& gate() { return context_.gate; }
  [[nodiscard]] JobRows& rows() { return rows_; }
  [[nodiscard]] const StartReport& start_report() const { return start_report_; }

 private:
  void recover(store::Recovered recovered);
  void lose_silent_nodes();
  void do_due(const Deadlines::Due& due);
  template <class RankMessage>
  void on_rank_message(AgentLine& session, RankMessage& message);
  static void refuse(AgentLine& session, std::string_view message);

  // TurnHandler
  void on_action(JobId id, const core::Action& action) override;
  void on_touched(JobId id) override;
  void on_pass_requested() override { controllers_.scheduling.request_pass(); }
  void on_end() override { controllers_.scheduling.on_turn_end(); }
  // One for each action: a forgotten one does not compile.
  void on(JobId id, const core::LaunchAttempt& launch);
  void on(JobId id, const core::StopRanks& stop);
  void on(JobId id, const core::FreeResources& freed);
  void on(JobId id, const core::EnterQueue& entered);
  void on(JobId id, const core::LeaveQueue& left);
  void on(JobId id, const core::YieldRanks& yield);
  void on(JobId id, const core::BlameNode& blamed);
  void on(JobId id, const core::StartValidation& validation);
  void on(JobId id, const core::TellValidated& validated);
  void on(JobId id, const core::CancelValidations& cancelled);
  void on(JobId id, const core::EndJob& end);
  void on(JobId id, const core::JudgeReport& report);
  void on(JobId id, const core::EndTrial& end);

  HeadContext context_;
  ChangeSink changed_;
  JobRows rows_;
  Turn turn_;
  Controllers controllers_;
  StartReport start_report_;
  SteadyTime epoch_began_{};
  SteadyTime suspicion_aged_{};
  bool recovering_ = true;
};

}  // namespace rtrain::head
