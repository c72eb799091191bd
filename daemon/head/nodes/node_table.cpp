#include "daemon/head/nodes/node_table.h"

#include <algorithm>
#include <cmath>

namespace rtrain::head {

namespace {

constexpr std::size_t kNodeNameMax = 255;

std::int64_t to_ms(SteadyTime time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

std::optional<Error> wrong_node(const proto::NodeInfo& info) {
  const auto printable = [](unsigned char c) { return c > ' ' && c != 0x7f; };
  if (info.name.empty() || info.name.size() > kNodeNameMax || !std::ranges::all_of(info.name, printable))
    return fail(Errc::kInvalidArgument, "the node's name must have 1 to 255 characters and no blanks",
                "set node_name of the agent");
  for (const auto& [name, amount] : info.resources)
    if (!std::isfinite(amount) || amount < 0)
      return fail(Errc::kInvalidArgument,
                  "node " + info.name + " offers " + std::to_string(amount) + " " + name,
                  "correct resources of the agent");
  return std::nullopt;
}

}  // namespace

Result<Done> NodeTable::join(proto::NodeInfo info, std::shared_ptr<AgentLine> session, SteadyTime now,
                             std::chrono::duration<double> silence) {
  if (auto error = wrong_node(info)) return *error;
  auto& node = nodes_[info.name];
  if (node.session && now - node.last_heard < silence)
    return fail(Errc::kConflict, "an agent named " + info.name + " is connected already",
                "give each agent its own node_name");
  if (node.session) node.session->close();
  node.own_labels = info.labels;
  node.view.info = std::move(info);
  node.view.alive = true;
  node.view.away = false;
  node.session = std::move(session);
  node.last_heard = now;
  changed(node);
  return ok();
}

void NodeTable::expect(const std::string& name, SteadyTime now) {
  auto& node = nodes_[name];
  if (!node.view.info.name.empty()) return;
  node.view.info.name = name;
  node.view.away = true;
  node.last_heard = now;
  changed(node);
}

bool NodeTable::leave(const AgentLine& session) {
  auto* node = find(session.node());
  if (node == nullptr || node->session.get() != &session) return false;
  node->session.reset();
  node->view.away = node->view.alive;
  changed(*node);
  return true;
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
    changed(node);
    lost.push_back(name);
  }
  return lost;
}

void NodeTable::blame(const std::string& name, JobId job, const std::string& why, SteadyTime now) {
  auto* node = find(name);
  if (node == nullptr) return;
  node->incidents.add(job, to_ms(now), why);
  node->view.suspicion = node->incidents.suspicion(to_ms(now));
  changed(*node);
}

void NodeTable::age_suspicion(SteadyTime now) {
  for (auto& [name, node] : nodes_) {
    if (node.incidents.empty()) continue;
    const bool was_suspected = node.view.suspicion > 0;
    node.view.suspicion = node.incidents.suspicion(to_ms(now));
    if (was_suspected != (node.view.suspicion > 0)) changed(node);
  }
}

std::string NodeTable::suspicion_reason(const Node& node, SteadyTime now) const {
  return node.incidents.reason(to_ms(now));
}

void NodeTable::leaving(const std::string& name) {
  auto* node = find(name);
  if (node == nullptr) return;
  node->view.away = true;
  changed(*node);
}

void NodeTable::hold(const std::vector<proto::RankPlacement>& ranks, const proto::Resources& per_worker) {
  for (const auto& rank : ranks)
    if (auto* node = find(rank.node)) core::hold(node->view, rank, per_worker);
}

void NodeTable::release(const std::vector<proto::RankPlacement>& ranks, const proto::Resources& per_worker) {
  for (const auto& rank : ranks)
    if (auto* node = find(rank.node)) core::release(node->view, rank, per_worker);
}

void NodeTable::release_twice(const std::vector<proto::RankPlacement>& ranks,
                              const proto::Resources& per_worker) {
  release(ranks, per_worker);
  for (const auto& rank : ranks)
    if (const auto* node = find(rank.node)) changed(*node);
}

void NodeTable::forget(const std::string& name) {
  const auto found = nodes_.find(name);
  if (found == nodes_.end()) return;
  Node nothing;
  nothing.view.info.name = name;
  nothing.view.alive = false;
  nothing.view.away = true;
  nodes_.erase(found);
  changed(nothing);  // who plans counts on nothing of it
}

Node* NodeTable::find(const std::string& name) {
  const auto found = nodes_.find(name);
  return found == nodes_.end() ? nullptr : &found->second;
}

std::shared_ptr<AgentLine> NodeTable::session(const std::string& name) {
  const auto* node = find(name);
  return node == nullptr ? nullptr : node->session;
}

std::vector<core::NodeView> NodeTable::views() const {
  std::vector<core::NodeView> result;
  for (const auto& [name, node] : nodes_) result.push_back(node.view);
  return result;
}

}  // namespace rtrain::head
