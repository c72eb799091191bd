// /v1/nodes.
#include "common/base/clip.h"
#include "daemon/head/api/documents.h"
#include "daemon/head/api/route_call.h"

#include <algorithm>

namespace rtrain::head {
namespace {

using proto::Json;

proto::NodeDoc doc_of(const Dispatcher& dispatcher, const std::string& name, const Node& node,
                      const std::set<JobId>& jobs) {
  auto doc = node_doc(node, dispatcher.node_admin().setting(name), {jobs.begin(), jobs.end()},
                      dispatcher.nodes().suspicion_reason(node, dispatcher.context().now()));
  const Seconds silent = dispatcher.context().now() - node.last_heard;
  doc.silent_s = std::max(0.0, std::round(silent.count() * 1000) / 1000);
  if (!doc.alive || doc.silent_s < dispatcher.context().overdue_s()) return doc;
  doc.reason += (doc.reason.empty() ? "" : "; ") + std::string("nothing was heard of its agent for ") +
                std::to_string(std::lround(doc.silent_s)) + " s; it is lost after " +
                std::to_string(std::lround(dispatcher.context().lost_after_s())) + " s";
  return doc;
}

Reply nodes(const RouteCall& call) {
  std::map<std::string, std::set<JobId>> jobs;
  const auto& book = call.dispatcher.jobs();
  for (const auto id : book.active())
    for (const auto& rank : book.find(id)->state.ranks)
      if (rank.phase != core::RankPhase::kEnded) jobs[rank.placement.node].insert(id);
  Json list = Json::array();
  for (const auto& [name, node] : std::as_const(call.dispatcher).nodes().all())
    list.push_back(doc_of(call.dispatcher, name, node, jobs[name]));
  return call.json({{"nodes", std::move(list)}});
}

Reply node(const RouteCall& call) {
  const auto& name = call.arguments[0];
  const auto& all = std::as_const(call.dispatcher).nodes().all();
  const auto found = all.find(name);
  if (found == all.end())
    return call.error(fail(Errc::kNotFound, "node " + clipped(name, 64) + ": no such node",
                           "rtrain nodes -o name lists them"));
  return call.json(doc_of(call.dispatcher, name, found->second, call.dispatcher.launcher().jobs_on(name)));
}

Reply done_or(const RouteCall& call, const Result<Done>& done) {
  return done ? node(call) : call.error(done.error());
}

Reply forget(const RouteCall& call) {
  auto answer = node(call);  // as it was
  if (auto done = call.dispatcher.node_admin().forget(call.arguments[0], call.by()); !done)
    return call.error(done.error());
  return answer;
}

/// It stands in the log and in every list of nodes.
Result<std::string> reason_of(const Json& body) {
  constexpr std::size_t kReasonMax = 1024;
  auto reason = field_of<std::string>(body, "reason", "");
  if (reason && reason->size() > kReasonMax)
    return fail(Errc::kLimit, "reason: has " + std::to_string(reason->size()) + " bytes; at most " +
                                  std::to_string(kReasonMax) + " are kept");
  return reason;
}

Reply cordon(const RouteCall& call) {
  const auto body = body_of(call, {"reason"});
  if (!body) return call.error(body.error());
  const auto reason = reason_of(*body);
  if (!reason) return call.error(reason.error());
  return done_or(call, call.dispatcher.node_admin().cordon(call.arguments[0], *reason, call.by()));
}

Reply uncordon(const RouteCall& call) {
  if (const auto body = body_of(call, {}); !body) return call.error(body.error());
  return done_or(call, call.dispatcher.node_admin().uncordon(call.arguments[0], call.by()));
}

Reply drain(const RouteCall& call) {
  const auto body = body_of(call, {"reason", "deadline_s"});
  if (!body) return call.error(body.error());
  const auto reason = reason_of(*body);
  if (!reason) return call.error(reason.error());
  const auto deadline = field_of<double>(*body, "deadline_s", -1);
  if (!deadline) return call.error(deadline.error());
  const bool has_deadline = body->contains("deadline_s") && !body->at("deadline_s").is_null();
  constexpr double kDeadlineMaxS = 30 * 86'400.0;
  if (has_deadline && !(*deadline >= 0 && *deadline <= kDeadlineMaxS))
    return call.error(fail(Errc::kInvalidArgument, "deadline_s is from 0 to 2592000 (30 days)"));
  return done_or(call, call.dispatcher.node_admin().drain(
                           call.arguments[0], *reason, has_deadline ? std::optional(*deadline) : std::nullopt,
                           call.by()));
}

Reply label(const RouteCall& call) {
  const auto body = body_of(call, {"labels"});
  if (!body) return call.error(body.error());
  const auto labels = body->find("labels");
  if (labels == body->end() || !labels->is_object() || labels->empty())
    return call.error(
        fail(Errc::kInvalidArgument, R"(labels: an object such as {"rack": "r1", "old": null})"));
  std::map<std::string, std::optional<std::string>> changes;
  for (const auto& [key, value] : labels->items()) {
    if (!value.is_null() && !value.is_string())
      return call.error(fail(Errc::kInvalidArgument,
                             "labels." + clipped(key, 64) + ": expected a string, or null to take it away"));
    changes[key] = value.is_null() ? std::nullopt : std::optional(value.get<std::string>());
  }
  return done_or(call, call.dispatcher.node_admin().label(call.arguments[0], changes, call.by()));
}

Reply return_gpus(const RouteCall& call) {
  const auto body = body_of(call, {"gpus"});
  if (!body) return call.error(body.error());
  const auto gpus = field_of<std::vector<int>>(*body, "gpus", {});
  if (!gpus) return call.error(gpus.error());
  if (std::ranges::any_of(*gpus, [](int gpu) { return gpu < 0; }))
    return call.error(fail(Errc::kInvalidArgument, "gpus: a GPU's number is not negative"));
  return done_or(call, call.dispatcher.node_admin().return_gpus(call.arguments[0], *gpus, call.by()));
}

}  // namespace

std::vector<Handler> node_routes() {
  return {
      {{http::verb::get, "/v1/nodes"}, nodes},
      {{http::verb::get, "/v1/nodes/{name}"}, node},
      {{http::verb::delete_, "/v1/nodes/{name}"}, forget},
      {{http::verb::post, "/v1/nodes/{name}/cordon"}, cordon},
      {{http::verb::post, "/v1/nodes/{name}/uncordon"}, uncordon},
      {{http::verb::post, "/v1/nodes/{name}/drain"}, drain},
      {{http::verb::post, "/v1/nodes/{name}/label"}, label},
      {{http::verb::post, "/v1/nodes/{name}/return"}, return_gpus},
  };
}

}  // namespace rtrain::head
