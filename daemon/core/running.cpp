#include "daemon/core/running.h"

namespace rtrain::core {

void RunningJobs::add(JobId id, Running running) {
  remove(id);
  const auto& added = all_[id] = std::move(running);
  index(id, added);
}

void RunningJobs::remove(JobId id) {
  const auto found = all_.find(id);
  if (found == all_.end()) return;
  unindex(id, found->second);
  elastic_.erase(id);
  all_.erase(found);
}

void RunningJobs::stop(JobId id, proto::UnixMs by_ms, bool resizing) {
  auto& running = all_.at(id);
  unindex(id, running);
  running.stopping = true;
  running.resizing = resizing;
  running.ends_ms = by_ms;
  index(id, running);
}

void RunningJobs::unstop(JobId id, proto::UnixMs ends_ms) {
  auto& running = all_.at(id);
  unindex(id, running);
  running.stopping = running.resizing = false;
  running.ends_ms = ends_ms;
  index(id, running);
}

const Running* RunningJobs::find(JobId id) const {
  const auto found = all_.find(id);
  return found == all_.end() ? nullptr : &found->second;
}

void RunningJobs::index(JobId id, const Running& running) {
  if (running.ends_ms != kNever) by_end_.emplace(running.ends_ms, id);
  if (running.stopping)
    stopping_.insert(id);
  else if (running.preemptible)
    preemptible_[running.priority].insert({running.placed_ms, id});
}

void RunningJobs::unindex(JobId id, const Running& running) {
  if (running.ends_ms != kNever) by_end_.erase({running.ends_ms, id});
  if (running.stopping)
    stopping_.erase(id);
  else if (running.preemptible) {
    const auto found = preemptible_.find(running.priority);
    found->second.erase({running.placed_ms, id});
    if (found->second.empty()) preemptible_.erase(found);
  }
}

}  // namespace rtrain::core
