#include "daemon/core/planner.h"

#include "daemon/core/pass.h"
#include "daemon/core/shortage.h"

#include <algorithm>
#include <cmath>

namespace rtrain::core {
namespace {

/// What explain() works with may be that old: it names times, and those move on.
constexpr proto::UnixMs kForesightMs = 1000;

proto::UnixMs to_ms(double seconds) { return static_cast<proto::UnixMs>(std::llround(seconds * 1000)); }
proto::UnixMs limit_ms(const proto::SchedulingConfig& scheduling) {
  return scheduling.time_limit_s ? std::max<proto::UnixMs>(1, to_ms(*scheduling.time_limit_s)) : kNever;
}

PlannerState::Seat seat_of(const WaitingJob& job) {
  return {job.last_nodes, job.scheduling.preemptible, to_ms(job.scheduling.preempt_grace_s),
          to_ms(job.scaling.elastic_resize_monitor_interval_s)};
}

}  // namespace

const Fit& PlannerState::fit(int need) {
  if (std::cmp_less(fits.size(), book.needs())) fits.resize(static_cast<std::size_t>(book.needs()));
  auto& found = fits[static_cast<std::size_t>(need)];
  found.follow(nodes, book.need(need));
  return found;
}

void PlannerState::hold(JobId id, Running job) {
  const auto& need = book.need(book.ask(job.ask).need);
  for (const auto& held : job.holds) nodes.take(held.node, need, held.workers, held.gpus);
  accounts.hold(job.account, held_by(need.resources, job.workers), 1);
  running.add(id, std::move(job));
}

void PlannerState::let_go(JobId id) {
  const auto* job = running.find(id);
  if (job == nullptr) return;
  const auto& need = book.need(book.ask(job->ask).need);
  for (const auto& held : job->holds) nodes.give(held.node, need, held.workers, held.gpus);
  accounts.hold(job->account, held_by(need.resources, job->workers), -1);
  running.remove(id);
}

// ---- what changes -------------------------------------------------------------------------------

void Planner::set_reservations(std::vector<Reservation> reservations) {
  auto& state = touch();
  std::map<std::string, std::vector<Window>> windows;
  for (const auto& reservation : reservations)
    for (const auto& node : reservation.nodes)
      windows[node].push_back(
          {state.book.reservation(reservation.name), reservation.start_ms, reservation.end_ms});
  for (const auto id : std::set<NodeId>(state.nodes.windowed())) state.nodes.set_windows(id, {});
  for (auto& [name, of_node] : windows)
    if (const auto id = state.nodes.find(name); id >= 0) state.nodes.set_windows(id, std::move(of_node));
  state.reservations = std::move(reservations);
}

void Planner::node(const NodeView& view) {
  auto& state = touch();
  const bool is_new = state.nodes.find(view.info.name) < 0;
  const auto id = state.nodes.set(view, state.book.resources());
  if (!is_new) return;
  std::vector<Window> windows;
  for (const auto& reservation : state.reservations)
    if (std::ranges::find(reservation.nodes, view.info.name) != reservation.nodes.end())
      windows.push_back({state.book.reservation(reservation.name), reservation.start_ms, reservation.end_ms});
  if (!windows.empty()) state.nodes.set_windows(id, std::move(windows));
}

void Planner::wait(const WaitingJob& job) {
  auto& state = touch();
  const int ask = state.book.ask_of(job.scaling, job.scheduling, limit_ms(job.scheduling));
  const int account = state.accounts.number(job.scheduling.queue, job.user);
  state.order.add(job.id, job.scheduling.priority + rules_of(state.queues, job.scheduling.queue).priority,
                  account, ask);
  state.seats[job.id] = seat_of(job);
}

void Planner::leave(JobId id) {
  if (!state_.order.contains(id)) return;
  auto& state = touch();
  state.order.remove(id);
  state.seats.erase(id);
}

Running Planner::running_of(const RunningJob& job) {
  Running running;
  const auto& waiting = job.job;
  running.ask = state_.book.ask_of(waiting.scaling, waiting.scheduling, limit_ms(waiting.scheduling));
  running.account = state_.accounts.number(waiting.scheduling.queue, waiting.user);
  running.priority = waiting.scheduling.priority + rules_of(state_.queues, waiting.scheduling.queue).priority;
  running.workers = static_cast<int>(job.ranks.size());
  const auto seat = seat_of(waiting);
  running.preemptible = seat.preemptible;
  running.grace_ms = seat.grace_ms;
  running.resize_interval_ms = seat.resize_interval_ms;
  running.placed_ms = job.placed_ms;
  const auto limit = limit_ms(waiting.scheduling);
  running.ends_ms = job.stopping ? job.stops_by_ms : limit == kNever ? kNever : job.placed_ms + limit;
  running.stopping = job.stopping;
  running.resizing = job.stopping && job.resizing;
  std::map<NodeId, std::size_t> by_node;
  for (const auto& rank : job.ranks) {
    const auto node = state_.nodes.find(rank.node);
    if (node < 0) continue;
    const auto [at, is_new] = by_node.try_emplace(node, running.holds.size());
    if (is_new) running.holds.push_back({node, 0, {}});
    auto& hold = running.holds[at->second];
    ++hold.workers;
    hold.gpus.insert(hold.gpus.end(), rank.gpus.begin(), rank.gpus.end());
  }
  return running;
}

void Planner::start(const RunningJob& job) {
  leave(job.job.id);
  touch().hold(job.job.id, running_of(job));
  if (job.job.scaling.elastic()) state_.running.set_elastic(job.job.id);
}

void Planner::adopt(const RunningJob& job) {
  leave(job.job.id);
  auto& state = touch();
  auto running = running_of(job);
  state.accounts.hold(running.account,
                      held_by(state.book.need(state.book.ask(running.ask).need).resources, running.workers),
                      1);
  state.running.add(job.job.id, std::move(running));
  if (job.job.scaling.elastic()) state.running.set_elastic(job.job.id);
}

void Planner::stopping(JobId id, proto::UnixMs by_ms, bool resizing) {
  if (state_.running.find(id) != nullptr) touch().running.stop(id, by_ms, resizing);
}

void Planner::end(JobId id) { touch().let_go(id); }

// ---- what follows -------------------------------------------------------------------------------

Plan Planner::plan(proto::UnixMs now) {
  Pass pass(state_, now, kClaimsMax);
  pass.run();
  return std::move(pass.plan);
}

std::vector<JobId> Planner::order(std::size_t at_most) const {
  std::vector<JobId> ids;
  ids.reserve(std::min(state_.order.size(), at_most));
  const auto ranks = state_.accounts.ranks(state_.fair_share, state_.queues, state_.nodes.totals());
  InOrder order(state_.order, ranks);
  for (auto at = order.at(); at && ids.size() < at_most; at = order.at()) {
    ids.push_back(at->turn.id);
    order.next_job();
  }
  return ids;
}

void Planner::foresee(proto::UnixMs now) {
  if (foresight_.version == version_ && std::abs(now - foresight_.now) < kForesightMs) return;
  Pass pass(state_, now, kForeseenMax);
  pass.run();
  foresight_ = {version_, now, {}, std::move(pass.foreseen), {}, pass.first_blocked};
  for (const auto& start : pass.plan.starts) foresight_.starting.insert(start.id);
  int position = 0;
  for (const auto id : order())
    if (!foresight_.starting.contains(id)) foresight_.positions[id] = ++position;
}

std::string waits_behind(const std::string& name) { return "waits behind job " + name; }

Explanation Planner::explain(JobId id, proto::UnixMs now) {
  if (!state_.order.contains(id)) return {};
  foresee(now);
  const auto& line = state_.order.line_of(id);
  Explanation explanation;
  if (foresight_.starting.contains(id)) return explanation;
  explanation.position = foresight_.positions.at(id);
  explanation.feasible = feasible(state_, line.ask);
  if (const auto start = foresight_.starts.find(id);
      start != foresight_.starts.end() && start->second != kNever)
    explanation.expected_start_ms = start->second;
  const auto& ask = state_.book.ask(line.ask);
  explanation.reason = own_reason(state_, line, now);
  if (!explanation.reason.empty()) return explanation;
  if (explanation.feasible && foresight_.first_blocked.value() != 0 && foresight_.first_blocked != id) {
    explanation.behind = foresight_.first_blocked;
    explanation.reason = waits_behind(to_string(explanation.behind));
  } else {
    explanation.reason =
        shortage(ask, state_.book, state_.fit(ask.need), state_.nodes, explanation.feasible, now);
  }
  return explanation;
}

Planner::Answer Planner::ask(const WaitingJob& job, proto::UnixMs now) {
  auto asked = job;
  asked.id = JobId(std::numeric_limits<std::int64_t>::max());
  wait(asked);
  Answer answer;
  auto plan = this->plan(now);
  const auto start = std::ranges::find(plan.starts, asked.id, &Start::id);
  if (start != plan.starts.end())
    answer.placement = std::move(start->placement);
  else {
    answer.explanation = explain(asked.id, now);
    answer.placement.feasible = answer.explanation.feasible;
    answer.placement.reason = answer.explanation.reason;
  }
  leave(asked.id);
  return answer;
}

}  // namespace rtrain::core
