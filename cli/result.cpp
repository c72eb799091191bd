// rtrain result: how a job ended.
#include "cli/follow_array.h"
#include "cli/job_reference.h"
#include "cli/job_rows.h"
#include "cli/parse.h"
#include "cli/result_block.h"
#include "cli/resume.h"
#include "cli/settings.h"
#include "common/base/duration.h"

namespace rtrain::cli {

namespace {

WaysOn ways_on(const proto::ResultDoc& result, const std::string& job) {
  return {result.error ? log_command(*result.error, job) : "", resume_command(result, job, {})};
}

/// Nothing: the wait was over before the end, and the status is the second.
template <class F>
Result<std::pair<bool, int>> wait_for(F& follower, const Call& call, const Interrupts& interrupts,
                                      const std::string& what) {
  auto end = follower.run();
  if (!end) return end.error();
  if (*end == Follower::End::kEnded) return std::pair(true, 0);
  if (*end == Follower::End::kInterrupted) return std::pair(false, exit_of_signal(interrupts.signal()));
  call.console.note("--timeout reached; " + what + " continues to run");
  return std::pair(false, static_cast<int>(Exit::kTimeout));
}

/// `name`: what the job is called.
Result<int> wait_for_end(Call& call, const Client& client, JobId id, const std::string& name, bool array) {
  auto timeout = call.args.seconds("timeout");
  if (!timeout) return timeout.error();
  boost::asio::io_context io{1};
  Interrupts interrupts(io);
  Follower::Options options{.logs = false};
  if (auto read = read_resume(call.args, options); !read) return read.error();
  if (*timeout) options.deadline = std::chrono::steady_clock::now() + to_milliseconds(**timeout);
  if (array) {
    ArrayView view({.live = call.console.live(), .colour = call.console.err_colour()});
    ArrayFollower follower(io, interrupts, get_of(client), call.console, view, id, options);
    auto ended = wait_for(follower, call, interrupts, "array " + rtrain::to_string(id));
    if (!ended) return ended.error();
    return ended->first ? show_array_end(call.console, call.output, get_of(client), follower.jobs())
                        : Result<int>(ended->second);
  }
  FollowView view({.live = call.console.live(), .colour = call.console.err_colour()});
  Follower follower(io, interrupts, client, call.console, view, id, options);
  auto ended = wait_for(follower, call, interrupts, "job " + name);
  if (!ended) return ended.error();
  if (!ended->first) return ended->second;
  return show_end(call.console, call.output, *follower.result(), follower.job(),
                  ways_on(*follower.result(), name));
}

Result<int> result(Call& call) {
  auto client = client_of(call);
  if (!client) return client.error();
  auto id = find_job(*client, call.args.positionals.front());
  if (!id) return id.error();
  const std::string path = "/v1/jobs/" + std::to_string(*id);
  auto job_answer = client->get(path);
  if (!job_answer) return job_answer.error();
  auto job = as<proto::JobDoc>(*job_answer);
  if (!job) return job.error();
  const bool array = means_array(call.args.positionals.front(), *job);
  if (call.args.has("wait")) return wait_for_end(call, *client, JobId(*id), job_name_of(*job), array);
  if (array) {
    auto jobs = jobs_of_array(get_of(*client), job->id);
    if (!jobs) return jobs.error();
    return show_array_end(call.console, call.output, get_of(*client), *jobs);
  }
  if (!has_ended(job->state))
    return fail(Errc::kConflict, "job " + job_name_of(*job) + " has not ended: it is " + job->state,
                "wait for it: rtrain result --wait " + job_name_of(*job));
  auto answer = client->get(path + "/result");
  if (!answer) return answer.error();
  auto doc = as<proto::ResultDoc>(*answer);
  if (!doc) return doc.error();
  return show_end(call.console, call.output, *doc, *job, ways_on(*doc, job_name_of(*job)));
}

}  // namespace

Verb result_verb() {
  return {.name = "result",
          .usage = "ID",
          .summary = "print a job's Result: metrics, checkpoint, path, error",
          .description =
              "The status is the job's: 0 SUCCEEDED, 1 FAILED, 9 CANCELLED; 7 when it has not ended (6 after "
              "--timeout). Of an array a table\n"
              "shows the results of all jobs, including jobs that have not ended; the status is that of the "
              "worst result.",
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
