// rtrain sweep run, result: a sweep to its end.
#include "cli/follow_sweep.h"
#include "cli/job_rows.h"
#include "cli/local_cluster.h"
#include "cli/settings.h"
#include "cli/sweep_actions.h"
#include "cli/sweep_file.h"
#include "cli/sweep_requests.h"
#include "cli/sweep_rows.h"
#include "common/base/duration.h"

namespace rtrain::cli {

namespace {

constexpr int kBestOfResult = 5;

/// The sweep, its best trials and how to train the best one; as JSON the sweep with all trials. The status is
/// that of the sweep.
Result<int> show_sweep_end(const Call& call, const Get& get, JobId id) {
  const auto target = sweep_target(id);
  const auto sweep = read_sweep(get, target);
  if (!sweep) return sweep.error();
  const auto status = static_cast<int>(exit_of_state(sweep->state));
  if (call.json()) {
    const auto trials = trials_of(get, target);
    if (!trials) return trials.error();
    call.console.out(proto::dump_json({{"sweep", proto::Json(*sweep)}, {"trials", proto::Json(*trials)}}) +
                     "\n");
    return status;
  }
  const auto best = print_with_best(call, get, *sweep, kBestOfResult);
  if (!best) return best.error();
  if (best->empty()) return status;
  const auto checkpoint = best_checkpoint(get, best->front().job);
  if (!checkpoint) return checkpoint.error();
  call.console.out("\n" + best_block(*sweep, best->front(), *checkpoint, call.console.out_colour()));
  return status;
}

Result<int> run_in(const Call& call, const SweepFile& file, StateDir& state) {
  boost::asio::io_context io{1};
  Interrupts interrupts(io);  // before the cluster: Ctrl-C while it starts must not leave processes behind
  if (auto made = state.make(); !made) return made.error();
  const auto& spec = file.reading.spec;
  auto cluster = LocalCluster::open(call, state, spec.job.train_func.has_value());
  if (!cluster) return cluster.error();
  if (auto fits = cluster->check_it_fits(proto::to_json(spec.job), "the job", "rtrain sweep submit"); !fits)
    return fits.error();
  const auto& client = cluster->client();
  auto answer = client.submit(proto::to_json(spec), "/v1/sweeps");
  if (!answer) return answer.error();
  auto sweep = as<proto::SweepDoc>(*answer);
  if (!sweep) return sweep.error();

  SweepView view({.live = call.console.live(), .colour = call.console.err_colour()});
  const auto get = get_of(client);
  SweepFollower follower(io, interrupts, get, call.console, view, sweep->id, {});
  auto end = follow_to_end([&] { return follower.run(); }, interrupts, "the sweep", call.console,
                           [&] { return client.post(sweep_target(sweep->id) + "/stop", {{"now", true}}); });
  if (!end) return end.error();
  // After a second signal what is known is shown; the cluster's destructor kills the ranks.
  const auto status = show_sweep_end(call, get, sweep->id);
  return interrupts.count() > 0 ? exit_of_signal(interrupts.signal()) : status;
}

}  // namespace

Result<int> run_sweep(const Call& call) {
  auto file = load_sweep(call);
  if (!file) return file.error();
  if (!report_errors(*file, call.console)) return static_cast<int>(Exit::kUsage);
  for (const auto& note : file->reading.notes) call.console.note(file->shown + ": " + note);
  resolve_paths(*file, call);
  StateDir state(call);
  auto status = run_in(call, *file, state);
  const bool logs_are_wanted = status.has_value() && *status == static_cast<int>(Exit::kFailed);
  if (logs_are_wanted)
    call.console.note("the logs of the trials are in " + state.path());
  else
    state.remove_unless_named();
  return status;
}

Result<int> result_of_sweep(const Call& call) {
  const auto asked = asked_sweep(call);
  if (!asked) return asked.error();
  auto sweep = read_sweep(asked->get, asked->target);
  if (!sweep) return sweep.error();
  if (has_ended(sweep->state)) return show_sweep_end(call, asked->get, sweep->id);
  const auto id = rtrain::to_string(sweep->id);
  if (!call.args.has("wait"))
    return fail(Errc::kConflict, "sweep " + id + " has not ended: it is " + sweep->state,
                "wait for it: rtrain sweep result --wait " + id);
  auto timeout = call.args.seconds("timeout");
  if (!timeout) return timeout.error();
  Follower::Options options;
  if (auto read = read_resume(call.args, options); !read) return read.error();
  if (*timeout) options.deadline = std::chrono::steady_clock::now() + to_milliseconds(**timeout);
  boost::asio::io_context io{1};
  Interrupts interrupts(io);
  SweepView view({.live = call.console.live(), .colour = call.console.err_colour()});
  SweepFollower follower(io, interrupts, asked->get, call.console, view, sweep->id, options);
  auto end = follower.run();
  if (!end) return end.error();
  if (*end == Follower::End::kInterrupted) return exit_of_signal(interrupts.signal());
  if (*end == Follower::End::kEnded) return show_sweep_end(call, asked->get, sweep->id);
  call.console.note("--timeout reached; sweep " + id + " continues to run");
  return static_cast<int>(Exit::kTimeout);
}

}  // namespace rtrain::cli
