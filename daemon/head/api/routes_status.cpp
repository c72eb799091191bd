// /v1/status: the cluster at a glance. Nothing here is counted over all jobs: the answer costs the same with
// a hundred thousand of them.
#include "daemon/head/api/documents.h"
#include "daemon/head/api/route_call.h"

#include <ranges>

namespace rtrain::head {
namespace {

/// Nodes, and of those that are alive what they have. CPU, GPU and memory are there with 0 too.
void sum_up(const NodeTable& nodes, proto::StatusDoc& doc) {
  for (const char* name : {"CPU", "GPU", "memory"}) doc.resources[name];
  for (const auto& [name, node] : nodes.all()) {
    ++doc.nodes.total;
    if (!node.view.alive || node.view.away) continue;
    ++doc.nodes.alive;
    for (const auto& [resource, amount] : node.view.info.resources) doc.resources[resource].total += amount;
    for (const auto& [resource, amount] : node.view.used) doc.resources[resource].used += amount;
  }
}

/// Running ones first, then those that stop, start, validate, wait; in each state the newest first.
void add_active_jobs(const RouteCall& call, proto::StatusDoc& doc) {
  const auto& book = call.dispatcher.jobs();
  const auto add = [&](const std::set<JobId>& ids, core::JobPhase phase) {
    for (const auto id : ids | std::views::reverse) {
      if (std::cmp_greater_equal(doc.active_jobs.size(), proto::StatusDoc::kActiveShown)) return;
      const auto& record = *book.find(id);
      if (record.state.phase == phase) doc.active_jobs.push_back(call.doc(record));
    }
  };
  for (const auto phase : {core::JobPhase::kRunning, core::JobPhase::kStopping, core::JobPhase::kStarting})
    add(book.active(), phase);
  add(book.validating(), core::JobPhase::kValidating);
  add(book.queued(), core::JobPhase::kQueued);
}

Reply status(const RouteCall& call) {
  const auto& book = call.dispatcher.jobs();
  proto::StatusDoc doc;
  if (const auto health = call.dispatcher.context().health(); !health.writable) {
    doc.status = "read_only";
    doc.reason = health.why;
  }
  if (const auto doubt = call.dispatcher.context().clock_doubt(); !doubt.empty())
    doc.clock = doubt +
                ": no job is forgotten by age, and times of the day are counted on from before, until NTP "
                "confirms the clock or the head is started with accept_clock";
  doc.since_ms = call.dispatcher.start_report().started_ms;
  sum_up(call.dispatcher.nodes(), doc);
  for (const auto& [phase, jobs] : book.tally().by_phase())
    if (jobs > 0) doc.jobs_by_state[std::string(core::to_string(phase))] = jobs;
  doc.failures_by_class = book.failures();
  add_active_jobs(call, doc);
  for (const auto& aside : call.dispatcher.start_report().set_aside) {
    if (doc.set_aside.size() == proto::StatusDoc::kSetAsideShown) break;
    doc.set_aside.push_back({aside.job, aside.what + ": " + aside.why});
  }
  return call.json(doc);
}

}  // namespace

std::vector<Handler> status_routes() { return {{{http::verb::get, "/v1/status"}, status}}; }

}  // namespace rtrain::head
