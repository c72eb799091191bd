// rtrain status: the cluster at a glance, or one job rank by rank.
#include "cli/follow_array.h"
#include "cli/job_reference.h"
#include "cli/job_rows.h"
#include "cli/parse.h"
#include "cli/progress_line.h"
#include "cli/result_block.h"
#include "cli/settings.h"
#include "cli/text.h"
#include "common/os/file.h"

#include <algorithm>
#include <map>

namespace rtrain::cli {

namespace {

/// "3 user (2 exit, 1 time_limit), 1 infrastructure (1 lost)"; "" without any.
std::string failures_by_class(const proto::FailureCounts& counts) {
  std::string out;
  for (const auto& [failure_class, kinds] : counts) {
    std::int64_t sum = 0;
    std::string each;
    for (const auto& [kind, count] : kinds) {
      sum += count;
      each += (each.empty() ? "" : ", ") + std::to_string(count) + " " + kind;
    }
    out += (out.empty() ? "" : ", ") + std::to_string(sum) + " " + failure_class + " (" + each + ")";
  }
  return out;
}

/// Jobs that are active and not among those that are shown, and where they are.
void print_rest(const Call& call, const proto::StatusDoc& status) {
  for (const auto& [state, count] : status.jobs_by_state) {
    if (has_ended(state)) continue;
    const auto shown = std::ranges::count(status.active_jobs, state, &proto::JobDoc::state);
    if (count > shown)
      call.console.out(std::to_string(count - shown) + " more are " + state + ": rtrain list --state " +
                       state + "\n");
  }
}

Result<int> cluster_status(const Call& call, const Client& client) {
  auto answer = client.get("/v1/status");
  if (!answer) return answer.error();
  auto status = as<proto::StatusDoc>(*answer);
  if (!status) return status.error();
  if (call.json()) {
    call.console.out(proto::dump_json(*answer) + "\n");
    return 0;
  }
  const bool colour = call.console.out_colour();
  std::string out;
  if (status->status == "read_only")
    out += "head    " + styled("read-only", state_style("FAILED"), colour) + ": " +
           printable(status->reason, false) + "\n";
  if (!status->clock.empty())
    out += "clock   " + styled(printable(status->clock, false), state_style("FAILED"), colour) + "\n";
  out += "nodes   " + std::to_string(status->nodes.alive) + " of " + std::to_string(status->nodes.total) +
         " alive\n";
  out += "CPUs    " + amount(status->resources["CPU"].used) + " of " +
         amount(status->resources["CPU"].total) + " in use\n";
  out += "GPUs    " + amount(status->resources["GPU"].used) + " of " +
         amount(status->resources["GPU"].total) + " in use\n";
  std::string counts;
  for (const auto& [state, count] : status->jobs_by_state)
    counts += (counts.empty() ? "" : ", ") + std::to_string(count) + " " +
              styled(state, state_style(state), colour);
  out += "jobs    " + (counts.empty() ? "none" : counts) + "\n";
  if (const auto failed = failures_by_class(status->failures_by_class); !failed.empty())
    out += "failed  " + printable(failed, false) + " since the head started " +
           ago(status->since_ms, os::unix_ms_now()) + "\n";
  for (const auto& aside : status->set_aside)
    out += "aside   " + styled(printable(aside.reason, false), state_style("FAILED"), colour) + "\n";
  call.console.out(out);
  if (status->active_jobs.empty()) return 0;
  call.console.out("\n");
  call.console.print(job_table(status->active_jobs, os::unix_ms_now()));
  print_rest(call, *status);
  return 0;
}

/// "2 failed, 1 could not be started, asked for its place: 1 preemption, 2 drains; the last: infrastructure";
/// "" when nothing happened.
std::string failure_counts(const proto::JobDoc& job) {
  std::string out;
  const auto add = [&](int count, const std::string& what) {
    if (count > 0) out += (out.empty() ? "" : ", ") + std::to_string(count) + " " + what;
  };
  add(job.failures, "counted");
  add(job.controller_failures, "could not be started");
  if (!out.empty() && !job.failure_class.empty()) out += "; the last of class " + job.failure_class;
  std::string places;
  for (const auto& [count, what] :
       {std::pair{job.preemptions, "preempted"}, {job.drains, "drained"}, {job.resizes, "resized"}})
    if (count > 0)
      places += (places.empty() ? "" : ", ") + std::string(what) + " " + std::to_string(count) +
                (count == 1 ? " time" : " times");
  return out + (out.empty() || places.empty() ? "" : "; ") + places;
}

/// "2 validated, 1 pending (job 14)"; "" without any.
std::string validation_counts(const proto::JobDoc& job) {
  std::map<proto::ValidationStatus, int> counts;
  std::string jobs;
  for (const auto& one : job.validations) {
    ++counts[one.status];
    if (one.status == proto::ValidationStatus::kPending && one.job.value() != 0)
      jobs += (jobs.empty() ? "job " : ", job ") + rtrain::to_string(one.job);
  }
  std::string out;
  for (const auto status : {proto::ValidationStatus::kValidated, proto::ValidationStatus::kTimeout,
                            proto::ValidationStatus::kFailed, proto::ValidationStatus::kPending})
    if (const auto found = counts.find(status); found != counts.end())
      out += (out.empty() ? "" : ", ") + std::to_string(found->second) + " " +
             std::string(proto::to_string(status));
  return out + (jobs.empty() ? "" : " (" + jobs + ")");
}

/// What ends the hold of a user; its sweep pauses a trial, and lets it go on, by itself.
std::string release_of(const proto::JobDoc& job) {
  const auto sweep = job.sweep ? "sweep " + rtrain::to_string(job.sweep->sweep) : "";
  if (job.sweep && job.held_by == sweep) return "";
  const bool paused = job.sweep && job.held_by.ends_with(" and " + sweep);
  return "; rtrain release " + job_name_of(job) + (paused ? " leaves it to its sweep" : " lets it start");
}

void print_job(const Call& call, const proto::JobDoc& job) {
  const bool colour = call.console.out_colour();
  const std::int64_t now = os::unix_ms_now();
  std::string out = "job " + job_name_of(job) + " (" + printable(job.name, false) +
                    "): " + styled(job.state, state_style(job.state), colour);
  if (!job.reason.empty()) out += ": " + printable(job.reason, false);
  out += "\n";
  const auto row = [&](const char* label, const std::string& text) {
    if (text.empty()) return;
    std::string name = label;
    name.resize(12, ' ');
    out += "  " + styled(name, Style::kDim, colour) + printable(text, false) + "\n";
  };
  if (job.array)
    row("array", "index " + std::to_string(job.array->index) + " of " + std::to_string(job.array->count) +
                     " jobs; this one is job " + rtrain::to_string(job.id) +
                     ", the others: rtrain list --array " + rtrain::to_string(job.array->id));
  if (job.validates)
    row("validates", job.validates->path.substr(job.validates->path.rfind('/') + 1) + " of job " +
                         rtrain::to_string(job.validates->job));
  if (job.sweep)
    row("trial", std::to_string(job.sweep->trial) + " of sweep " + rtrain::to_string(job.sweep->sweep) +
                     "; rtrain sweep show " + rtrain::to_string(job.sweep->sweep));
  row("submitted", ago(job.submitted_ms, now) + (job.user.empty() ? "" : " by " + job.user));
  row("queue", job.queue + (job.priority != 0 ? ", priority " + std::to_string(job.priority) : ""));
  if (job.held) row("held", "by " + job.held_by + release_of(job));
  if (job.attempt == 0 && job.begin_at_ms > now)
    row("begin", "not before " + proto::rfc3339(job.begin_at_ms));
  if (job.retry_at_ms > now) row("retry", "not before " + proto::rfc3339(job.retry_at_ms));
  if (job.started_ms > 0)
    row("started", ago(job.started_ms, now) + (job.ended_ms > 0 ? ", ran " : ", running for ") +
                       duration(run_seconds(job, now)));
  if (job.attempt > 0)
    row("attempt", std::to_string(job.attempt) +
                       (job.failures > 0 ? ", " + std::to_string(job.failures) + " failed" : "") +
                       " (max_failures " + std::to_string(job.max_failures) + ")");
  row("failures", failure_counts(job));
  row("by class", failures_by_class(job.failures_by_class));
  if (job.progress && job.state == "RUNNING")
    row("progress",
        progress_text(*job.progress, job.progress->steps_per_s > 0
                                         ? static_cast<double>(job.progress->step) / job.progress->steps_per_s
                                         : 0));
  row("metrics", metrics_line(job.metrics));
  row("reports", dropped_line(job.reports, job.reports_dropped));
  row("validations", validation_counts(job));
  for (const auto& one : job.validations)
    if (!one.error.empty()) row("warning", one.checkpoint + " was not validated: " + one.error);
  row("path", job.run_dir);
  call.console.out(out);
  if (!job.ranks.empty()) {
    Table table({">RANK", "NODE", ">PID", "GPUS", "STATE", "ENDED WITH"});
    for (const auto& rank : job.ranks) {
      const bool ended = rank.state == "ENDED";
      table.add({std::to_string(rank.rank), rank.node, rank.pid > 0 ? std::to_string(rank.pid) : "",
                 gpu_list(rank.gpus), rank.state, ended ? proto::to_string(rank.status) : ""});
    }
    call.console.out("\n");
    call.console.print(table);
  }
  if (!job.error) return;
  auto shown = job;
  shown.reason.clear();  // stands in the first line
  call.console.out("\n" + error_block(*job.error, shown, log_command(*job.error, job_name_of(job)), colour));
}

Result<int> array_status(const Call& call, const Client& client, JobId id) {
  auto jobs = jobs_of_array(get_of(client), id);
  if (!jobs) return jobs.error();
  if (call.json())
    call.console.out(proto::dump_json({{"id", id.value()}, {"jobs", *jobs}}) + "\n");
  else
    call.console.out(
        array_block(*jobs, os::unix_ms_now(), call.console.table_width(), call.console.out_colour()));
  return 0;
}

Result<int> status(Call& call) {
  auto client = client_of(call);
  if (!client) return client.error();
  if (call.args.positionals.empty()) return cluster_status(call, *client);
  auto id = find_job(*client, call.args.positionals.front());
  if (!id) return id.error();
  auto answer = client->get("/v1/jobs/" + std::to_string(*id));
  if (!answer) return answer.error();
  auto job = as<proto::JobDoc>(*answer);
  if (!job) return job.error();
  if (means_array(call.args.positionals.front(), *job)) return array_status(call, *client, job->id);
  if (call.json())
    call.console.out(proto::dump_json(*answer) + "\n");
  else
    print_job(call, *job);
  return 0;
}

}  // namespace

Verb status_verb() {
  return {
      .name = "status",
      .usage = "[ID]",
      .summary = "show the cluster at a glance, a job rank by rank, or an array job by job",
      .description =
          "The exit status says whether the query succeeded, not the state of the job: see `rtrain result`.",
      .positionals_max = 1,
      .outputs = {"table", "json"},
      .examples = {{"rtrain status",
                    "nodes, resources, jobs by state, failures by class, up to 20 active jobs"},
                   {"rtrain status 42", "each rank of job 42 with node, pid and state; of array 42 each job"},
                   {"rtrain status 42 -o json", "the job's document"}},
      .run = status};
}

}  // namespace rtrain::cli
