// rtrain queue: what waits, in order, and why.
#include "cli/settings.h"
#include "cli/text.h"
#include "common/os/file.h"

namespace rtrain::cli {

namespace {

/// "4 x CPU 1, GPU 1"
std::string wish_of(const proto::QueuedDoc& job) {
  std::string each;
  for (const auto& [name, value] : job.resources_per_worker)
    each += (each.empty() ? "" : ", ") + name + " " + (name == "memory" ? bytes(value) : amount(value));
  return std::to_string(job.num_workers) + " x " + each;
}

/// "in 12s"; "-" when nobody can say.
std::string start_of(const proto::QueuedDoc& job, std::int64_t now_ms) {
  if (job.expected_start_ms == 0) return "";
  const auto left = job.expected_start_ms - now_ms;
  return left <= 0 ? "now" : "in " + duration(static_cast<double>(left) / 1000);
}

Result<int> queue(Call& call) {
  auto limit = call.args.integer("limit", 1, 10'000);
  if (!limit) return limit.error();
  auto client = client_of(call);
  if (!client) return client.error();
  auto answer = client->get("/v1/queue" + (*limit ? "?limit=" + std::to_string(**limit) : ""));
  if (!answer) return answer.error();
  auto jobs = as_list<proto::QueuedDoc>(*answer, "jobs");
  if (!jobs) return jobs.error();
  auto queues = as_list<proto::QueueDoc>(*answer, "queues");
  if (!queues) return queues.error();
  if (call.json()) {
    call.console.out(proto::dump_json(*answer) + "\n");
    return 0;
  }
  const auto name_of = [](const proto::QueuedDoc& job) { return job.array ? proto::to_string(*job.array) : rtrain::to_string(job.id); };
  if (call.output == "name") {
    for (const auto& job : *jobs) call.console.out(name_of(job) + "\n");
    return 0;
  }
  int waiting = 0;
  Table summary({"QUEUE", ">RUNNING", ">WAITING"});
  for (const auto& one : *queues) {
    waiting += one.waiting;
    summary.add({one.name, std::to_string(one.running), std::to_string(one.waiting)});
  }
  if (!queues->empty()) call.console.print(summary);
  if (jobs->empty()) {
    call.console.note("no job waits");
    return 0;
  }
  call.console.out("\n");
  const auto now = os::unix_ms_now();
  Table table({">POSITION", ">ID", "NAME", "USER", "QUEUE", ">PRIORITY", "ASKS FOR", "WAITS", "STARTS", "WHY"});
  for (const auto& job : *jobs)
    table.add({job.position > 0 ? std::to_string(job.position) : "", name_of(job), {job.name, Style::kBold}, job.user, job.queue, std::to_string(job.priority), wish_of(job),
               duration(static_cast<double>(std::max<std::int64_t>(0, now - job.submitted_ms)) / 1000), start_of(job, now), job.reason});
  call.console.print(table);
  if (std::cmp_less(jobs->size(), waiting)) call.console.note(std::to_string(waiting - static_cast<int>(jobs->size())) + " more");
  return 0;
}

}  // namespace

Verb queue_verb() {
  return {.name = "queue",
          .usage = "",
          .summary = "show what waits, in order, and why",
          .description = "A job without a position does not stand in line: it is held, or waits for another job, a time or a reservation. It blocks nobody.",
          .outputs = {"table", "json", "name"},
          .options = {{"limit", 'n', "N", "at most N jobs (default 1000)"}},
          .examples = {{"rtrain queue", "the queues, and each job that waits"},
                       {"rtrain queue -n 10", "the next ten"},
                       {"rtrain queue -o json", "for a script"}},
          .run = queue};
}

}  // namespace rtrain::cli
