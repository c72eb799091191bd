#include "daemon/head/dispatcher.h"

#include "common/base/fault.h"
#include "common/log/log.h"

#include <algorithm>

namespace rtrain::head {
namespace {

constexpr std::chrono::seconds kSuspicionStep{10}, kEpochStep{1};

}  // namespace

const store::SetAside* StartReport::find(JobId id) const {
  const auto found = std::ranges::find(set_aside, id, &store::SetAside::job);
  return found == set_aside.end() ? nullptr : &*found;
}

Dispatcher::Dispatcher(proto::HeadConfig config, JobBook::Store store, store::Recovered recovered,
                       ChangeSink changed, Clock clock, std::string origin)
    : context_(std::move(config), store, std::move(clock), std::move(origin)),
      changed_(std::move(changed)),
      turn_(context_.book, context_.clock, *this),
      controllers_(context_, turn_, rows_, changed_),
      start_report_{context_.wall(), std::move(recovered.set_aside)} {
  recover(std::move(recovered));
}

void Dispatcher::recover(store::Recovered recovered) {
  auto& [launcher, timers, debugging, hangs, profiling, reservations, eligibility, scheduling, commands,
         validations, sweeps, node_admin, retention] = controllers_;
  auto& book = context_.book;
  scheduling.recover(recovered.documents);
  book.recover(std::move(recovered.jobs), recovered.ended, context_.wall());
  for (const auto id : book.active()) {
    for (const auto& rank : context_.state(id).ranks)
      context_.nodes.expect(rank.placement.node, context_.now());
    scheduling.on_allocated(id);
  }
  for (const auto& [id, record] : book.all()) timers.recover(record.state);
  for (const auto id : book.active()) eligibility.adopt(context_.state(id));
  for (const auto id : book.validating()) eligibility.adopt(context_.state(id));
  for (const auto id : book.queue()) eligibility.on_queued(id);
  node_admin.recover(recovered.documents);
  debugging.recover(recovered.documents);
  reservations.recover(recovered.documents);
  for (const auto id : book.queue()) scheduling.sync(id);
  validations.recover();
  sweeps.recover(std::move(recovered.sweeps), recovered.documents);
  scheduling.open();
  recovering_ = false;
}

// ---- effects of events --------------------------------------------------------------------------

void Dispatcher::on_touched(JobId id) {
  controllers_.scheduling.sync(id);
  if (!recovering_) changed_(id);
}

void Dispatcher::on_action(JobId id, const core::Action& action) {
  std::visit([&](const auto& one) { on(id, one); }, action);
}

void Dispatcher::on(JobId id, const core::LaunchAttempt&) {
  controllers_.scheduling.on_allocated(id);
  controllers_.eligibility.on_started(id);
  controllers_.timers.on_placed(id);
  controllers_.launcher.reserve_port(id);
  controllers_.sweeps.on_started(id);
}

void Dispatcher::on(JobId id, const core::StopRanks& stop) {
  controllers_.debugging.explain_failure(id);
  controllers_.launcher.stop(id, stop);
}

void Dispatcher::on(JobId id, const core::YieldRanks& yield) { controllers_.launcher.yield(id, yield); }

/// Whoever caused it asks for a pass.
void Dispatcher::on(JobId id, const core::EnterQueue&) {
  controllers_.eligibility.on_queued(id);
  controllers_.timers.on_queued(id);
}

void Dispatcher::on(JobId id, const core::LeaveQueue&) { controllers_.eligibility.on_held(id); }

void Dispatcher::on(JobId id, const core::BlameNode& blamed) {
  context_.nodes.blame(blamed.node, id, blamed.why, context_.now());
}

void Dispatcher::on(JobId id, const core::StartValidation& validation) {
  controllers_.validations.start(id, validation.index);
}

void Dispatcher::on(JobId id, const core::TellValidated& validated) {
  controllers_.validations.send_validated(id, validated.index, controllers_.launcher.living_nodes(id));
}

void Dispatcher::on(JobId id, const core::CancelValidations&) { controllers_.validations.cancel_all(id); }

void Dispatcher::on(JobId id, const core::EndJob&) {
  context_.deadlines.clear(id, DueFor::kValidation);
  controllers_.eligibility.on_ended(id);
  controllers_.validations.on_ended(id);
  log::info("job ended without an attempt",
            {{"job", to_string(id)}, {"state", std::string(core::to_string(context_.state(id).phase))}});
  turn_.request_pass();
}

void Dispatcher::on(JobId id, const core::JudgeReport&) { controllers_.sweeps.on_report(id); }

void Dispatcher::on(JobId id, const core::EndTrial&) { controllers_.sweeps.on_ended(id); }

void Dispatcher::on(JobId id, const core::FreeResources&) {
  const auto& state = context_.state(id);
  controllers_.sweeps.on_released(id);
  controllers_.scheduling.on_released(id);
  if (fault::on(fault::Fault::kDoubleFree))
    context_.nodes.release_twice(placements_of(state), state.spec->scaling_config.resources());
  controllers_.launcher.on_released(id);
  controllers_.timers.on_ended(id);
  controllers_.hangs.on_ended(id);
  controllers_.debugging.on_attempt_ended(id);
  if (state.phase == core::JobPhase::kValidating) controllers_.validations.await_children(id);
  if (core::is_terminal(state.phase)) {
    controllers_.eligibility.on_ended(id);
    controllers_.validations.on_ended(id);
  }
  log::info("attempt ended", {{"job", to_string(id)},
                              {"attempt", to_string(state.attempt)},
                              {"state", std::string(core::to_string(state.phase))},
                              {"error", state.error ? state.error->message : ""}});
  for (const auto& rank : state.ranks)
    if (rank.placement.local_rank == 0) controllers_.node_admin.log_if_drained(rank.placement.node);
  turn_.request_pass();
}

// ---- agents -------------------------------------------------------------------------------------

Result<Done> Dispatcher::agent_joins(const std::shared_ptr<AgentLine>& session, const proto::Hello& hello) {
  auto joined = context_.nodes.join(*hello.node, session, context_.now(),
                                    std::chrono::duration<double>(context_.overdue_s()));
  if (joined) controllers_.node_admin.apply_setting(hello.node->name);
  return joined;
}

void Dispatcher::agent_joined(const std::shared_ptr<AgentLine>& session, const proto::Hello& hello) {
  const std::string& name = session->node();
  log::info(
      "agent connected",
      {{"node", name}, {"address", hello.node->address}, {"ranks", std::to_string(hello.running.size())}});
  const std::set<proto::RankKey> running(hello.running.begin(), hello.running.end());
  auto& launcher = controllers_.launcher;
  launcher.drop_missing(name, running);
  std::set<std::pair<JobId, Attempt>> seen;
  for (const auto& key : running) {
    if (!seen.insert({key.job, key.attempt}).second) continue;
    launcher.stop_unwanted(session, key.job, key.attempt, controllers_.node_admin.is_drain_over(name));
    if (!context_.book.is_current(key.job, key.attempt)) continue;
    controllers_.validations.send_all_validated(key.job, name);
    controllers_.sweeps.send_pins(key.job);
  }
  controllers_.node_admin.evacuate(name);  // a head that died in the middle of a drain has not asked all
  turn_.request_pass();
}

void Dispatcher::agent_left(AgentLine& session) {
  if (!context_.nodes.leave(session)) return;
  controllers_.launcher.agent_left(session.node());
  turn_.request_pass();
}

/// What a rank of the current attempt sent.
template <class RankMessage>
void Dispatcher::on_rank_message(AgentLine& session, RankMessage& m) {
  if (!controllers_.launcher.lives_on(m.key, session.node()))
    return log::debug("a message of an older attempt or another node's rank is skipped",
                      {{"node", session.node()}, {"rank", to_string(m.key)}});
  if (fault::on(fault::Fault::kAttemptNotChecked)) m.key.attempt = context_.state(m.key.job).attempt;
  const auto id = m.key.job;
  if constexpr (std::is_same_v<RankMessage, proto::RankStarted>) {
    turn_.post(id, proto::RankForked{m.key.attempt, m.key.rank, m.pid});
  } else if constexpr (std::is_same_v<RankMessage, proto::RankRunning>) {
    turn_.post(id, proto::RankEntered{m.key.attempt, m.key.rank});
  } else if constexpr (std::is_same_v<RankMessage, proto::RankReport>) {
    if (m.key.rank == 0)
      turn_.post(id, proto::MetricsReported{m.key.attempt, m.seq, std::move(m.metrics),
                                            std::move(m.checkpoint), std::move(m.deleted_checkpoints)});
  } else if constexpr (std::is_same_v<RankMessage, proto::RankProgress>) {
    controllers_.hangs.on_progress(m);
    const bool stepped = m.stage == "train" && (m.epoch > 0 || m.step > 0);
    if (stepped && !context_.state(id).first_step) turn_.post(id, proto::FirstStep{m.key.attempt});
    if (m.key.rank == 0 && context_.book.set_progress(id, m.key.attempt,
                                                      {m.stage, m.epoch, m.max_epochs, m.step, m.steps,
                                                       m.steps_per_s, std::move(m.prog_bar)}))
      turn_.touch(id);
  } else if constexpr (std::is_same_v<RankMessage, proto::RankDiagnosis>) {
    controllers_.hangs.on_diagnosis(std::move(m));
  } else if constexpr (std::is_same_v<RankMessage, proto::RankProfile>) {
    controllers_.profiling.on_profile(m);
  } else if constexpr (std::is_same_v<RankMessage, proto::RankDebug>) {
    if (controllers_.debugging.on_answer(std::move(m))) controllers_.hangs.judge(id);
  } else if constexpr (std::is_same_v<RankMessage, proto::RankEnded>) {
    turn_.post(id, proto::RankFinished{m.key.attempt, m.key.rank, m.status, std::move(m.error),
                                       std::move(m.return_value), m.yielded});
  } else {
    refuse(session, proto::message_name(proto::Message(m)));
  }
}

/// No agent sends this.
void Dispatcher::refuse(AgentLine& session, std::string_view message) {
  log::warn("unexpected message", {{"node", session.node()}, {"message", std::string(message)}});
  session.close();
}

void Dispatcher::agent_says(AgentLine& session, proto::Message message) {
  if (context_.nodes.session(session.node()).get() != &session) return;  // a connection that was replaced
  context_.nodes.heard(session.node(), context_.now());
  std::visit(
      [&](auto& m) {
        using T = std::decay_t<decltype(m)>;
        if constexpr (requires { m.key.attempt; }) {
          on_rank_message(session, m);
        } else if constexpr (std::is_same_v<T, proto::Heartbeat>) {
        } else if constexpr (std::is_same_v<T, proto::Leaving>) {
          context_.nodes.leaving(session.node());
        } else if constexpr (std::is_same_v<T, proto::NodeHealth>) {
          controllers_.node_admin.on_health(session.node(), m);
        } else if constexpr (std::is_same_v<T, proto::PortReserved>) {
          controllers_.launcher.on_port_reserved(session.node(), m);
        } else {
          refuse(session, proto::message_name(proto::Message(m)));
        }
      },
      message);
}

// ---- time ---------------------------------------------------------------------------------------

void Dispatcher::lose_silent_nodes() {
  const std::chrono::duration<double> silence(
      fault::on(fault::Fault::kLeaseTooShort) ? context_.config.lease_s / 2 : context_.lost_after_s());
  const auto lost = context_.nodes.lose_silent(context_.now(), silence);
  for (const auto& name : lost) {
    log::warn("node lost", {{"node", name}, {"silent_s", std::to_string(silence.count())}});
    controllers_.launcher.on_node_lost(name);
  }
  if (!lost.empty()) turn_.request_pass();
}

void Dispatcher::do_due(const Deadlines::Due& due) {
  if (context_.book.find(due.id) == nullptr) return;
  switch (due.what) {
    case DueFor::kTimeLimit: return controllers_.timers.on_time_limit(due.id);
    case DueFor::kYieldGrace: return controllers_.launcher.on_grace_over(due.id);
    case DueFor::kRetry: turn_.touch(due.id); return turn_.request_pass();
    case DueFor::kHang: return controllers_.hangs.judge(due.id);
    case DueFor::kValidation: return controllers_.validations.on_timeout(due.id);
  }
}

void Dispatcher::tick() {
  lose_silent_nodes();
  for (const auto& due : context_.deadlines.take_due(context_.now())) do_due(due);
  controllers_.node_admin.end_drains();
  controllers_.reservations.expire();
  controllers_.eligibility.release_begin_times();
  controllers_.validations.tick();
  controllers_.sweeps.tick();
  controllers_.scheduling.tick();
  controllers_.retention.tick();
  const auto now = context_.now();
  if (now - epoch_began_ >= kEpochStep) {
    epoch_began_ = now;
    ++context_.epoch;
  }
  if (now - suspicion_aged_ < kSuspicionStep) return;
  suspicion_aged_ = now;
  context_.nodes.age_suspicion(now);
}

}  // namespace rtrain::head
