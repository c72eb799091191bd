// rtrain hold, rtrain release: jobs that must not start, and may again.
#include "cli/job_reference.h"
#include "cli/job_rows.h"
#include "cli/parse.h"
#include "cli/settings.h"

namespace rtrain::cli {

namespace {

/// Does `action` to every job that is named; each is tried, whatever becomes of the others. The first failure
/// is the status.
Result<int> for_each_job(Call& call, const std::string& action,
                         ChangeWords (*words)(const proto::JobDoc& job)) {
  std::vector<JobReference> references;
  for (const auto& text : call.args.positionals) {
    auto reference = parse_job_reference(text);
    if (!reference) return reference.error();
    references.push_back(std::move(*reference));
  }
  auto client = client_of(call);
  if (!client) return client.error();
  int status = 0;
  proto::Json changed = proto::Json::array();
  for (const auto& reference : references) {
    const auto jobs = change_jobs(*client, reference, action);
    if (!jobs) {
      call.console.error(jobs.error());
      if (status == 0) status = static_cast<int>(exit_of(jobs.error().code()));
      continue;
    }
    for (const auto& job : *jobs) {
      changed.push_back(job);
      if (call.output == "name") call.console.out(job_name_of(job) + "\n");
    }
    if (call.output == "table" && !jobs->empty())
      call.console.out(change_line(reference, *jobs, words) + "\n");
  }
  if (call.json()) call.console.out(proto::dump_json({{"jobs", changed}}) + "\n");
  return status;
}

Result<int> hold(Call& call) {
  return for_each_job(call, "hold", [](const proto::JobDoc& job) {
    return job.state == "QUEUED" ? ChangeWords{"is held", "are held"}
                                 : ChangeWords{"runs on, and is held if it returns to the queue",
                                               "run on, and are held if they return to the queue"};
  });
}

Result<int> release(Call& call) {
  return for_each_job(call, "release",
                      [](const proto::JobDoc&) { return ChangeWords{"is released", "are released"}; });
}

}  // namespace

Verb hold_verb() {
  return {.name = "hold",
          .usage = "ID [ID...]",
          .summary = "keep jobs from starting",
          .description =
              "A held job keeps its position and does not start until `rtrain release`. A running job "
              "continues; it is held if it\n"
              "is requeued. Status 7 when a job is held already or has ended.",
          .positionals_min = 1,
          .positionals_max = -1,
          .outputs = {"table", "json", "name"},
          .examples = {{"rtrain hold 42", "one job"}, {"rtrain hold 42 43", "two"}},
          .run = hold};
}

Verb release_verb() {
  return {.name = "release",
          .usage = "ID [ID...]",
          .summary = "let held jobs start again",
          .description = "Status 7 when a job is not held or has ended.",
          .positionals_min = 1,
          .positionals_max = -1,
          .outputs = {"table", "json", "name"},
          .examples = {{"rtrain release 42", "one job"}, {"rtrain release 42 43", "two"}},
          .run = release};
}

}  // namespace rtrain::cli
