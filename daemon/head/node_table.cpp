#include "daemon/head/node_table.h"

namespace rtrain::head {

Result<Done> NodeTable::join(proto::NodeInfo info, std::shared_ptr<AgentSession> session, SteadyTime now) {
  auto& node = nodes_[info.name];
  if (node.session)
    return fail(Errc::kConflict, "an agent named " + info.name + " is connected already", "give each agent its own node_name");
  node.view.info = std::move(info);
  node.view.alive = true;
  node.view.away = false;
  node.session = std::move(session);
  node.last_heard = now;
  return ok();
}

void NodeTable::leave(const AgentSession& session) {
  for (auto& [name, node] : nodes_)
    if (node.session.get() == &session) {
      node.session.reset();
      node.view.away = true;
    }
}

void NodeTable::heard(const std::string& name, SteadyTime now) {
  if (auto* node = find(name)) node->last_heard = now;
}

std::vector<std::string> NodeTable::lose_silent(SteadyTime now, std::chrono::duration<double> silence) {
  std::vector<std::string> lost;
  for (auto& [name, node] : nodes_) {
    if (!node.view.alive || now - node.last_heard < silence) continue;
    node.view.alive = false;
    if (node.session) node.session->close();
    node.session.reset();
    node.view.away = true;
    lost.push_back(name);
  }
  return lost;
}

template <class Change>
void NodeTable::change(Change change_views, const std::vector<proto::RankPlacement>& ranks, const proto::Resources& per_worker) {
  auto changed = views();
  change_views(changed, ranks, per_worker);
  for (auto& view : changed) nodes_[view.info.name].view = std::move(view);
}

void NodeTable::hold(const std::vector<proto::RankPlacement>& ranks, const proto::Resources& per_worker) { change(&core::hold, ranks, per_worker); }
void NodeTable::release(const std::vector<proto::RankPlacement>& ranks, const proto::Resources& per_worker) { change(&core::release, ranks, per_worker); }

Node* NodeTable::find(const std::string& name) {
  const auto found = nodes_.find(name);
  return found == nodes_.end() ? nullptr : &found->second;
}

std::shared_ptr<AgentSession> NodeTable::session(const std::string& name) {
  const auto* node = find(name);
  return node == nullptr ? nullptr : node->session;
}

std::vector<core::NodeView> NodeTable::views() const {
  std::vector<core::NodeView> result;
  for (const auto& [name, node] : nodes_) result.push_back(node.view);
  return result;
}

}  // namespace rtrain::head
