// rtrain run: a head and an agent inside this process, one job, then nothing stays behind.
#include "cli/follow_array.h"
#include "cli/job_file.h"
#include "cli/job_rows.h"
#include "cli/parse.h"
#include "cli/result_block.h"
#include "cli/resume.h"
#include "cli/settings.h"
#include "common/os/file.h"
#include "common/os/token.h"
#include "daemon/embedded/embedded.h"

#include <csignal>
#include <filesystem>
#include <thread>

#include <sys/stat.h>
#include <unistd.h>

namespace rtrain::cli {

namespace fs = std::filesystem;

namespace {

/// The head is asked for so long what became of a job that was killed.
constexpr std::chrono::milliseconds kLastWords{2000};

/// The state of one run: logs and records of its ranks. Kept after a failure (the logs are in it) or when the
/// user named it.
class StateDir {
 public:
  explicit StateDir(const Call& call)
      : named_(call.args.text("state-dir")),
        path_(fs::absolute(named_ ? *named_
                                  : os::state_home(call.getenv) + "/run-" + std::to_string(::getpid()) + "-" +
                                        std::to_string(os::unix_ms_now() / 1000))
                  .lexically_normal()
                  .string()) {}
  [[nodiscard]] const std::string& path() const { return path_; }
  /// One that nobody else has: process numbers repeat where machines or containers share a home.
  [[nodiscard]] Result<Done> make() {
    if (named_) return os::make_dirs(path_, 0700);
    const std::string wanted = path_;
    if (auto made = os::make_dirs(fs::path(path_).parent_path().string(), 0700); !made) return made;
    for (int next = 2; ::mkdir(path_.c_str(), 0700) != 0; ++next) {
      if (errno != EEXIST) return fail_errno("make folder " + path_, errno);
      path_ = wanted + "-" + std::to_string(next);
    }
    return ok();
  }
  void remove_unless_named() const {
    std::error_code ignored;
    if (!named_) fs::remove_all(path_, ignored);
  }
  /// The log of the rank that failed; "" when it is not there.
  [[nodiscard]] std::string log_of(const proto::JobError& error, JobId job) const {
    if (!error.rank) return {};
    const std::string below = "/jobs/" + rtrain::to_string(job) + "/" + std::to_string(error.attempt) +
                              "/rank-" + std::to_string(*error.rank) + "/log";
    for (const char* agent : {"/agent", ""}) {
      std::error_code ignored;
      if (fs::exists(path_ + agent + below, ignored)) return path_ + agent + below;
    }
    return {};
  }

 private:
  std::optional<std::string> named_;
  std::string path_;
};

/// The cluster's one agent registers on its own thread; before that every plan says "no node".
Result<Done> wait_for_the_node(const Client& client) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  for (;;) {
    auto answer = client.get("/v1/nodes");
    if (!answer) return answer.error();
    auto nodes = as_list<proto::NodeDoc>(*answer, "nodes");
    if (!nodes) return nodes.error();
    if (!nodes->empty() && nodes->front().alive) return ok();
    if (std::chrono::steady_clock::now() >= deadline)
      return fail(Errc::kTimeout, "the agent inside this process did not register within 10 s",
                  "rtrain run --verbose shows what it logs");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

/// A job that this machine can never hold would wait for ever: nobody else joins an embedded cluster.
Result<Done> check_it_fits(const Client& client, const proto::Json& spec) {
  auto answer = client.post("/v1/plan", spec);
  if (!answer) return answer.error();
  auto plan = as<proto::PlanDoc>(*answer);
  if (!plan) return plan.error();
  if (!plan->feasible)
    return fail(Errc::kUnplaceable, "the job does not fit on this machine: " + plan->reason,
                "ask for less in scaling_config, or submit it to a cluster: rtrain submit");
  return ok();
}

/// Follows to the end. A first signal cancels `target` ("/v1/jobs/1") and waits for its end, a second one
/// does not wait.
template <class F>
Result<Follower::End> follow_to_end(F& follower, const Interrupts& interrupts, const Client& client,
                                    const std::string& target, const std::string& what,
                                    const Console& console) {
  auto end = follower.run();
  if (!end || *end != Follower::End::kInterrupted) return end;
  const bool nobody_reads = interrupts.signal() == SIGPIPE;
  if (!nobody_reads) console.note("cancelling " + what + "; press Ctrl-C again to kill it");
  auto cancelled = client.post(target + "/cancel");
  // conflict: it has just ended
  if (!cancelled && cancelled.error().code() != Errc::kConflict) return cancelled.error();
  return follower.run();
}

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
  auto end = follow_to_end(follower, interrupts, client, "/v1/arrays/" + rtrain::to_string(array),
                           "the array", call.console);
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
  auto cluster = embedded::EmbeddedCluster::open({.state_dir = state.path(),
                                                  .with_zygote = job.spec.train_func.has_value(),
                                                  .log_level = call.args.has("verbose") ? "info" : "warn"});
  if (!cluster) return cluster.error();
  auto endpoint = net::parse_endpoint((*cluster)->api_endpoint());
  if (!endpoint) return endpoint.error();
  const Client client(std::move(*endpoint), "");

  const proto::Json spec = proto::to_json(job.spec);
  if (auto registered = wait_for_the_node(client); !registered) return registered.error();
  if (auto fits = check_it_fits(client, spec); !fits) return fits.error();
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
  auto end = follow_to_end(follower, interrupts, client, "/v1/jobs/" + rtrain::to_string(reply->id),
                           "the job", call.console);
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
                      {"state-dir", 0, "DIR",
                       "where logs and records go (default $XDG_STATE_HOME/rtrain/run-PID-TIME)"},
                      {"verbose", 'v', "", "show what head and agent log"}},
          .examples = {{"rtrain run job.json", "run it here"},
                       {"rtrain run -o json job.json | tail -n 1", "the Result as one line of JSON"},
                       {"rtrain run --set train_loop_config.max_epochs=1 job.json", "with a field changed"},
                       {"generate-job | rtrain run -", "the job from stdin"}},
          .run = run};
}

}  // namespace rtrain::cli
