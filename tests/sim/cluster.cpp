#include "tests/sim/cluster.h"

#include "tests/sim/operators.h"
#include "tests/sim/trouble.h"
#include "tests/sim/users.h"

#include <algorithm>

namespace rtrain::sim {
namespace {

constexpr double kRestLimitS = 900;  // after everything was healed

proto::HeadConfig make_config(Random& random) {
  proto::HeadConfig config;
  config.heartbeat_s = random.between(0.5, 2.0);
  config.lease_s = config.heartbeat_s * random.between(3.0, 8.0);
  config.queues["small"].queue.jobs_max = random.between(1, 4);
  return config;
}

}  // namespace

Cluster::Cluster(const RunOptions& options)
    : world_(options.seed, options.tracing),
      workload_(make_workload(world_.random(), options.size)),
      infos_(make_nodes(world_.random(), options.size.nodes)),
      network_(world_, infos_.size()),
      config_(make_config(world_.random())),
      referee_(world_, disk_, workload_, infos_, config_.queues),
      head_(world_, disk_, referee_, config_),
      agents_(infos_.size()) {
  if (options.print) world_.print_trace();
  for (std::size_t node = 0; node < infos_.size(); ++node)
    hosts_.push_back(std::make_unique<Host>(world_, referee_, workload_, storage_, node));
}

Cluster::~Cluster() = default;

void Cluster::start_agent(std::size_t node) {
  world_.note("agent starts", node);
  agents_[node] = std::make_unique<SimAgent>(
      world_, network_, *hosts_[node], infos_[node], node, seconds(config_.lease_s),
      [this](std::shared_ptr<Connection> connection) { return head_.accept(std::move(connection)); });
}

void Cluster::power_cut(std::size_t node) {
  world_.note("power cut", node);
  network_.break_connections(node, true);
  agents_[node].reset();
  hosts_[node]->power_cut();
}

void Cluster::kill_agent(std::size_t node) {
  world_.note("agent dies", node);
  agents_[node].reset();
}

void Cluster::kill_supervisor(std::size_t node) {
  world_.note("supervisor dies", node);
  hosts_[node]->kill_supervisor();
}

void Cluster::heal() {
  world_.note("everything is healed");
  healed_ = true;
  network_.heal_all();
  disk_.full = false;
  disk_.next_sync_fails = false;
  disk_.slowness = 1;
  head_.disk_changed();
  if (!head_.up()) head_.start();
  for (std::size_t node = 0; node < nodes(); ++node)
    if (!agent_up(node)) start_agent(node);
}

bool Cluster::calm(std::size_t node) const {
  const auto& link = network_.link(node);
  return head_.up() && agent_up(node) && agents_[node]->reaches_head() && link.whole() &&
         link.slowness <= 1 && !disk_.full && disk_.slowness <= 1;
}

bool Cluster::may_stay(const head::JobRecord& record) const {
  // A trial that is paused waits for its sweep, which may stay for its own reason.
  if (record.state.paused && record.state.phase == core::JobPhase::kQueued) return true;
  return core::is_terminal(record.state.phase) || (record.state.phase == core::JobPhase::kQueued &&
                                                   referee_.rules().may_wait_for_ever(record.state.id));
}

bool Cluster::may_stay(const head::SweepEntry& entry) const {
  const auto* head = head_.dispatcher();
  return std::ranges::any_of(entry.state.trials, [&](const core::TrialState& trial) {
    const auto* record = trial.phase == core::TrialPhase::kRunning ? head->jobs().find(trial.job) : nullptr;
    return record != nullptr && !core::is_terminal(record->state.phase) && may_stay(*record);
  });
}

bool Cluster::at_rest() const {
  const auto* head = head_.dispatcher();
  if (head == nullptr || referee_.alive() > 0) return false;
  for (const auto& agent : agents_)
    if (!agent || !agent->connected() || !agent->idle()) return false;
  for (const auto& info : infos_)
    if (const auto node = head->nodes().all().find(info.name);
        node == head->nodes().all().end() || !node->second.session)
      return false;
  for (const auto& [id, record] : head->jobs().all())
    if (!may_stay(record)) return false;
  for (const auto& [id, entry] : head->sweeps().book().all_live())
    if (!may_stay(entry)) return false;
  return true;
}

std::string Cluster::unrest() const {
  const auto* head = head_.dispatcher();
  if (head == nullptr) return "the head is down";
  std::string text;
  for (const auto& [id, record] : head->jobs().all())
    if (!may_stay(record))
      text += "job " + to_string(id) + " is " + std::string(core::to_string(record.state.phase)) +
              " (attempt " + to_string(record.state.attempt) + ", " + head->scheduling().waiting(id).reason +
              "); ";
  for (const auto& [id, entry] : head->sweeps().book().all_live())
    if (!may_stay(entry))
      text += "sweep " + to_string(id) + " is " + std::string(core::to_string(entry.state.phase)) + "; ";
  for (std::size_t node = 0; node < agents_.size(); ++node)
    if (!agents_[node] || !agents_[node]->connected() || !agents_[node]->idle())
      text += "the agent of " + infos_[node].name +
              (agents_[node]->connected() ? " has something to tell; " : " is not connected; ");
  return text + std::to_string(referee_.alive()) + " processes live";
}

void Cluster::check_rest() {
  const auto& head = *head_.dispatcher();
  for (const auto& [id, record] : head.jobs().all())
    if (!core::is_terminal(record.state.phase))
      referee_.rules().check_reason(id, head.scheduling().waiting(id).reason);
  referee_.rules().head_started(head);
  for (const auto& [id, name] : referee_.acknowledged_jobs())
    referee_.check(head.jobs().find(id) != nullptr, "no acknowledged job is lost", [&, id = id, name = name] {
      return "job " + to_string(id) + " (" + name + ") is unknown to the head";
    });
  for (const auto& [name, node] : head.nodes().all()) {
    double used = static_cast<double>(node.view.gpus_used.size());
    for (const auto& [resource, amount] : node.view.used) used += amount;
    referee_.check(used < 1e-6, "nothing is held by jobs that ended",
                   [&, name = name] { return "something is held on " + name; });
  }
  referee_.check_disk();
}

RunResult run(const RunOptions& options) {
  fault::plant(options.fault);
  RunResult result;
  Cluster cluster(options);
  auto& world = cluster.world();
  auto& referee = cluster.referee();
  try {
    Users users(cluster);
    Operators operators(cluster);
    Trouble trouble(cluster);
    cluster.head().start();
    for (std::size_t node = 0; node < cluster.nodes(); ++node) cluster.start_agent(node);
    const Time limit = trouble.ends() + seconds(kRestLimitS);
    Time next_look = trouble.ends() + seconds(1);
    bool rest = false;
    while (!referee.violation() && !rest && world.step(limit))
      if (world.now() >= next_look) {
        next_look = world.now() + seconds(1);
        rest = users.content() && operators.content() && cluster.at_rest();
      }
    referee.check(rest, "every job ends or waits for a stated reason", [&] { return cluster.unrest(); });
    if (!referee.violation()) cluster.check_rest();
  } catch (const std::exception& e) {
    referee.check(false, "nothing throws", [&] { return std::string(e.what()); });
  }
  result.violation = referee.violation();
  result.trace_hash = world.trace_hash();
  result.events = world.events();
  result.ended = world.now();
  result.jobs = static_cast<int>(referee.acknowledged_jobs().size());
  result.sweeps = static_cast<int>(cluster.disk().sweeps().size());
  result.decisions_compared = referee.sweeps().compared();
  result.head_starts = cluster.head().starts();
  result.last_lines = world.last_lines();
  return result;
}

}  // namespace rtrain::sim
