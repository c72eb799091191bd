// /v1/queue: what waits, in order, and why.
#include "daemon/head/api/documents.h"
#include "daemon/head/api/queue_documents.h"
#include "daemon/head/api/route_call.h"

namespace rtrain::head {
namespace {

using proto::Json;

constexpr std::int64_t kQueuedDefault = 1000, kQueuedMax = 10'000;

Reply queue(const RouteCall& call) {
  const auto limit = query_number(call.target, "limit", kQueuedDefault, 1, kQueuedMax);
  if (!limit) return call.error(limit.error());
  Json jobs = Json::array();
  for (const auto id : call.dispatcher.scheduling().queue(static_cast<std::size_t>(*limit))) {
    const auto waiting = call.dispatcher.scheduling().waiting(id);
    jobs.push_back(queued_doc(*call.dispatcher.jobs().find(id), waiting.position, waiting.reason,
                              waiting.expected_start_ms));
  }
  return call.json(
      {{"jobs", std::move(jobs)},
       {"queues", queue_docs(call.dispatcher.scheduling().planner(), call.dispatcher.jobs().tally())}});
}

}  // namespace

std::vector<Handler> queue_routes() { return {{{http::verb::get, "/v1/queue"}, queue, {"limit"}}}; }

}  // namespace rtrain::head
