#include "daemon/head/dispatcher.h"

#include "common/base/fault.h"
#include "common/log/log.h"
#include "common/os/file.h"

#include <algorithm>

namespace rtrain::head {

namespace {

constexpr std::chrono::seconds kSuspicionStep{10}, kEpochStep{1};
constexpr std::chrono::minutes kRetentionAfterStart{1};
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

}  // namespace

Clock Clock::real() { return {&std::chrono::steady_clock::now, &os::unix_ms_now}; }

Dispatcher::Dispatcher(proto::HeadConfig config, JobBook::Store store, store::Recovered recovered,
                       ChangeSink changed, Clock clock, std::string origin)
    : config_(std::move(config)),
      store_(store),
      gate_(store.journal),
      changed_(std::move(changed)),
      clock_(std::move(clock)),
      book_(
          store, [this](JobId id, const core::Action& action) { act(id, action); },
          [this](JobId id) {
            ++epoch_;
            update_planner(id);
            changed_(id);
          },
          std::move(origin)),
      started_ms_(clock_.wall()),
      usage_(config_.fair_share_half_life_s),
      accounted_(clock_.steady()) {
  recover(std::move(recovered));
  retain_at_ = clock_.steady() + kRetentionAfterStart;
}

const store::SetAside* Dispatcher::set_aside(JobId id) const {
  const auto found = std::ranges::find(set_aside_, id, &store::SetAside::job);
  return found == set_aside_.end() ? nullptr : &*found;
}

void Dispatcher::recover(store::Recovered recovered) {
  set_aside_ = std::move(recovered.set_aside);
  set_up_planner(recovered.documents);
  book_.recover(std::move(recovered.jobs), recovered.ended, clock_.wall());
  for (const auto id : book_.active()) {
    const auto ranks = places(id);
    for (const auto& rank : ranks) nodes_.expect(rank.node, clock_.steady());
    on_allocated(id);
  }
  for (const auto& [id, record] : book_.all()) recover_deadlines(record.state);
  for (const auto id : book_.active())
    if (const auto& array = book_.find(id)->state.array) turns_.runs(id, *array);
  for (const auto id : book_.validating())
    if (const auto& array = book_.find(id)->state.array) turns_.runs(id, *array);
  for (const auto id : book_.queue()) stands_in_line(id);
  recover_documents(recovered.documents);
  for (const auto id : book_.queue()) update_planner(id);
  recover_validations();
  schedule_again_ = true;
}

// ---- users --------------------------------------------------------------------------------------

Result<Done> Dispatcher::cancel(JobId id, const std::string& by) {
  const auto* record = book_.find(id);
  const bool waited = record != nullptr && record->state.phase == core::JobPhase::kQueued;
  auto done = book_.apply(id, proto::CancelRequested{by}, clock_.wall());
  if (done) {
    if (waited) settle(id);
    log::info("job cancelled", {{"job", to_string(id)}, {"by", by}});
    schedule();
  }
  return done;
}

// ---- effects of events --------------------------------------------------------------------------

void Dispatcher::apply(JobId id, proto::JobEvent event) {
  const std::string name(proto::event_name(event));
  // An agent sends again what was not confirmed before a connection broke: the second time is refused here.
  if (auto done = book_.apply(id, std::move(event), clock_.wall()); !done)
    log::debug("event refused", {{"job", to_string(id)}, {"event", name}, {"cause", done.error().message()}});
}

void Dispatcher::act(JobId id, const core::Action& action) {
  if (std::holds_alternative<core::LaunchAttempt>(action)) {
    on_allocated(id);
    placed(id);
    reserve_port(id);
  } else if (std::holds_alternative<core::EnterQueue>(action)) {
    entered_queue(id);  // whoever caused it runs schedule() when all effects are through
    update_planner(id);
  } else if (const auto* yielding = std::get_if<core::YieldRanks>(&action)) {
    ask_to_yield(id, *yielding);
  } else if (const auto* blamed = std::get_if<core::BlameNode>(&action)) {
    nodes_.blame(blamed->node, id, blamed->why, clock_.steady());
  } else if (const auto* stopping = std::get_if<core::StopRanks>(&action)) {
    stop(id, *stopping);
  } else if (const auto* starting = std::get_if<core::StartValidation>(&action)) {
    start_validation(id, starting->index);
  } else if (const auto* validated = std::get_if<core::TellValidated>(&action)) {
    if (const auto* checkpoint = core::checkpoint_of(book_.find(id)->state, validated->index))
      for (const auto& name : living_nodes(id)) tell_validated(id, *checkpoint, name);
  } else if (std::holds_alternative<core::CancelValidations>(action)) {
    cancel_validations(id);
  } else if (std::holds_alternative<core::EndJob>(action)) {
    deadlines_.clear(id, DueFor::kValidation);
    note_ended(id);
    log::info("job validated",
              {{"job", to_string(id)}, {"state", std::string(core::to_string(book_.find(id)->state.phase))}});
    schedule();
  } else if (std::holds_alternative<core::FreeResources>(action)) {
    const auto& state = book_.find(id)->state;
    on_released(id);
    if (fault::on(fault::Fault::kDoubleFree))
      nodes_.release_twice(places(id), state.spec->scaling_config.resources());
    unlaunched_.erase(id);
    ended(id);
    log::info("attempt ended", {{"job", to_string(id)},
                                {"attempt", to_string(state.attempt)},
                                {"state", std::string(core::to_string(state.phase))},
                                {"error", state.error ? state.error->message : ""}});
    for (const auto& rank : state.ranks)
      if (rank.placement.local_rank == 0) note_drained(rank.placement.node);
    schedule();
  }
}

std::set<std::string> Dispatcher::living_nodes(JobId id) const {
  std::set<std::string> names;
  for (const auto& rank : book_.find(id)->state.ranks)
    if (rank.phase != core::RankPhase::kEnded) names.insert(rank.placement.node);
  return names;
}

std::vector<proto::RankPlacement> Dispatcher::places(JobId id) const {
  std::vector<proto::RankPlacement> places;
  for (const auto& rank : book_.find(id)->state.ranks) places.push_back(rank.placement);
  return places;
}

void Dispatcher::tell(const std::shared_ptr<AgentLine>& session, proto::Message message,
                      std::function<void()> lost) {
  gate_.after_events([session, message = std::move(message), lost = std::move(lost)] {
    if ((!session || !session->send(message)) && lost) lost();
  });
}

void Dispatcher::reserve_port(JobId id) {
  const auto& state = book_.find(id)->state;
  const auto attempt = state.attempt;
  unlaunched_[id] = attempt;
  const std::string first = state.ranks[0].placement.node;
  const auto session = nodes_.session(first);
  tell(session, proto::ReservePort{id, attempt}, [this, id, attempt, first, session] {
    const auto waiting = unlaunched_.find(id);
    if (waiting == unlaunched_.end() || waiting->second != attempt) return;
    if (nodes_.session(first) != session) return;  // another connection has taken its place, and was asked
    unlaunched_.erase(waiting);
    lose_ranks(id, "node " + first + " went away before the launch",
               [](const core::RankState&) { return true; });
  });
}

void Dispatcher::launch(JobId id, int master_port) {
  const auto& state = book_.find(id)->state;
  unlaunched_.erase(id);
  proto::Launch launch;
  launch.job = id;
  launch.attempt = state.attempt;
  launch.run_name = state.run_name;
  launch.run_dir = state.run_dir;
  launch.submitted_ms = state.submitted_ms;
  launch.world_size = static_cast<int>(state.ranks.size());
  launch.master_port = master_port;
  launch.checkpoints = launch_checkpoints(state);
  launch.next_checkpoint_index = state.next_checkpoint_index;
  launch.array = state.array;
  launch.validates = state.validates;
  std::map<int, std::vector<proto::RankPlacement>> by_node;
  for (const auto& rank : state.ranks) by_node[rank.placement.node_rank].push_back(rank.placement);
  launch.num_nodes = static_cast<int>(by_node.size());
  launch.master_addr = nodes_.find(state.ranks[0].placement.node)->view.info.address;
  std::vector<std::pair<std::shared_ptr<AgentLine>, std::vector<proto::RankPlacement>>> all;
  for (auto& [node_rank, ranks] : by_node) {
    auto session = nodes_.session(ranks[0].node);
    all.emplace_back(std::move(session), std::move(ranks));
  }
  gate_.after_events([this, id, launch = std::move(launch), spec = state.spec, all = std::move(all)] {
    // The spec may be large: it is copied here, once for all nodes.
    proto::Message message(launch);
    auto& to_node = std::get<proto::Launch>(message);
    to_node.spec = core::spec_of_rank(spec, launch.array);
    std::vector<std::string> away;
    for (const auto& [session, ranks] : all) {
      to_node.ranks = ranks;
      if (!session || !session->send(message)) away.push_back(ranks[0].node);
    }
    // Only now: the end of the attempt must reach no node before its launch does.
    for (const auto& name : away)
      if (book_.is_current(id, launch.attempt))
        lose_ranks(id, "node " + name + " went away before the launch",
                   [&](const core::RankState& rank) { return rank.placement.node == name; });
  });
}

void Dispatcher::stop(JobId id, const core::StopRanks& stop) {
  if (unlaunched_.erase(id) > 0)
    return lose_ranks(id, "was never started: " + stop.reason, [](const core::RankState&) { return true; });
  for (const auto& name : living_nodes(id))
    tell(nodes_.session(name), proto::StopAttempt{id, stop.attempt, stop.grace_s, stop.reason});
  // A node that is away hears of it when it comes back (agent_joined), or is lost with its lease.
}

// ---- agents -------------------------------------------------------------------------------------

Result<Done> Dispatcher::agent_joins(const std::shared_ptr<AgentLine>& session, const proto::Hello& hello) {
  auto joined =
      nodes_.join(*hello.node, session, clock_.steady(), std::chrono::duration<double>(overdue_s()));
  if (joined) apply_setting(hello.node->name);
  return joined;
}

void Dispatcher::agent_joined(const std::shared_ptr<AgentLine>& session, const proto::Hello& hello) {
  const std::string& name = session->node();
  log::info(
      "agent connected",
      {{"node", name}, {"address", hello.node->address}, {"ranks", std::to_string(hello.running.size())}});
  // What the head believes and the agent has not: those ranks are gone.
  const std::set<proto::RankKey> running(hello.running.begin(), hello.running.end());
  const auto active = book_.active();
  for (const auto id : active) {
    if (unlaunched_.contains(id)) {
      // The question may have gone into a connection that was dead. Of two answers the first one counts.
      if (book_.find(id)->state.ranks[0].placement.node == name) reserve_port(id);
      continue;
    }
    if (fault::on(fault::Fault::kRejoinNotCompared)) continue;
    const auto attempt = book_.find(id)->state.attempt;
    lose_ranks(id, "the agent of node " + name + " came back without it", [&](const core::RankState& rank) {
      return rank.placement.node == name && !running.contains({id, attempt, rank.placement.rank});
    });
  }
  // What the agent has and the head does not want (any more): to be stopped.
  std::set<std::pair<JobId, Attempt>> seen;
  for (const auto& key : running) {
    if (!seen.insert({key.job, key.attempt}).second) continue;
    if (!book_.is_current(key.job, key.attempt))
      tell(session, proto::StopAttempt{key.job, key.attempt, core::kFailureGraceS, "the attempt is over"});
    else if (const auto& state = book_.find(key.job)->state; state.phase == core::JobPhase::kStopping)
      tell(session, stop_again(state, name));
    if (book_.is_current(key.job, key.attempt)) tell_all_validated(key.job, name);
  }
  empty_node(name);  // a head that died in the middle of a drain has not asked all
  schedule();
}

void Dispatcher::agent_left(AgentLine& session) {
  if (!nodes_.leave(session)) return;
  // A port that was asked for will not come any more.
  std::vector<JobId> waiting;
  for (const auto& [id, attempt] : unlaunched_)
    if (book_.find(id)->state.ranks[0].placement.node == session.node()) waiting.push_back(id);
  for (const auto id : waiting) {
    unlaunched_.erase(id);
    lose_ranks(id, "node " + session.node() + " went away before the launch",
               [](const core::RankState&) { return true; });
  }
  if (fault::on(fault::Fault::kLoseOnDisconnect)) {
    const auto active = book_.active();
    for (const auto id : active)
      lose_ranks(id, "the agent went away",
                 [&](const core::RankState& rank) { return rank.placement.node == session.node(); });
  }
  schedule();
}

bool Dispatcher::lives_on(const proto::RankKey& key, const std::string& node) const {
  const auto* record = book_.find(key.job);
  if (record == nullptr ||
      (record->state.attempt != key.attempt && !fault::on(fault::Fault::kAttemptNotChecked)))
    return false;
  const auto& ranks = record->state.ranks;
  return key.rank >= 0 && key.rank < static_cast<int>(ranks.size()) &&
         ranks[static_cast<std::size_t>(key.rank)].placement.node == node;
}

void Dispatcher::agent_says(AgentLine& session, proto::Message message) {
  if (nodes_.session(session.node()).get() != &session) return;  // a connection that was replaced
  nodes_.heard(session.node(), clock_.steady());
  std::visit(
      [&](auto& m) {
        using T = std::decay_t<decltype(m)>;
        if constexpr (requires { m.key.attempt; })
          if (!lives_on(m.key, session.node()))
            return log::debug("a message of an older attempt or another node's rank is skipped",
                              {{"node", session.node()}, {"rank", to_string(m.key)}});
        if constexpr (requires { m.key.attempt; })
          if (fault::on(fault::Fault::kAttemptNotChecked))
            m.key.attempt = book_.find(m.key.job)->state.attempt;
        if constexpr (std::is_same_v<T, proto::Heartbeat>) {
        } else if constexpr (std::is_same_v<T, proto::Leaving>) {
          nodes_.leaving(session.node());
        } else if constexpr (std::is_same_v<T, proto::NodeHealth>) {
          hear_health(session.node(), m);
        } else if constexpr (std::is_same_v<T, proto::PortReserved>) {
          const auto waiting = unlaunched_.find(m.job);
          if (waiting == unlaunched_.end() || waiting->second != m.attempt) return;  // cancelled meanwhile
          if (m.error.empty()) return launch(m.job, m.port);
          unlaunched_.erase(waiting);
          lose_ranks(m.job, "no port could be reserved on node " + session.node() + ": " + m.error,
                     [](const core::RankState&) { return true; });
        } else if constexpr (std::is_same_v<T, proto::RankStarted>) {
          apply(m.key.job, proto::RankForked{m.key.attempt, m.key.rank, m.pid});
        } else if constexpr (std::is_same_v<T, proto::RankRunning>) {
          apply(m.key.job, proto::RankEntered{m.key.attempt, m.key.rank});
        } else if constexpr (std::is_same_v<T, proto::RankReport>) {
          if (m.key.rank == 0)
            apply(m.key.job,
                  proto::MetricsReported{m.key.attempt, m.seq, std::move(m.metrics), std::move(m.checkpoint),
                                         std::move(m.deleted_checkpoints)});
        } else if constexpr (std::is_same_v<T, proto::RankProgress>) {
          on_progress(m);
          if (m.key.rank == 0)
            book_.set_progress(
                m.key.job, m.key.attempt,
                {m.stage, m.epoch, m.max_epochs, m.step, m.steps, m.steps_per_s, std::move(m.prog_bar)});
        } else if constexpr (std::is_same_v<T, proto::RankDiagnosis>) {
          hear_diagnosis(std::move(m));
        } else if constexpr (std::is_same_v<T, proto::RankProfile>) {
          profiles_.hear(m);
        } else if constexpr (std::is_same_v<T, proto::RankEnded>) {
          apply(m.key.job, proto::RankFinished{m.key.attempt, m.key.rank, m.status, std::move(m.error),
                                               std::move(m.return_value), m.yielded});
        } else {
          log::warn("unexpected message", {{"node", session.node()},
                                           {"message", std::string(proto::message_name(proto::Message(m)))}});
          session.close();
        }
      },
      message);
}

void Dispatcher::tick() {
  const std::chrono::duration<double> silence(fault::on(fault::Fault::kLeaseTooShort) ? config_.lease_s / 2
                                                                                      : lost_after_s());
  const auto lost = nodes_.lose_silent(clock_.steady(), silence);
  for (const auto& name : lost) {
    log::warn("node lost", {{"node", name}, {"silent_s", std::to_string(silence.count())}});
    const auto active = book_.active();
    for (const auto id : active)
      lose_ranks(id, "node " + name + " is lost: nothing was heard of its agent for longer than its lease",
                 [&](const core::RankState& rank) { return rank.placement.node == name; });
  }
  if (!lost.empty()) schedule();
  for (const auto& due : deadlines_.take_due(clock_.steady())) do_due(due);
  end_drains();
  turn_reservations();
  start_begun();
  start_unstarted_validations();
  pass_time();
  retain();
  if (clock_.steady() - epoch_began_ >= kEpochStep) {
    epoch_began_ = clock_.steady();
    ++epoch_;
  }
  if (clock_.steady() - suspicion_aged_ < kSuspicionStep) return;
  suspicion_aged_ = clock_.steady();
  nodes_.age_suspicion(suspicion_aged_);
}

}  // namespace rtrain::head
