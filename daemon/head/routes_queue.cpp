// /v1/queue: what waits, in order, and why.
#include "daemon/head/documents.h"
#include "daemon/head/route_call.h"

namespace rtrain::head {
namespace {

using proto::Json;

constexpr std::int64_t kJobsDefault = 1000, kJobsMax = 10'000;

Reply queue(const RouteCall& call) {
  const auto limit = query_number(call.target, "limit", kJobsDefault);
  if (!limit) return call.error(limit.error());
  if (*limit < 1 || *limit > kJobsMax) return call.error(fail(Errc::kInvalidArgument, "limit is from 1 to 10000"));
  const auto& book = call.dispatcher.jobs();
  std::map<std::string, proto::QueueDoc> queues;
  for (const auto id : book.active()) ++queues[book.find(id)->state.spec.scheduling.queue].running;
  Json jobs = Json::array();
  for (const auto id : call.dispatcher.queue()) {
    const auto& record = *book.find(id);
    ++queues[record.state.spec.scheduling.queue].waiting;
    if (std::cmp_greater_equal(jobs.size(), *limit)) continue;
    const auto waiting = call.dispatcher.waiting(id);
    jobs.push_back(queued_doc(record, waiting.position, waiting.reason, waiting.expected_start_ms));
  }
  Json list = Json::array();
  for (auto& [name, doc] : queues) {
    doc.name = name;
    list.push_back(doc);
  }
  return call.json({{"jobs", std::move(jobs)}, {"queues", std::move(list)}});
}

}  // namespace

std::vector<Handler> queue_routes() { return {{{http::verb::get, "/v1/queue"}, queue}}; }

}  // namespace rtrain::head
