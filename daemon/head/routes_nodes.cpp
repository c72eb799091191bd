// /v1/nodes.
#include "daemon/head/route_call.h"

namespace rtrain::head {
namespace {

using proto::Json;

Reply nodes(const RouteCall& call) {
  std::map<std::string, std::set<JobId>> jobs;
  for (const auto& [id, record] : call.dispatcher.jobs().all()) {
    if (core::is_terminal(record.state.phase)) continue;
    for (const auto& rank : record.state.ranks)
      if (rank.phase != core::RankPhase::kEnded) jobs[rank.placement.node].insert(id);
  }
  Json list = Json::array();
  for (const auto& [name, node] : call.dispatcher.nodes().all()) {
    const auto& ids = jobs[name];
    list.push_back(proto::NodeDoc{node.view.info,
                                  node.view.used,
                                  {node.view.gpus_used.begin(), node.view.gpus_used.end()},
                                  node.view.alive && !node.view.away,
                                  {ids.begin(), ids.end()},
                                  node.view.suspicion,
                                  call.dispatcher.nodes().suspicion_reason(node, call.dispatcher.now())});
  }
  return call.json({{"nodes", std::move(list)}});
}

}  // namespace

std::vector<Handler> node_routes() {
  return {
      {{http::verb::get, "/v1/nodes"}, nodes},
  };
}

}  // namespace rtrain::head
