// rtrain cancel: ends jobs.
#include "cli/job_reference.h"
#include "cli/job_rows.h"
#include "cli/parse.h"
#include "cli/resume.h"
#include "cli/settings.h"
#include "common/base/duration.h"

#include <algorithm>
#include <thread>

namespace rtrain::cli {

namespace {

ChangeWords cancel_words(const proto::JobDoc& job) {
  if (job.state == "CANCELLED") return {"cancelled", "cancelled"};
  // Before the cancel came to it.
  if (has_ended(job.state)) return {"has ended: " + job.state, "have ended: " + job.state};
  return {"is being cancelled", "are being cancelled"};
}

/// Asks until the job has ended. The state comes back.
Result<proto::JobDoc> wait_until_ended(const Client& client, JobId id,
                                       std::chrono::steady_clock::time_point deadline) {
  for (;;) {
    auto answer = client.get("/v1/jobs/" + rtrain::to_string(id));
    if (!answer) return answer.error();
    auto job = as<proto::JobDoc>(*answer);
    if (!job || has_ended(job->state)) return job;
    if (std::chrono::steady_clock::now() >= deadline)
      return fail(Errc::kTimeout, "job " + job_name_of(*job) + " is still " + job->state,
                  "rtrain status " + job_name_of(*job));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

/// Cancels what the reference means. Those that this changed come back; with `wait` also those that are
/// stopping already, which is no error then. kConflict when there is none.
Result<std::vector<proto::JobDoc>> ask_for_the_end(const Client& client, const JobReference& reference,
                                                   bool wait) {
  auto changed = change_jobs(client, reference, "cancel");
  if (!changed && changed.error().code() != Errc::kConflict) return changed;
  if (changed && !wait) return changed;
  auto meant = jobs_meant(client, reference);
  if (!meant) return meant.error();
  if (!changed && meant->size() > 1 &&
      (!wait || std::ranges::all_of(*meant, has_ended, &proto::JobDoc::state)))
    return nothing_to_cancel(reference, *meant);
  std::vector<proto::JobDoc> to_end;
  for (auto& job : *meant) {
    const bool was_changed =
        changed && std::ranges::find(*changed, job.id, &proto::JobDoc::id) != changed->end();
    if (!has_ended(job.state) || was_changed) to_end.push_back(std::move(job));
  }
  if (!changed && (!wait || to_end.empty())) return changed;
  return to_end;
}

/// The command that goes on from the latest checkpoint, where there is one. Whether it can be told changes
/// nothing about the cancel.
void show_way_on(const Call& call, const Client& client, const proto::JobDoc& job) {
  if (job.attempt == 0) return;
  auto answer = client.get("/v1/jobs/" + rtrain::to_string(job.id) + "/result");
  auto result = answer ? as<proto::ResultDoc>(*answer) : Result<proto::ResultDoc>(answer.error());
  if (!result) return;
  result->state = "CANCELLED";  // it will be
  if (const auto command = resume_command(*result, job_name_of(job), {}); !command.empty())
    call.console.note("resume from its latest checkpoint: " + command);
}

Result<int> cancel(Call& call) {
  std::vector<JobReference> references;
  for (const auto& text : call.args.positionals) {
    auto reference = parse_job_reference(text);
    if (!reference) return reference.error();
    references.push_back(std::move(*reference));
  }
  auto timeout = call.args.seconds("timeout");
  if (!timeout) return timeout.error();
  if (references.size() > 1 && !call.args.has("yes") &&
      !call.console.confirm("Cancel " + std::to_string(references.size()) + " jobs?"))
    return fail(
        Errc::kInvalidArgument,
        "nothing was cancelled: " + std::to_string(references.size()) + " jobs at once need a confirmation",
        "confirm with --yes");
  auto client = client_of(call);
  if (!client) return client.error();

  const auto deadline = *timeout ? std::chrono::steady_clock::now() + to_milliseconds(**timeout)
                                 : std::chrono::steady_clock::time_point::max();
  int status = 0;
  proto::Json cancelled = proto::Json::array();
  const auto refuse = [&](const Error& error) {
    call.console.error(error);
    if (status == 0) status = static_cast<int>(exit_of(error.code()));
  };
  // each is tried, whatever becomes of the others; the first failure is the status
  for (const auto& reference : references) {
    auto jobs = ask_for_the_end(*client, reference, call.args.has("wait"));
    if (!jobs) {
      refuse(jobs.error());
      continue;
    }
    std::vector<proto::JobDoc> done;
    for (auto& asked : *jobs) {
      auto job = call.args.has("wait") ? wait_until_ended(*client, asked.id, deadline)
                                       : Result<proto::JobDoc>(std::move(asked));
      if (!job) {
        refuse(job.error());
        continue;
      }
      cancelled.push_back(*job);
      if (call.output == "name") call.console.out(job_name_of(*job) + "\n");
      done.push_back(std::move(*job));
    }
    if (call.output == "table" && !done.empty())
      call.console.out(change_line(reference, done, cancel_words) + "\n");
    if (done.size() == 1) show_way_on(call, *client, done.front());
  }
  if (call.json()) call.console.out(proto::dump_json({{"jobs", cancelled}}) + "\n");
  return status;
}

}  // namespace

Verb cancel_verb() {
  return {.name = "cancel",
          .usage = "ID [ID...]",
          .summary = "cancel jobs",
          .description =
              "A job that waits leaves the queue; one that runs gets SIGTERM and after its stop_grace_s "
              "SIGKILL. Several jobs at once\n"
              "need a confirmation on the terminal, or --yes. Status 7 when a job has ended already, or\n"
              "without --wait is being cancelled already.",
          .positionals_min = 1,
          .positionals_max = -1,
          .outputs = {"table", "json", "name"},
          .options = {{"wait", 'w', "", "return when the jobs have ended"},
                      {"timeout", 0, "SECONDS",
                       "with --wait: give up waiting after this long with exit status 6"},
                      {"yes", 'y', "", "do not ask"}},
          .examples = {{"rtrain cancel 42", "one job"},
                       {"rtrain cancel --wait 42", "and wait until its ranks are gone"},
                       {"rtrain cancel --yes 42 43", "two, without a question"},
                       {"rtrain cancel 42_[3-7]", "some of an array; `rtrain cancel 42` is all of it"}},
          .run = cancel};
}

}  // namespace rtrain::cli
