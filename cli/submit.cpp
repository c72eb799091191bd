// rtrain submit: hands a job to the head and, on a terminal, follows it.
#include "cli/follow_array.h"
#include "cli/job_file.h"
#include "cli/parse.h"
#include "cli/result_block.h"
#include "cli/resume.h"
#include "cli/settings.h"
#include "common/base/duration.h"

namespace rtrain::cli {

namespace {

enum class After { kDetach, kWait, kFollow };

Result<After> what_next(const Call& call) {
  const bool detach = call.args.has("detach"), wait = call.args.has("wait"), follow = call.args.has("follow");
  if (detach + wait + follow > 1)
    return fail(Errc::kInvalidArgument, "--detach, --wait and --follow are mutually exclusive",
                "rtrain help submit");
  if (follow) return After::kFollow;
  if (wait) return After::kWait;
  return !detach && call.console.out_terminal() ? After::kFollow : After::kDetach;
}

void print_submitted(const Call& call, const proto::SubmitReply& reply, bool followed) {
  const std::string id = rtrain::to_string(reply.id);
  if (call.output == "name") {
    call.console.out(id + "\n");
  } else if (call.json()) {
    // a followed job ends with its Result alone
    if (!followed) call.console.out(proto::dump_json(proto::Json(reply)) + "\n");
  } else {
    const std::string line = reply.count > 1 ? "array " + id + " (" + reply.name +
                                                   ") submitted: " + std::to_string(reply.count) + " jobs\n"
                                             : "job " + id + " (" + reply.name + ") submitted\n";
    followed ? call.console.err(line) : call.console.out(line);
  }
}

Result<int> submit(Call& call) {
  auto next = what_next(call);
  if (!next) return next.error();
  auto timeout = call.args.seconds("timeout");
  if (!timeout) return timeout.error();
  Follower::Options options{.logs = *next == After::kFollow, .known = true};
  if (auto read = read_resume(call.args, options); !read) return read.error();
  auto client = client_of(call);
  if (!client) return client.error();
  auto job = load_job(call, [&]() -> Result<Get> { return get_of(*client); });
  if (!job) return job.error();
  if (!report_errors(*job, call.console)) return static_cast<int>(Exit::kUsage);
  for (const auto& warning : job->warnings) call.console.warn(warning);

  auto answer = client->submit(proto::to_json(job->spec));
  if (!answer) return answer.error();
  auto reply = as<proto::SubmitReply>(*answer);
  if (!reply) return reply.error();
  print_submitted(call, *reply, *next != After::kDetach);
  if (*next == After::kDetach) return 0;

  boost::asio::io_context io{1};
  Interrupts interrupts(io);
  if (*timeout) options.deadline = std::chrono::steady_clock::now() + to_milliseconds(**timeout);
  const std::string id = rtrain::to_string(reply->id);
  // the jobs go on without this program
  const auto left = [&](Follower::End end, const std::string& what) -> int {
    call.console.note((end == Follower::End::kTimeout ? "--timeout reached; " : "") + what);
    return end == Follower::End::kTimeout ? static_cast<int>(Exit::kTimeout)
                                          : exit_of_signal(interrupts.signal());
  };
  if (reply->count > 1) {
    ArrayView view({.live = call.console.live(), .colour = call.console.err_colour()});
    ArrayFollower follower(io, interrupts, get_of(*client), call.console, view, reply->id, options);
    auto end = follower.run();
    if (!end) return end.error();
    if (*end == Follower::End::kEnded)
      return show_array_end(call.console, call.output, get_of(*client), follower.jobs());
    return left(*end, "array " + id + " continues to run; wait for it again: rtrain result --wait " + id +
                          "; stop it: rtrain cancel " + id);
  }
  FollowView view(
      {.live = call.console.live(),
       .logs_to_stderr = call.output != "table",
       .log_colour = call.output == "table" ? call.console.out_colour() : call.console.err_colour(),
       .colour = call.console.err_colour()});
  Follower follower(io, interrupts, *client, call.console, view, reply->id, options);
  auto end = follower.run();
  if (!end) return end.error();
  if (*end != Follower::End::kEnded)
    return left(*end, "job " + id + " continues to run; follow it again: rtrain logs -f " + id +
                          "; stop it: rtrain cancel " + id);
  const auto& result = *follower.result();
  return show_end(
      call.console, call.output, result, follower.job(),
      {result.error ? log_command(*result.error, id) : "", resume_command(result, id, origin_of(call))});
}

}  // namespace

Verb submit_verb() {
  return {
      .name = "submit",
      .usage = "JOB.json",
      .summary = "submit a job to the head",
      .description =
          "Prints the job's id. On a terminal the job is then followed (--follow); in a pipe the verb "
          "returns at once\n"
          "(--detach). Ctrl-C while following leaves the job running. '-' reads the job from stdin. Of an "
          "array --wait and --follow wait for\n"
          "all jobs, show a line for each end and a table of the results; the status is that of the worst.",
      .positionals_min = 1,
      .positionals_max = 1,
      .outputs = {"table", "json", "name"},
      .options = scheduling_options(
          {{"follow", 'f', "", "follow the job: state, progress, logs, then the Result"},
           {"wait", 'w', "", "wait for the end without the logs, then print the Result"},
           {"detach", 'd', "", "print the id and return"},
           {"timeout", 0, "SECONDS", "with --follow or --wait: return after this long with exit status 6"},
           resume_option(),
           resume_from_option(),
           set_option()}),
      .examples = {{"rtrain submit job.json", "submit and, on a terminal, follow"},
                   {"id=$(rtrain submit -o name --detach job.json)", "the id for a script"},
                   {"rtrain submit --wait -o json job.json", "the Result as one line of JSON"},
                   {"rtrain submit --time 2h --depends-on afterok:12 job.json",
                    "after job 12, for two hours at most"}},
      .run = submit};
}

}  // namespace rtrain::cli
