#include "daemon/core/claims.h"

#include <algorithm>

namespace rtrain::core {

void Claims::close(const Fit& fit) {
  closed_.resize(static_cast<std::size_t>(nodes_.size()), false);
  for (NodeId id = 0; id < nodes_.size(); ++id) {
    if (fit.idle(id) == 0 || closed_[static_cast<std::size_t>(id)]) continue;
    closed_[static_cast<std::size_t>(id)] = true;
    ++closed_count_;
  }
}

bool Claims::closes_all(const Fit& fit) const {
  if (closed_count_ == 0) return false;
  if (closed_count_ == nodes_.size()) return true;
  const auto open = [&](const Room& room) { return !is_closed(room.node); };
  return std::ranges::none_of(fit.rooms(), open) && std::ranges::none_of(fit.suspected(), open);
}

const std::vector<Claims::OnNode>* Claims::on(NodeId node) const {
  const auto found = on_node_.find(node);
  return found == on_node_.end() ? nullptr : &found->second;
}

int Claims::allowed(const Room& room, const Need& need, proto::UnixMs end_ms) const {
  if (is_closed(room.node)) return 0;
  const auto& node = nodes_[room.node];
  for (const auto& window : node.windows)
    if (window.reservation != need.reservation && window.end_ms > now_ && end_ms > window.start_ms) return 0;
  int allowed = room.capacity;
  const auto* claims = on(room.node);
  if (claims == nullptr) return allowed;
  for (const auto& held : *claims) {
    const auto& claim = claims_[static_cast<std::size_t>(held.claim)];
    if (end_ms <= claim.from_ms) continue;
    // What it takes now it still has when the claim begins: the claim must fit beside it.
    const auto& claimed = book_.need(claim.need).amounts;
    Stock now = node.free, then = held.at;
    int fit = 0;
    for (; fit < allowed; ++fit) {
      then.take(need.amounts, 1, now.take(need.amounts));
      if (then.capacity(claimed) < held.workers) break;
    }
    allowed = fit;
  }
  return allowed;
}

void Claims::took(NodeId node, const Need& need, int workers, const std::vector<int>& gpus,
                  proto::UnixMs end_ms) {
  const auto found = on_node_.find(node);
  if (found == on_node_.end()) return;
  for (auto& held : found->second)
    if (end_ms > claims_[static_cast<std::size_t>(held.claim)].from_ms)
      held.at.take(need.amounts, workers, gpus);
}

}  // namespace rtrain::core
