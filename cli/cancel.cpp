// rtrain cancel: ends jobs.
#include "cli/job_rows.h"
#include "cli/parse.h"
#include "cli/settings.h"

#include <thread>

namespace rtrain::cli {

namespace {

/// Asks until the job has ended. The state comes back.
Result<proto::JobDoc> wait_until_ended(const Client& client, std::int64_t id, std::chrono::steady_clock::time_point deadline) {
  for (;;) {
    auto answer = client.get("/v1/jobs/" + std::to_string(id));
    if (!answer) return answer.error();
    auto job = as<proto::JobDoc>(*answer);
    if (!job || has_ended(job->state)) return job;
    if (std::chrono::steady_clock::now() >= deadline)
      return fail(Errc::kTimeout, "job " + std::to_string(id) + " is still " + job->state, "rtrain status " + std::to_string(id));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

Result<int> cancel(Call& call) {
  std::vector<std::int64_t> ids;
  for (const auto& text : call.args.positionals) {
    auto id = parse_job_id(text);
    if (!id) return id.error();
    ids.push_back(*id);
  }
  auto timeout = call.args.seconds("timeout");
  if (!timeout) return timeout.error();
  if (ids.size() > 1 && !call.args.has("yes") && !call.console.confirm("Cancel " + std::to_string(ids.size()) + " jobs?"))
    return fail(Errc::kInvalidArgument, std::to_string(ids.size()) + " jobs were not cancelled: nobody said yes", "add --yes");
  auto client = client_of(call);
  if (!client) return client.error();

  const auto deadline = *timeout ? std::chrono::steady_clock::now() + std::chrono::milliseconds(static_cast<std::int64_t>(**timeout * 1000))
                                 : std::chrono::steady_clock::time_point::max();
  int status = 0;
  proto::Json cancelled = proto::Json::array();
  for (const auto id : ids) {  // each is tried, whatever becomes of the others; the first failure is the status
    auto answer = client->post("/v1/jobs/" + std::to_string(id) + "/cancel");
    Result<proto::JobDoc> job = answer ? as<proto::JobDoc>(*answer) : Result<proto::JobDoc>(answer.error());
    if (job && call.args.has("wait")) job = wait_until_ended(*client, id, deadline);
    if (!job) {
      call.console.error(job.error());
      if (status == 0) status = static_cast<int>(exit_of(job.error().code()));
      continue;
    }
    cancelled.push_back(*job);
    if (call.output == "name") call.console.out(std::to_string(id) + "\n");
    if (call.output == "table")
      call.console.out("job " + std::to_string(id) + " (" + job->name + ") " + (job->state == "CANCELLED" ? "cancelled" : "is being cancelled") + "\n");
  }
  if (call.json()) call.console.out(proto::dump_json({{"jobs", cancelled}}) + "\n");
  return status;
}

}  // namespace

Verb cancel_verb() {
  return {.name = "cancel",
          .usage = "ID [ID...]",
          .summary = "cancel jobs",
          .description = "A job that waits leaves the queue; one that runs gets SIGTERM and after its stop_grace_s SIGKILL. Several jobs at once\n"
                         "need a yes on the terminal, or --yes. Status 7 when a job has ended already.",
          .positionals_min = 1,
          .positionals_max = -1,
          .outputs = {"table", "json", "name"},
          .options = {{"wait", 'w', "", "return when the jobs have ended"},
                      {"timeout", 0, "SECONDS", "with --wait: give up waiting after this long with exit status 6"},
                      {"yes", 'y', "", "do not ask"}},
          .examples = {{"rtrain cancel 42", "one job"},
                       {"rtrain cancel --wait 42", "and wait until its ranks are gone"},
                       {"rtrain cancel --yes 42 43", "two, without a question"}},
          .run = cancel};
}

}  // namespace rtrain::cli
