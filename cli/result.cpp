// rtrain result: how a job ended.
#include "cli/follow.h"
#include "cli/job_rows.h"
#include "cli/job_reference.h"
#include "cli/parse.h"
#include "cli/result_block.h"
#include "cli/settings.h"
#include "common/base/duration.h"

namespace rtrain::cli {

namespace {

Result<int> wait_for_end(Call& call, const Client& client, JobId id) {
  auto timeout = call.args.seconds("timeout");
  if (!timeout) return timeout.error();
  boost::asio::io_context io{1};
  Interrupts interrupts(io);
  FollowView view({.live = call.console.live(), .colour = call.console.err_colour()});
  Follower::Options options{.logs = false};
  if (auto read = read_resume(call.args, options); !read) return read.error();
  if (*timeout)
    options.deadline = std::chrono::steady_clock::now() + to_milliseconds(**timeout);
  Follower follower(io, interrupts, client, call.console, view, id, options);
  auto end = follower.run();
  if (!end) return end.error();
  if (*end == Follower::End::kInterrupted) return exit_of_signal(interrupts.signal());
  if (*end == Follower::End::kTimeout) {
    call.console.note("--timeout reached; job " + rtrain::to_string(id) + " goes on");
    return static_cast<int>(Exit::kTimeout);
  }
  const auto& result = *follower.result();
  return show_end(call.console, call.output, result, follower.job(), result.error ? log_command(*result.error, id) : "");
}

Result<int> result(Call& call) {
  auto client = client_of(call);
  if (!client) return client.error();
  auto id = find_job(*client, call.args.positionals.front());
  if (!id) return id.error();
  if (call.args.has("wait")) return wait_for_end(call, *client, JobId(*id));
  const std::string path = "/v1/jobs/" + std::to_string(*id);
  auto job_answer = client->get(path);
  if (!job_answer) return job_answer.error();
  auto job = as<proto::JobDoc>(*job_answer);
  if (!job) return job.error();
  if (!has_ended(job->state))
    return fail(Errc::kConflict, "job " + std::to_string(*id) + " has not ended: it is " + job->state,
                "wait for it: rtrain result --wait " + std::to_string(*id));
  auto answer = client->get(path + "/result");
  if (!answer) return answer.error();
  auto doc = as<proto::ResultDoc>(*answer);
  if (!doc) return doc.error();
  return show_end(call.console, call.output, *doc, *job, doc->error ? log_command(*doc->error, JobId(*id)) : "");
}

}  // namespace

Verb result_verb() {
  return {.name = "result",
          .usage = "ID",
          .summary = "print a job's Result: metrics, checkpoint, path, error",
          .description = "The status is the job's: 0 SUCCEEDED, 1 FAILED, 9 CANCELLED; 7 when it has not ended (6 after --timeout).",
          .positionals_min = 1,
          .positionals_max = 1,
          .outputs = {"table", "json"},
          .options = {{"wait", 'w', "", "wait for the end of the job"},
                      {"timeout", 0, "SECONDS", "with --wait: return after this long with exit status 6"},
                      resume_option()},
          .examples = {{"rtrain result 42", "how job 42 ended"},
                       {"rtrain result --wait --timeout 3600 42", "wait an hour at most"},
                       {"rtrain result 42 -o json", "one line of JSON"}},
          .run = result};
}

}  // namespace rtrain::cli
