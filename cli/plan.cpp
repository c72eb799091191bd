// rtrain plan: where a job would run now, or why not.
#include "cli/job_file.h"
#include "cli/settings.h"
#include "cli/text.h"

namespace rtrain::cli {

namespace {

Result<int> plan(Call& call) {
  auto client = client_of(call);
  if (!client) return client.error();
  auto job = load_job(call);
  if (!job) return job.error();
  if (!report_errors(*job, call.console)) return static_cast<int>(Exit::kUsage);
  auto answer = client->post("/v1/plan", proto::to_json(job->spec));
  if (!answer) return answer.error();
  auto doc = as<proto::PlanDoc>(*answer);
  if (!doc) return doc.error();
  const int status = static_cast<int>(doc->feasible ? Exit::kOk : Exit::kUnplaceable);
  if (call.json()) {
    call.console.out(proto::dump_json(*answer) + "\n");
    return status;
  }
  const std::string because = doc->reason.empty() ? "" : ": " + printable(doc->reason, false);
  if (!doc->feasible) {
    call.console.out("cannot be placed" + because + "\n");
  } else if (!doc->would_start) {
    call.console.out(
        "would wait" +
        (doc->queue_position > 0 ? " at position " + std::to_string(doc->queue_position) : std::string()) +
        because + "\n");
  } else {
    call.console.out("would start now" + because + "\n");
  }
  if (doc->ranks.empty()) return status;
  Table table({">RANK", "NODE", ">NODE RANK", ">LOCAL RANK", "GPUS"});
  for (const auto& rank : doc->ranks) {
    std::string gpus;
    for (const int gpu : rank.gpus) gpus += (gpus.empty() ? "" : ",") + std::to_string(gpu);
    table.add({std::to_string(rank.rank), rank.node, std::to_string(rank.node_rank),
               std::to_string(rank.local_rank), gpus});
  }
  call.console.print(table);
  return status;
}

}  // namespace

Verb plan_verb() {
  return {.name = "plan",
          .usage = "JOB.json",
          .summary = "show where a job would run now, or why not",
          .description =
              "Asks the head's scheduler about the cluster as it is; nothing is submitted. Status 0 when the "
              "job would start or\n"
              "wait, 8 when no set of nodes can hold it.",
          .positionals_min = 1,
          .positionals_max = 1,
          .outputs = {"table", "json"},
          .options = scheduling_options({set_option()}),
          .examples = {{"rtrain plan job.json", "rank by rank"},
                       {"rtrain plan --set scaling_config.num_workers=16 job.json", "would 16 workers fit?"},
                       {"rtrain plan -o json job.json", "for a script"}},
          .run = plan};
}

}  // namespace rtrain::cli
