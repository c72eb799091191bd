// Elastic jobs grow into what nobody who waits can use.
#include "daemon/core/pass.h"

#include <algorithm>

namespace rtrain::core {

void Pass::grow() {
  for (const auto id : state_.running.elastic()) {
    const auto& running = *state_.running.find(id);
    const auto& ask = state_.book.ask(running.ask);
    if (running.stopping || running.workers >= ask.workers || std::ranges::find(held_, id) != held_.end())
      continue;
    if (const auto due = running.placed_ms + running.resize_interval_ms; due > now_) {
      plan.look_again_ms = std::min(plan.look_again_ms, due);
      continue;
    }
    const auto& need = state_.book.need(ask.need);
    const auto mine = held_by(need.resources, running.workers);
    state_.accounts.hold(running.account, mine, -1);
    const int allowed = within_quotas(state_, running.account, ask, ask.workers);
    state_.accounts.hold(running.account, mine, 1);
    if (allowed <= running.workers) continue;
    WhatIf what_if(state_.nodes, state_.book, claims_, state_.fit(ask.need), running.ask, now_);
    what_if.give_back(running);
    const int workers = std::min(allowed, what_if.most_workers());
    if (workers <= running.workers) continue;
    plan.yields.push_back(
        {id, proto::YieldCause::kResize,
         std::to_string(workers) + " workers would fit, " + std::to_string(running.workers) + " run",
         static_cast<double>(running.grace_ms) / 1000});
    hold_aside(running, workers - running.workers);
    stopped_.emplace_back(id, running.ends_ms);
    state_.running.stop(id, std::min(running.ends_ms, now_ + running.grace_ms), true);
  }
}

void Pass::hold_aside(const Running& running, int workers) {
  const auto& ask = state_.book.ask(running.ask);
  const auto& need = state_.book.need(ask.need);
  for (const auto& share : find_place(ask, workers, 1)) {
    rooms_.clear();
    auto gpus = state_.nodes.take(share.node, need, share.workers);
    claims_.took(share.node, need, share.workers, gpus, kNever);
    aside_.push_back({share.node, ask.need, share.workers, std::move(gpus)});
  }
}

}  // namespace rtrain::core
