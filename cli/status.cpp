// rtrain status: the cluster at a glance, or one job rank by rank.
#include "cli/job_reference.h"
#include "cli/job_rows.h"
#include "cli/parse.h"
#include "cli/progress_line.h"
#include "cli/result_block.h"
#include "cli/settings.h"
#include "cli/text.h"
#include "common/os/file.h"

#include <map>

namespace rtrain::cli {

namespace {

double amount_of(const proto::Resources& resources, const char* name) {
  const auto it = resources.find(name);
  return it == resources.end() ? 0 : it->second;
}

Result<int> cluster_status(const Call& call, const Client& client) {
  auto health = client.get("/healthz");
  if (!health) return health.error();
  auto nodes_answer = client.get("/v1/nodes");
  if (!nodes_answer) return nodes_answer.error();
  auto jobs_answer = client.get("/v1/jobs");
  if (!jobs_answer) return jobs_answer.error();
  auto nodes = as_list<proto::NodeDoc>(*nodes_answer, "nodes");
  if (!nodes) return nodes.error();
  auto jobs = as_list<proto::JobDoc>(*jobs_answer, "jobs");
  if (!jobs) return jobs.error();

  std::map<std::string, int> by_state;
  std::vector<proto::JobDoc> active;
  for (const auto& job : *jobs) {
    ++by_state[job.state];
    if (!has_ended(job.state)) active.push_back(job);
  }
  int alive = 0;
  std::map<std::string, std::pair<double, double>> resources{{"CPU", {0, 0}}, {"GPU", {0, 0}}, {"memory", {0, 0}}};  // used, total
  for (const auto& node : *nodes) {
    if (!node.alive) continue;
    ++alive;
    for (auto& [name, sum] : resources) {
      sum.first += amount_of(node.used, name.c_str());
      sum.second += amount_of(node.info.resources, name.c_str());
    }
  }
  if (call.json()) {
    proto::Json sums = proto::Json::object();
    for (const auto& [name, sum] : resources) sums[name] = {{"used", sum.first}, {"total", sum.second}};
    proto::Json running = proto::Json::array();
    for (const auto& job : active) running.push_back(job);
    call.console.out(proto::dump_json({{"nodes", {{"alive", alive}, {"total", nodes->size()}}},
                                       {"resources", sums},
                                       {"jobs_by_state", by_state},
                                       {"active_jobs", running}}) + "\n");
    return 0;
  }
  std::string out;
  if (health->value("status", "") == "read_only") out += "head    " + styled("read-only", state_style("FAILED"), call.console.out_colour()) + ": " + printable(health->value("reason", ""), false) + "\n";
  out += "nodes   " + std::to_string(alive) + " of " + std::to_string(nodes->size()) + " alive\n";
  out += "CPUs    " + amount(resources["CPU"].first) + " of " + amount(resources["CPU"].second) + " in use\n";
  out += "GPUs    " + amount(resources["GPU"].first) + " of " + amount(resources["GPU"].second) + " in use\n";
  std::string counts;
  for (const auto& [state, count] : by_state)
    counts += (counts.empty() ? "" : ", ") + std::to_string(count) + " " + styled(state, state_style(state), call.console.out_colour());
  call.console.out(out + "jobs    " + (counts.empty() ? "none" : counts) + "\n");
  if (!active.empty()) {
    call.console.out("\n");
    call.console.print(job_table(active, os::unix_ms_now()));
  }
  return 0;
}

/// "2 failed, 1 could not be started, asked for its place: 1 preemption, 2 drains; the last: infrastructure"; "" when nothing happened.
std::string failure_counts(const proto::JobDoc& job) {
  std::string out;
  const auto add = [&](int count, const std::string& what) {
    if (count > 0) out += (out.empty() ? "" : ", ") + std::to_string(count) + " " + what;
  };
  add(job.failures, "counted");
  add(job.controller_failures, "could not be started");
  if (!out.empty() && !job.failure_class.empty()) out += "; the last of class " + job.failure_class;
  std::string places;
  for (const auto& [count, what] : {std::pair{job.preemptions, "preempted"}, {job.drains, "drained"}, {job.resizes, "resized"}})
    if (count > 0) places += (places.empty() ? "" : ", ") + std::string(what) + " " + std::to_string(count) + (count == 1 ? " time" : " times");
  return out + (out.empty() || places.empty() ? "" : "; ") + places;
}

void print_job(const Call& call, const proto::JobDoc& job) {
  const bool colour = call.console.out_colour();
  const std::int64_t now = os::unix_ms_now();
  std::string out = "job " + job_name_of(job) + " (" + printable(job.name, false) + "): " + styled(job.state, state_style(job.state), colour);
  if (!job.reason.empty()) out += ": " + printable(job.reason, false);
  out += "\n";
  const auto row = [&](const char* label, const std::string& text) {
    if (text.empty()) return;
    std::string name = label;
    name.resize(12, ' ');
    out += "  " + styled(name, Style::kDim, colour) + printable(text, false) + "\n";
  };
  if (job.array)
    row("array", "index " + std::to_string(job.array->index) + " of " + std::to_string(job.array->count) + " jobs; this one is job " + rtrain::to_string(job.id) + ", the others: rtrain list --array " +
                     rtrain::to_string(job.array->id));
  row("submitted", ago(job.submitted_ms, now) + (job.user.empty() ? "" : " by " + job.user));
  row("queue", job.queue + (job.priority != 0 ? ", priority " + std::to_string(job.priority) : ""));
  if (job.held) row("held", "by " + job.held_by + "; rtrain release " + job_name_of(job) + " lets it start");
  if (job.retry_at_ms > now) row("retry", "not before " + proto::rfc3339(job.retry_at_ms));
  if (job.started_ms > 0) row("started", ago(job.started_ms, now) + (job.ended_ms > 0 ? ", ran " : ", running for ") + duration(run_seconds(job, now)));
  if (job.attempt > 0)
    row("attempt", std::to_string(job.attempt) + (job.failures > 0 ? ", " + std::to_string(job.failures) + " failed" : "") +
                       " (max_failures " + std::to_string(job.max_failures) + ")");
  row("failures", failure_counts(job));
  if (job.progress && job.state == "RUNNING")
    row("progress", progress_text(*job.progress, job.progress->steps_per_s > 0 ? static_cast<double>(job.progress->step) / job.progress->steps_per_s : 0));
  row("metrics", metrics_line(job.metrics));
  row("path", job.run_dir);
  call.console.out(out);
  if (!job.ranks.empty()) {
    Table table({">RANK", "NODE", ">PID", "GPUS", "STATE", "ENDED WITH"});
    for (const auto& rank : job.ranks) {
      const bool ended = rank.state == "ENDED";
      table.add({std::to_string(rank.rank), rank.node, rank.pid > 0 ? std::to_string(rank.pid) : "", gpu_list(rank.gpus), rank.state,
                 ended ? proto::to_string(rank.status) : ""});
    }
    call.console.out("\n");
    call.console.print(table);
  }
  if (job.error) call.console.out("\n" + error_block(*job.error, job.max_failures, log_command(*job.error, job.id), colour));
}

Result<int> status(Call& call) {
  auto client = client_of(call);
  if (!client) return client.error();
  if (call.args.positionals.empty()) return cluster_status(call, *client);
  auto id = find_job(*client, call.args.positionals.front());
  if (!id) return id.error();
  auto answer = client->get("/v1/jobs/" + std::to_string(*id));
  if (!answer) return answer.error();
  if (call.json()) {
    call.console.out(proto::dump_json(*answer) + "\n");
    return 0;
  }
  auto job = as<proto::JobDoc>(*answer);
  if (!job) return job.error();
  print_job(call, *job);
  return 0;
}

}  // namespace

Verb status_verb() {
  return {.name = "status",
          .usage = "[ID]",
          .summary = "show the cluster at a glance, or one job rank by rank",
          .description = "The exit status tells whether the question was answered, not how the job is: see `rtrain result`.",
          .positionals_max = 1,
          .outputs = {"table", "json"},
          .examples = {{"rtrain status", "nodes, resources, jobs by state, active jobs"},
                       {"rtrain status 42", "each rank of job 42 with node, pid and state"},
                       {"rtrain status 42 -o json", "the job's document"}},
          .run = status};
}

}  // namespace rtrain::cli
