#include "daemon/head/attempts/launcher.h"

#include "common/base/fault.h"

#include <algorithm>

namespace rtrain::head {
namespace {

constexpr std::size_t kCheckpointsWithoutRetention = 100;

/// The earlier checkpoints that a launch carries: with all their metrics while those are small, else with the
/// score alone that retention ranks them by, and without retention the newest of them. A message has a limit:
/// a long job that outgrew it could never start again.
std::vector<proto::CheckpointRecord> launch_checkpoints(const core::JobState& state) {
  constexpr std::size_t kMetricsBytesMax = 2u << 20;
  auto checkpoints = state.checkpoints;
  std::size_t bytes = 0;
  for (const auto& checkpoint : checkpoints) bytes += proto::dump_json(checkpoint.metrics).size();
  if (bytes <= kMetricsBytesMax) return checkpoints;
  const auto& config = state.spec->run_config.checkpoint_config;
  if (!config.num_to_keep && checkpoints.size() > kCheckpointsWithoutRetention)
    checkpoints.erase(checkpoints.begin(), checkpoints.end() - kCheckpointsWithoutRetention);
  for (auto& checkpoint : checkpoints) {
    const auto score = checkpoint.metrics.find(config.checkpoint_score_attribute);
    checkpoint.metrics = score == checkpoint.metrics.end()
                             ? proto::Json::object()
                             : proto::Json{{config.checkpoint_score_attribute, *score}};
    if (checkpoint.validation) checkpoint.validation->fn_kwargs = proto::Json::object();
  }
  return checkpoints;
}

const std::string& first_node(const core::JobState& state) { return state.ranks[0].placement.node; }

std::string away(const std::string& node) { return "node " + node + " went away before the launch"; }

}  // namespace

proto::Launch launch_of(const core::JobState& state, int master_port, const std::string& master_addr) {
  proto::Launch launch;
  launch.job = state.id;
  launch.attempt = state.attempt;
  launch.run_name = state.run_name;
  launch.run_dir = state.run_dir;
  launch.submitted_ms = state.submitted_ms;
  launch.world_size = static_cast<int>(state.ranks.size());
  launch.master_addr = master_addr;
  launch.master_port = master_port;
  launch.checkpoints = launch_checkpoints(state);
  launch.next_checkpoint_index = state.next_checkpoint_index;
  launch.array = state.array;
  launch.validates = state.validates;
  launch.sweep = state.sweep;
  return launch;
}

// ---- to the nodes -------------------------------------------------------------------------------

void Launcher::reserve_port(JobId id) {
  const auto& state = context_.state(id);
  const auto attempt = state.attempt;
  unlaunched_[id] = attempt;
  const std::string first = first_node(state);
  const auto session = context_.nodes.session(first);
  send_when_durable(context_.gate, session, proto::ReservePort{id, attempt},
                    [this, id, attempt, first, session] {
                      const auto waiting = unlaunched_.find(id);
                      if (waiting == unlaunched_.end() || waiting->second != attempt) return;
                      // another connection has taken its place, and was asked
                      if (context_.nodes.session(first) != session) return;
                      unlaunched_.erase(waiting);
                      lose_ranks(id, away(first));
                    });
}

void Launcher::on_port_reserved(const std::string& node, const proto::PortReserved& answer) {
  const auto waiting = unlaunched_.find(answer.job);
  if (waiting == unlaunched_.end() || waiting->second != answer.attempt) return;  // cancelled meanwhile
  if (answer.error.empty()) return launch(answer.job, answer.port);
  unlaunched_.erase(waiting);
  lose_ranks(answer.job, "no port could be reserved on node " + node + ": " + answer.error);
}

void Launcher::launch(JobId id, int master_port) {
  const auto& state = context_.state(id);
  unlaunched_.erase(id);
  auto launch = launch_of(state, master_port, context_.nodes.find(first_node(state))->view.info.address);
  if (pins_of_) launch.pins = pins_of_(id);
  std::map<int, std::vector<proto::RankPlacement>> by_node;
  for (const auto& rank : state.ranks) by_node[rank.placement.node_rank].push_back(rank.placement);
  launch.num_nodes = static_cast<int>(by_node.size());
  std::vector<std::pair<std::shared_ptr<AgentLine>, std::vector<proto::RankPlacement>>> all;
  for (auto& [node_rank, ranks] : by_node) {
    auto session = context_.nodes.session(ranks[0].node);
    all.emplace_back(std::move(session), std::move(ranks));
  }
  context_.gate.after_events([this, id, launch = std::move(launch), spec = state.spec, all = std::move(all)] {
    // The spec may be large: it is copied here, once for all nodes.
    proto::Message message(launch);
    auto& to_node = std::get<proto::Launch>(message);
    to_node.spec = core::spec_of_rank(spec, launch.array);
    std::vector<std::string> gone;
    for (const auto& [session, ranks] : all) {
      to_node.ranks = ranks;
      if (!session || !session->send(message)) gone.push_back(ranks[0].node);
    }
    // Only now: the end of the attempt must reach no node before its launch does.
    for (const auto& name : gone)
      if (context_.book.is_current(id, launch.attempt)) lose_ranks_on(name, id, away(name));
  });
}

void Launcher::stop(JobId id, const core::StopRanks& stop) {
  if (unlaunched_.erase(id) > 0) return lose_ranks(id, "was never started: " + stop.reason);
  for (const auto& name : living_nodes(id))
    send_when_durable(context_.gate, context_.nodes.session(name),
                      proto::StopAttempt{id, stop.attempt, stop.grace_s, stop.reason});
}

void Launcher::yield(JobId id, const core::YieldRanks& yield) {
  if (unlaunched_.erase(id) > 0) return lose_ranks(id, "was never started: " + yield.reason);
  context_.deadlines.set(id, DueFor::kYieldGrace, context_.now() + from_seconds(yield.grace_s));
  for (const auto& name : living_nodes(id))
    send_when_durable(context_.gate, context_.nodes.session(name),
                      proto::YieldAttempt{id, yield.attempt, yield.grace_s, yield.reason});
}

void Launcher::on_grace_over(JobId id) {
  const auto& state = context_.state(id);
  if (state.phase != core::JobPhase::kStopping || !state.yield) return;
  stop(id, {state.attempt, core::kFailureGraceS, "did not yield in time: " + state.yield->reason});
}

// ---- agents -------------------------------------------------------------------------------------

void Launcher::drop_missing(const std::string& node, const std::set<proto::RankKey>& running) {
  const auto active = context_.book.active();
  for (const auto id : active) {
    const auto& state = context_.state(id);
    if (unlaunched_.contains(id)) {
      // The question may have gone into a connection that was dead. Of two answers the first one counts.
      if (first_node(state) == node) reserve_port(id);
      continue;
    }
    if (fault::on(fault::Fault::kRejoinNotCompared)) continue;
    const auto attempt = state.attempt;
    lose_ranks_where(
        id, "the agent of node " + node + " came back without it", [&](const core::RankState& rank) {
          return rank.placement.node == node && !running.contains({id, attempt, rank.placement.rank});
        });
  }
}

void Launcher::stop_unwanted(const std::shared_ptr<AgentLine>& session, JobId id, Attempt attempt,
                             bool drain_is_over) {
  if (!context_.book.is_current(id, attempt))
    send_when_durable(context_.gate, session,
                      proto::StopAttempt{id, attempt, core::kFailureGraceS, "the attempt is over"});
  else if (const auto& state = context_.state(id); state.phase == core::JobPhase::kStopping)
    send_when_durable(context_.gate, session, stop_again(state, session->node(), drain_is_over));
}

proto::Message Launcher::stop_again(const core::JobState& state, const std::string& node,
                                    bool drain_is_over) const {
  if (drain_is_over)
    return proto::StopAttempt{state.id, state.attempt, core::kFailureGraceS,
                              "the drain of node " + node + " has reached its deadline"};
  if (state.cancel_requested)
    return proto::StopAttempt{state.id, state.attempt, state.spec->run_config.stop_grace_s,
                              "cancelled by " + state.cancelled_by};
  if (state.yield && !state.yield->checkpoint)
    return proto::StopAttempt{state.id, state.attempt, state.yield->grace_s, state.yield->reason};
  if (const auto until = context_.deadlines.at(state.id, DueFor::kYieldGrace); state.yield && until)
    return proto::YieldAttempt{state.id, state.attempt,
                               std::max(0.0, Seconds(*until - context_.now()).count()), state.yield->reason};
  const bool limit =
      state.error && state.error->attempt == state.attempt.value() && state.error->kind == "time_limit";
  return proto::StopAttempt{state.id, state.attempt,
                            limit ? state.spec->run_config.stop_grace_s : core::kFailureGraceS,
                            "the attempt is over"};
}

void Launcher::agent_left(const std::string& node) {
  std::vector<JobId> waiting;
  for (const auto& [id, attempt] : unlaunched_)
    if (first_node(context_.state(id)) == node) waiting.push_back(id);
  for (const auto id : waiting) {
    unlaunched_.erase(id);
    lose_ranks(id, away(node));
  }
  if (!fault::on(fault::Fault::kLoseOnDisconnect)) return;
  const auto active = context_.book.active();
  for (const auto id : active) lose_ranks_on(node, id, "the agent went away");
}

void Launcher::on_node_lost(const std::string& node) {
  const auto active = context_.book.active();
  for (const auto id : active)
    lose_ranks_on(node, id,
                  "node " + node + " is lost: nothing was heard of its agent for longer than its lease");
}

// ---- ranks --------------------------------------------------------------------------------------

std::set<std::string> Launcher::living_nodes(JobId id) const {
  std::set<std::string> names;
  for (const auto& rank : context_.state(id).ranks)
    if (rank.phase != core::RankPhase::kEnded) names.insert(rank.placement.node);
  return names;
}

std::set<JobId> Launcher::jobs_on(const std::string& node) const {
  std::set<JobId> ids;
  for (const auto id : context_.book.active())
    if (living_nodes(id).contains(node)) ids.insert(id);
  return ids;
}

bool Launcher::lives_on(const proto::RankKey& key, const std::string& node) const {
  const auto* record = context_.book.find(key.job);
  if (record == nullptr ||
      (record->state.attempt != key.attempt && !fault::on(fault::Fault::kAttemptNotChecked)))
    return false;
  const auto& ranks = record->state.ranks;
  return key.rank >= 0 && key.rank < static_cast<int>(ranks.size()) &&
         ranks[static_cast<std::size_t>(key.rank)].placement.node == node;
}

template <class Where>
void Launcher::lose_ranks_where(JobId id, const std::string& why, Where where) {
  const auto& state = context_.state(id);
  std::vector<proto::JobEvent> events;
  for (const auto& rank : state.ranks) {
    if (rank.phase == core::RankPhase::kEnded || !where(rank)) continue;
    proto::RankFinished lost;
    lost.attempt = state.attempt;
    lost.rank = rank.placement.rank;
    lost.status.lost = true;
    lost.error = proto::RankError{"lost", why, {}};
    events.emplace_back(std::move(lost));
  }
  turn_.post(id, std::move(events));
}

void Launcher::lose_ranks(JobId id, const std::string& why) {
  lose_ranks_where(id, why, [](const core::RankState&) { return true; });
}

void Launcher::lose_ranks_on(const std::string& node, JobId id, const std::string& why) {
  lose_ranks_where(id, why, [&](const core::RankState& rank) { return rank.placement.node == node; });
}

}  // namespace rtrain::head
