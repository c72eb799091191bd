#include "daemon/core/pass.h"

#include "daemon/core/shortage.h"

#include <algorithm>

namespace rtrain::core {
namespace {

proto::UnixMs end_of(proto::UnixMs now, proto::UnixMs limit_ms) {
  return limit_ms == kNever ? kNever : now + limit_ms;
}

std::string reservation_reason(const PlannerState& state, const Need& need, const std::string& user,
                               proto::UnixMs now) {
  const auto& name = state.book.reservation_name(need.reservation);
  const auto found = std::ranges::find(state.reservations, name, &Reservation::name);
  if (found == state.reservations.end()) return "there is no reservation " + name;
  if (!found->is_for(user))
    return "the reservation " + name + " is not for " + (user.empty() ? "everybody" : user);
  if (found->end_ms <= now) return "the reservation " + name + " is over";
  if (found->start_ms > now)
    return "waits for the reservation " + name + ", which begins at " + proto::rfc3339(found->start_ms);
  return "";
}

}  // namespace

std::string own_reason(const PlannerState& state, const Line& line, proto::UnixMs now) {
  const auto& ask = state.book.ask(line.ask);
  const auto& need = state.book.need(ask.need);
  const auto& account = state.accounts[line.account];
  if (need.reservation >= 0)
    if (auto reason = reservation_reason(state, need, account.user, now); !reason.empty()) return reason;
  const auto& rules = rules_of(state.queues, account.queue);
  if (auto reason = over(rules.queue, state.accounts.queue_held(line.account), need.resources, ask.least,
                         "queue " + account.queue);
      !reason.empty())
    return reason;
  return over(rules.user, account.held, need.resources, ask.least,
              (account.user.empty() ? "a user" : "user " + account.user) + " in queue " + account.queue);
}

int within_quotas(const PlannerState& state, int number, const Ask& ask, int workers) {
  const auto& need = state.book.need(ask.need);
  const auto& account = state.accounts[number];
  const auto& rules = rules_of(state.queues, account.queue);
  workers = within(rules.queue, state.accounts.queue_held(number), need.resources, workers);
  return within(rules.user, account.held, need.resources, workers);
}

bool feasible(PlannerState& state, int number) {
  const auto& ask = state.book.ask(number);
  const auto& fit = state.fit(ask.need);
  if (state.known_feasible.size() < state.book.asks()) state.known_feasible.resize(state.book.asks());
  auto& known = state.known_feasible[static_cast<std::size_t>(number)];
  if (known.first != fit.idle_version())
    known = {fit.idle_version(),
             most(idle_rooms(fit, state.nodes), ask, ask.least, state.nodes) >= ask.least};
  return known.second;
}

Pass::Pass(PlannerState& state, proto::UnixMs now, int claims_max)
    : state_(state),
      now_(now),
      claims_max_(claims_max),
      claims_(state.nodes, state.book, now),
      ranks_(state.accounts.ranks(state.fair_share, state.queues, state.nodes.totals())) {}

Pass::~Pass() {
  for (const auto& [node, need, workers, gpus] : aside_)
    state_.nodes.give(node, state_.book.need(need), workers, gpus);
  for (const auto id : held_) state_.let_go(id);
  for (const auto& [id, ends_ms] : stopped_) state_.running.unstop(id, ends_ms);
}

void Pass::run() {
  plan.look_again_ms = state_.nodes.pass_time(now_);
  dead_.assign(state_.book.asks(), false);
  // Those that came back to grow or shrink stand where they stood: what they grow into is kept for them when
  // it is their turn.
  std::vector<std::pair<Turn, JobId>> resizing;
  for (const auto id : state_.running.stopping())
    if (const auto& running = *state_.running.find(id); running.resizing)
      resizing.push_back({{running.priority, ranks_[static_cast<std::size_t>(running.account)], id}, id});
  std::sort(resizing.begin(), resizing.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  auto next_resizing = resizing.begin();
  const auto keep_growth = [&](JobId id) {
    const auto& running = *state_.running.find(id);
    if (const int more = state_.book.ask(running.ask).workers - running.workers; more > 0)
      hold_aside(running, more);
  };

  int claims = 0;
  InOrder order(state_.order, ranks_);
  for (auto at = order.at(); at; at = order.at()) {
    for (; next_resizing != resizing.end() && next_resizing->first < at->turn; ++next_resizing)
      keep_growth(next_resizing->second);
    const auto& line = state_.order.lines()[static_cast<std::size_t>(at->line)];
    auto&& dead = dead_[static_cast<std::size_t>(line.ask)];
    if (claims_.closed_everywhere() && claims >= 1) break;
    if (!own_reason(state_, line, now_).empty()) {
      order.skip_line();
      continue;
    }
    if (!dead) {
      if (start(line, at->turn.id)) {
        order.next_job();
        continue;
      }
      dead = true;
      if (!feasible(state_, line.ask)) {
        order.skip_ask();
        continue;
      }
    }
    if (claims >= claims_max_) {
      order.skip_ask();
      continue;
    }
    block(line, at->turn.id);
    ++claims;
    order.next_job();
  }
  for (; next_resizing != resizing.end(); ++next_resizing) keep_growth(next_resizing->second);
  grow();
}

const std::vector<Room>& Pass::rooms(int number, proto::UnixMs end_ms, bool suspected) {
  const auto [found, is_new] = rooms_.try_emplace({number, end_ms, suspected});
  auto& rooms = found->second;
  if (!is_new) return rooms;
  const auto& fit = state_.fit(number);
  const auto& need = state_.book.need(number);
  const auto add = [&](Room room) {
    room.capacity = claims_.allowed(room, need, end_ms);
    if (room.capacity > 0) rooms.push_back(room);
  };
  for (const auto& room : fit.rooms()) add(room);
  if (suspected)
    for (const auto& room : fit.suspected()) add(room);
  std::sort(rooms.begin(), rooms.end());
  return rooms;
}

std::vector<Share> Pass::find_place(const Ask& ask, int workers, int least) {
  const auto& fit = state_.fit(ask.need);
  if (claims_.closes_all(fit)) return {};
  const auto end_ms = end_of(now_, ask.limit_ms);
  if (!claims_.any()) {
    if (const int fits = most(fit.rooms(), ask, workers, state_.nodes);
        fits >= workers || (fits >= least && fit.suspected().empty()))
      return choose(fit.rooms(), ask, fits, state_.nodes);
    if (fit.suspected().empty()) return {};
  }
  for (const bool suspected : {false, true}) {
    const auto& found = rooms(ask.need, end_ms, suspected);
    const int fits = most(found, ask, workers, state_.nodes);
    if (fits >= workers || (fits >= least && (suspected || fit.suspected().empty())))
      return choose(found, ask, fits, state_.nodes);
  }
  return {};
}

bool Pass::start(const Line& line, JobId id) {
  const auto& ask = state_.book.ask(line.ask);
  const auto& need = state_.book.need(ask.need);
  auto shares = find_place(ask, within_quotas(state_, line.account, ask, ask.workers), ask.least);
  if (shares.empty()) return false;
  const auto& seat = state_.seats.at(id);
  keep_order(shares, seat.last_nodes, state_.nodes);
  Running running;
  running.ask = line.ask;
  running.account = line.account;
  running.priority = line.priority;
  running.placed_ms = now_;
  running.ends_ms = end_of(now_, ask.limit_ms);
  running.preemptible = false;  // not in this pass
  Start start{id, {}};
  rooms_.clear();
  start.placement.ranks = ranks_of(shares, need, state_.nodes);
  for (const auto& share : shares) {
    running.workers += share.workers;
    running.holds.push_back({share.node, share.workers, {}});
  }
  auto hold = running.holds.begin();
  for (const auto& rank : start.placement.ranks) {
    if (rank.local_rank == 0 && rank.rank != 0) ++hold;
    hold->gpus.insert(hold->gpus.end(), rank.gpus.begin(), rank.gpus.end());
  }
  for (const auto& held : running.holds)
    claims_.took(held.node, need, held.workers, held.gpus, running.ends_ms);
  state_.accounts.hold(line.account, held_by(need.resources, running.workers), 1);
  state_.running.add(id, std::move(running));
  held_.push_back(id);
  plan.starts.push_back(std::move(start));
  return true;
}

void Pass::block(const Line& line, JobId id) {
  if (first_blocked.value() == 0) first_blocked = id;
  make_room(line, id);
  rooms_.clear();
  const auto& ask = state_.book.ask(line.ask);
  const auto& fit = state_.fit(ask.need);
  WhatIf what_if(state_.nodes, state_.book, claims_, fit, line.ask, now_);
  const auto then = foresee(what_if, state_.running, state_.nodes, claims_, ask, now_);
  foreseen[id] = then ? then->at_ms : kNever;
  if (!then) return claims_.close(fit);
  if (!state_.running.stopping().empty()) {
    // What is stopping ends at any moment, mostly long before its grace is over: what was made room for it
    // keeps from now on. Whoever was let in for the rest of the grace would be in the way, and be preempted
    // in its turn.
    WhatIf any_moment(state_.nodes, state_.book, claims_, fit, line.ask, now_);
    const bool fits_now = any_moment.fits();
    for (const auto job : state_.running.stopping()) any_moment.give_back(*state_.running.find(job));
    if (!fits_now && any_moment.fits())
      return claims_.add({id, ask.need, now_, end_of(then->at_ms, ask.limit_ms)},
                         any_moment.choose(ask.least), [&](NodeId node) { return any_moment.stock(node); });
  }
  claims_.add({id, ask.need, then->at_ms, end_of(then->at_ms, ask.limit_ms)}, then->shares,
              [&](NodeId node) { return what_if.stock(node); });
}

}  // namespace rtrain::core
