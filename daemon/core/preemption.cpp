// Room for a waiting job of higher priority: the fewest, lowest and youngest running jobs that make it, and
// only if they do.
#include "daemon/core/pass.h"

#include <algorithm>

namespace rtrain::core {
namespace {

/// True when the job could go on with its minimum on its own nodes, beside what was just taken there.
bool could_shrink(const Running& victim, const PlannerState& state, std::unordered_map<NodeId, Stock>& left) {
  const auto& ask = state.book.ask(victim.ask);
  const auto& need = state.book.need(ask.need);
  int fits = 0;
  for (const auto& hold : victim.holds) fits += left.at(hold.node).capacity(need.amounts);
  if (fits < ask.least) return false;
  int wanted = ask.least;
  for (const auto& hold : victim.holds) {
    const int workers = std::min(wanted, left.at(hold.node).capacity(need.amounts));
    left.at(hold.node).take(need.amounts, workers);
    wanted -= workers;
  }
  return true;
}

}  // namespace

void Pass::make_room(const Line& line, JobId id) {
  const auto& lowest = state_.running.preemptible();
  if (lowest.empty() || lowest.begin()->first >= line.priority) return;
  const auto& ask = state_.book.ask(line.ask);
  const auto& fit = state_.fit(ask.need);
  WhatIf what_if(state_.nodes, state_.book, claims_, fit, line.ask, now_);
  // What comes free by itself while a victim would still write its checkpoint, those that were asked already
  // among it.
  const auto soon = now_ + state_.running.find(lowest.begin()->second.begin()->id)->grace_ms;
  std::set<JobId> ending = state_.running.stopping();
  for (const auto& [end_ms, job] : state_.running.by_end()) {
    if (end_ms > soon) break;
    ending.insert(job);
  }
  for (const auto job : ending) what_if.give_back(*state_.running.find(job));
  if (what_if.fits()) return;

  std::vector<JobId> victims;
  for (const auto& [priority, jobs] : lowest) {
    if (priority >= line.priority || what_if.fits()) break;
    for (const auto& [placed_ms, job] : jobs) {
      if (ending.contains(job)) continue;
      what_if.give_back(*state_.running.find(job));
      victims.push_back(job);
      if (what_if.fits()) break;
    }
  }
  if (!what_if.fits()) return;
  // Those that are not needed after all keep their places, the highest and oldest first.
  std::vector<JobId> needed;
  for (auto victim = victims.rbegin(); victim != victims.rend(); ++victim) {
    const auto& running = *state_.running.find(*victim);
    what_if.take_again(running);
    if (what_if.fits()) continue;
    what_if.give_back(running);
    needed.push_back(*victim);
  }
  std::unordered_map<NodeId, Stock> left;
  for (const auto victim : needed)
    for (const auto& hold : state_.running.find(victim)->holds)
      left.try_emplace(hold.node, what_if.stock(hold.node));
  for (const auto& share : what_if.choose(ask.least))
    if (const auto stock = left.find(share.node); stock != left.end())
      stock->second.take(state_.book.need(ask.need).amounts, share.workers);
  for (auto victim = needed.rbegin(); victim != needed.rend(); ++victim) {
    const auto& running = *state_.running.find(*victim);
    const auto& of_victim = state_.book.ask(running.ask);
    const bool shrinks = of_victim.least < of_victim.workers &&
                         now_ >= running.placed_ms + running.resize_interval_ms &&
                         could_shrink(running, state_, left);
    std::string reason = "job " + to_string(id) + " of higher priority (" + std::to_string(line.priority) +
                         ") needs " + (shrinks ? "some of its place" : "its place");
    plan.yields.push_back({*victim, shrinks ? proto::YieldCause::kResize : proto::YieldCause::kPreempted,
                           std::move(reason), static_cast<double>(running.grace_ms) / 1000});
    stopped_.emplace_back(*victim, running.ends_ms);
    state_.running.stop(*victim, std::min(running.ends_ms, now_ + running.grace_ms), shrinks);
  }
}

}  // namespace rtrain::core
