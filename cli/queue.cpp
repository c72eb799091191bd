// rtrain queue: what waits, in order, and why.
#include "cli/settings.h"
#include "cli/text.h"
#include "common/os/file.h"

namespace rtrain::cli {

namespace {

/// "4 x CPU 1, GPU 1"
std::string request_of(const proto::QueuedDoc& job) {
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

std::string percent(double fraction) { return number(100 * fraction, 3) + "%"; }

std::string hours_of(const proto::Resources& used, const char* name) {
  const auto found = used.find(name);
  return found == used.end() ? "0" : number(found->second / 3600, 3);
}

/// "4 of 8"; "4" without a quota.
template <class T>
std::string of_quota(double in_use, const std::optional<T>& quota) {
  return amount(in_use) + (quota ? " of " + amount(static_cast<double>(*quota)) : "");
}

Table queue_table(const std::vector<proto::QueueDoc>& queues) {
  Table table({"QUEUE", ">WEIGHT", ">SHARE", ">USAGE", ">GPU-HOURS", ">CPU-HOURS", ">RUNNING", ">WAITING",
               ">GPUS", ">CPUS"});
  for (const auto& one : queues)
    table.add({one.name, number(one.weight), percent(one.share), percent(one.usage),
               hours_of(one.used, "GPU"), hours_of(one.used, "CPU"), of_quota(one.running, one.jobs_max),
               std::to_string(one.waiting), of_quota(one.gpus, one.gpus_max),
               of_quota(one.cpus, one.cpus_max)});
  return table;
}

Table user_table(const std::vector<proto::QueueDoc>& queues) {
  Table table(
      {"QUEUE", "USER", ">USAGE", ">GPU-HOURS", ">CPU-HOURS", ">RUNNING", ">WAITING", ">GPUS", ">CPUS"});
  for (const auto& queue : queues)
    for (const auto& one : queue.users)
      table.add({queue.name, one.name, percent(one.usage), hours_of(one.used, "GPU"),
                 hours_of(one.used, "CPU"), of_quota(one.running, queue.user_jobs_max),
                 std::to_string(one.waiting), of_quota(one.gpus, queue.user_gpus_max),
                 of_quota(one.cpus, queue.user_cpus_max)});
  return table;
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
  const auto name_of = [](const proto::QueuedDoc& job) {
    return job.array ? proto::to_string(*job.array) : rtrain::to_string(job.id);
  };
  if (call.output == "name") {
    for (const auto& job : *jobs) call.console.out(name_of(job) + "\n");
    return 0;
  }
  int waiting = 0;
  for (const auto& one : *queues) waiting += one.waiting;
  call.console.print(queue_table(*queues));
  if (call.args.has("users")) {
    call.console.out("\n");
    call.console.print(user_table(*queues));
  }
  if (jobs->empty()) {
    call.console.note("no jobs are waiting");
    return 0;
  }
  call.console.out("\n");
  const auto now = os::unix_ms_now();
  Table table(
      {">POSITION", ">ID", "NAME", "USER", "QUEUE", ">PRIORITY", "ASKS FOR", "WAITS", "STARTS", "WHY"});
  for (const auto& job : *jobs)
    table.add({job.position > 0 ? std::to_string(job.position) : "",
               name_of(job),
               {job.name, Style::kBold},
               job.user,
               job.queue,
               std::to_string(job.priority),
               request_of(job),
               duration(static_cast<double>(std::max<std::int64_t>(0, now - job.submitted_ms)) / 1000),
               start_of(job, now),
               job.reason});
  call.console.print(table);
  if (std::cmp_less(jobs->size(), waiting))
    call.console.note(std::to_string(waiting - static_cast<int>(jobs->size())) + " more");
  return 0;
}

}  // namespace

Verb queue_verb() {
  return {.name = "queue",
          .usage = "",
          .summary = "show what waits, in order, and why",
          .description =
              "SHARE is a queue's part of all weights, USAGE its part of recent use (by the largest share "
              "of any resource; the weight of\n"
              "what was used halves with fair_share_half_life_s): queues and users whose USAGE is small for "
              "their SHARE come first. RUNNING, GPUS\n"
              "and CPUS show the quota if there is one. A job without a position is not queued for "
              "resources: it is held, or waits for another\n"
              "job, a time or a reservation. It blocks no other job.",
          .outputs = {"table", "json", "name"},
          .options = {{"users", 'u', "", "also each user's usage and quota"},
                      {"limit", 'n', "N", "at most N jobs (default 1000)"}},
          .examples = {{"rtrain queue", "the queues, and each job that waits"},
                       {"rtrain queue -u -n 10", "with the users, and the next ten jobs"},
                       {"rtrain queue -o json", "for a script"}},
          .run = queue};
}

}  // namespace rtrain::cli
