// rtrain run: a head and an agent inside this process, one job, then nothing stays behind.
#include "cli/follow_array.h"
#include "cli/job_file.h"
#include "cli/job_rows.h"
#include "cli/local_cluster.h"
#include "cli/parse.h"
#include "cli/result_block.h"
#include "cli/resume.h"
#include "cli/settings.h"
#include "common/os/file.h"

namespace rtrain::cli {

namespace {

/// The head is asked for so long what became of a job that was killed.
constexpr std::chrono::milliseconds kLastWords{2000};

/// The state of what a second signal has ended: its ranks die with the cluster of this process.
std::string killed(const std::string& state) { return has_ended(state) ? state : "CANCELLED"; }

/// The Result of a job that was killed, as far as the head still tells it.
void show_killed(const Call& call, const Client& client, JobId id) {
  const std::string target = "/v1/jobs/" + rtrain::to_string(id);
  const auto answer = client.get(target + "/result", kLastWords), job_answer = client.get(target, kLastWords);
  auto result = answer ? as<proto::ResultDoc>(*answer) : Result<proto::ResultDoc>(answer.error());
  auto job = job_answer ? as<proto::JobDoc>(*job_answer) : Result<proto::JobDoc>(job_answer.error());
  if (!result || !job)
    return call.console.note("the job was killed; its Result cannot be read: " +
                             (result ? job.error() : result.error()).message());
  if (job->ended_ms == 0) job->ended_ms = os::unix_ms_now();
  job->state = killed(job->state);
  result->state = killed(result->state);
  (void)show_end(call.console, call.output, *result, *job,
                 {"", resume_command(*result, rtrain::to_string(id), origin_of(call))});
}

/// The same of an array, of which the follower knows `jobs`.
Result<int> show_killed(const Call& call, const Client& client, std::vector<proto::JobDoc> jobs) {
  for (auto& job : jobs) {
    if (job.ended_ms == 0) job.ended_ms = os::unix_ms_now();
    job.state = killed(job.state);
  }
  const Get get = [&](const std::string& target) {
    auto result = client.get(target, kLastWords);
    if (result) (*result)["state"] = killed((*result)["state"].get<std::string>());
    return result;
  };
  return show_array_end(call.console, call.output, get, jobs);
}

Result<int> run_array(const Call& call, boost::asio::io_context& io, Interrupts& interrupts,
                      const Client& client, JobId array) {
  ArrayView view({.live = call.console.live(), .colour = call.console.err_colour()});
  ArrayFollower follower(io, interrupts, get_of(client), call.console, view, array, {});
  auto end = follow_to_end([&] { return follower.run(); }, interrupts, "the array", call.console,
                           [&] { return client.post("/v1/arrays/" + rtrain::to_string(array) + "/cancel"); });
  if (!end) return end.error();
  if (*end == Follower::End::kInterrupted) {  // the cluster's destructor kills the ranks
    if (auto shown = show_killed(call, client, follower.jobs()); !shown)
      call.console.note(shown.error().message());
    return exit_of_signal(interrupts.signal());
  }
  auto status = show_array_end(call.console, call.output, get_of(client), follower.jobs());
  return status && interrupts.count() > 0 ? exit_of_signal(interrupts.signal()) : status;
}

Result<int> run_in(const Call& call, const JobFile& job, StateDir& state) {
  boost::asio::io_context io{1};
  Interrupts interrupts(io);  // before the cluster: Ctrl-C while it starts must not leave processes behind
  if (auto made = state.make(); !made) return made.error();
  auto cluster = LocalCluster::open(call, state, job.spec.train_func.has_value());
  if (!cluster) return cluster.error();
  const auto& client = cluster->client();
  const proto::Json spec = proto::to_json(job.spec);
  if (auto fits = cluster->check_it_fits(spec, "the job", "rtrain submit"); !fits) return fits.error();
  auto answer = client.submit(spec);
  if (!answer) return answer.error();
  auto reply = as<proto::SubmitReply>(*answer);
  if (!reply) return reply.error();
  if (reply->count > 1) return run_array(call, io, interrupts, client, reply->id);

  FollowView view({.live = call.console.live(),
                   .logs_to_stderr = call.json(),
                   .log_colour = call.json() ? call.console.err_colour() : call.console.out_colour(),
                   .colour = call.console.err_colour()});
  Follower follower(io, interrupts, client, call.console, view, reply->id, {.known = true});
  auto end =
      follow_to_end([&] { return follower.run(); }, interrupts, "the job", call.console,
                    [&] { return client.post("/v1/jobs/" + rtrain::to_string(reply->id) + "/cancel"); });
  if (!end) return end.error();
  if (*end == Follower::End::kInterrupted) {  // the cluster's destructor kills the ranks
    show_killed(call, client, reply->id);
    return exit_of_signal(interrupts.signal());
  }

  const auto& result = *follower.result();
  const WaysOn ways{result.error ? state.log_of(*result.error, result.id) : "",
                    resume_command(result, rtrain::to_string(result.id), origin_of(call))};
  const int status = show_end(call.console, call.output, result, follower.job(), ways);
  return interrupts.count() > 0 ? exit_of_signal(interrupts.signal()) : status;
}

Result<int> run(Call& call) {
  auto job = load_job(call, [&] { return get_of_head(call); });
  // Only --resume JOB asks a head, and there is no --head here.
  if (!job && job.error().code() == Errc::kUnavailable)
    return fail(Errc::kUnavailable, job.error().message(),
                "say where the head is with RTRAIN_HEAD, or name the checkpoint by its path: --resume PATH");
  if (!job) return job.error();
  if (!report_errors(*job, call.console)) return static_cast<int>(Exit::kUsage);
  for (const auto& warning : job->warnings) call.console.warn(warning);
  StateDir state(call);
  auto status = run_in(call, *job, state);
  const bool logs_are_wanted = status.has_value() && *status == static_cast<int>(Exit::kFailed);
  if (!logs_are_wanted) state.remove_unless_named();
  return status;
}

}  // namespace

Verb run_verb() {
  return {.name = "run",
          .usage = "JOB.json",
          .summary = "run a job on this machine, with nothing to set up",
          .description =
              "Starts a head and an agent inside the process, runs the job with real forked workers, shows "
              "its logs and progress,\n"
              "ends with its Result and leaves no process behind. Ctrl-C cancels the job and waits for its "
              "end; once more kills it.\n"
              "All jobs of an array are run; a table shows their results, the status is that of the worst.\n"
              "The state of the run (logs of the ranks) is kept when the job failed or --state-dir names it. "
              "'-' reads the job from stdin.",
          .positionals_min = 1,
          .positionals_max = 1,
          .outputs = {"table", "json"},
          .needs_head = false,
          .options = {set_option(),
                      resume_from_option(),
                      {"time", 0, "LIMIT", "time limit of an attempt: 90m, HH:MM:SS, DD-HH:MM:SS"},
                      local_options()[0],
                      local_options()[1]},
          .examples = {{"rtrain run job.json", "run it here"},
                       {"rtrain run -o json job.json | tail -n 1", "the Result as one line of JSON"},
                       {"rtrain run --set train_loop_config.max_epochs=1 job.json", "with a field changed"},
                       {"generate-job | rtrain run -", "the job from stdin"}},
          .run = run};
}

}  // namespace rtrain::cli
