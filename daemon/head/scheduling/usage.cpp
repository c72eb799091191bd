#include "daemon/head/scheduling/usage.h"

namespace rtrain::head {

void Usage::begins(const core::JobState& state, SteadyTime now) {
  auto held = state.spec->scaling_config.resources();
  for (auto& [name, amount] : held) amount *= static_cast<double>(state.ranks.size());
  holders_[state.id] = {state.spec->scheduling.queue, state.user, std::move(held), now};
}

void Usage::charge(JobId id, SteadyTime now, proto::UnixMs wall) {
  const auto found = holders_.find(id);
  if (found == holders_.end()) return;
  auto& holder = found->second;
  fair_share_.charge(holder.queue, holder.user, holder.held, Seconds(now - holder.charged).count(), wall);
  holder.charged = now;
}

void Usage::charge_all(SteadyTime now, proto::UnixMs wall) {
  fair_share_.decay(wall);
  for (const auto& [id, holder] : holders_) charge(id, now, wall);
}

void Usage::ends(JobId id, SteadyTime now, proto::UnixMs wall) {
  charge(id, now, wall);
  holders_.erase(id);
}

}  // namespace rtrain::head
