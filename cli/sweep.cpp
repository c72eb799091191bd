// rtrain sweep: the verb and the table of its actions.
#include "cli/follow.h"
#include "cli/local_cluster.h"
#include "cli/sweep_actions.h"
#include "proto/json.h"

#include <algorithm>

namespace rtrain::cli {

namespace {

/// What follows an action on the command line.
enum class Operand { kNone, kFile, kSweep, kSweepAndTrials };
struct SweepAction {
  std::string name;
  Operand operand;
  std::vector<std::string> options;  ///< those of the verb that it takes
  Result<int> (*run)(const Call& call);
  bool names = true;  ///< it has -o name
};

const std::vector<SweepAction>& sweep_actions() {
  static const std::vector<SweepAction> kActions{
      {"validate", Operand::kFile, {"set"}, validate_sweep, false},
      {"plan",
       Operand::kFile,
       {"set", "places", "unit-time", "start-time", "trial-resource", "like"},
       plan_sweep_file,
       false},
      {"run", Operand::kFile, {"set", "state-dir", "verbose"}, run_sweep, false},
      {"submit", Operand::kFile, {"set"}, submit_sweep},
      {"list", Operand::kNone, {}, list_sweeps},
      {"show", Operand::kSweep, {}, show_sweep},
      {"trials", Operand::kSweep, {}, list_trials},
      {"best", Operand::kSweep, {}, best_of_sweep},
      {"result", Operand::kSweep, {"wait", "timeout", "resume-within"}, result_of_sweep, false},
      {"stop", Operand::kSweep, {"now"}, stop_sweep},
      {"pause", Operand::kSweep, {}, pause_sweep},
      {"resume", Operand::kSweep, {}, resume_sweep},
      {"extend", Operand::kSweep, {"trials"}, extend_sweep},
      {"enqueue", Operand::kSweep, {"set"}, enqueue_trial},
      {"retry", Operand::kSweepAndTrials, {"failed"}, retry_trials}};
  return kActions;
}

Result<SweepAction> action_of(const Call& call) {
  const std::string& name = call.args.positionals[0];
  std::vector<std::string> known;
  for (const auto& action : sweep_actions()) {
    if (action.name == name) return action;
    known.push_back(action.name);
  }
  const auto near = proto::nearest(name, known);
  return fail(
      Errc::kInvalidArgument,
      "rtrain sweep: unknown action '" + name + "'" + (near.empty() ? "" : "; did you mean " + near + "?"),
      "rtrain help sweep");
}

const char* takes(Operand operand) {
  switch (operand) {
    case Operand::kNone: return "takes nothing more";
    case Operand::kFile: return "takes one FILE";
    case Operand::kSweep: return "takes the number of one sweep";
    case Operand::kSweepAndTrials: return "takes the number of one sweep, and of trials";
  }
  return "";
}

Result<Done> check_arguments(const Call& call, const SweepAction& action) {
  const auto count = call.args.positionals.size();
  const std::size_t wanted = action.operand == Operand::kNone ? 1 : 2;
  if (action.operand == Operand::kSweepAndTrials ? count < wanted : count != wanted)
    return fail(Errc::kInvalidArgument, "rtrain sweep " + action.name + " " + takes(action.operand),
                "rtrain help sweep");
  for (const auto& option : call.verb.options)
    if (call.args.has(option.name) && std::ranges::find(action.options, option.name) == action.options.end())
      return fail(Errc::kInvalidArgument, "rtrain sweep " + action.name + " has no --" + option.name,
                  "rtrain help sweep");
  if (call.output == "name" && !action.names)
    return fail(Errc::kInvalidArgument, "rtrain sweep " + action.name + " has no -o name",
                "use table or json");
  return ok();
}

Result<int> sweep(Call& call) {
  const auto action = action_of(call);
  if (!action) return action.error();
  if (auto checked = check_arguments(call, *action); !checked) return checked.error();
  return action->run(call);
}

}  // namespace

Verb sweep_verb() {
  return {
      .name = "sweep",
      .usage = "ACTION [FILE | ID [TRIAL...]]",
      .summary = "search hyperparameters: train many variants of a job, keep the best",
      .description =
          "validate FILE prints every error of a sweep file at once as FILE:LINE:COLUMN: PATH: MESSAGE and "
          "ends "
          "with status 2.\n"
          "plan FILE runs the sweep on virtual time against an assumed learning curve. Neither needs a "
          "head, but for\n"
          "plan --like ID, which takes learning curves and times from a sweep of the past.\n"
          "run FILE runs the sweep on this machine, with nothing to set up: a head and an agent inside the "
          "process. Ctrl-C stops it.\n"
          "submit FILE hands the sweep to the head, which runs each trial as a job.\n"
          "list has the sweeps; show ID tells how one stands, with its best trials; trials ID lists all of "
          "them; "
          "best ID prints\n"
          "the parameters of the best one, its checkpoint, and the options that train it; result ID how the "
          "sweep ended.\n"
          "pause ID starts nothing new until resume ID. stop ID ends each running trial at its next rung, "
          "with "
          "--now at once.\n"
          "extend ID tries more trials; enqueue ID tries parameters next; retry ID tries trials again that "
          "have "
          "ended.",
      .positionals_min = 1,
      .positionals_max = -1,
      .outputs = {"table", "json", "name"},
      .options =
          {{"set", 0, "PATH=VALUE",
            "override a field of the file, e.g. limits.trials=50; enqueue: a parameter (may be repeated)"},
           {"now", 0, "", "stop: running trials end at once"},
           {"trials", 0, "N", "extend: so many more"},
           {"failed", 0, "", "retry: all trials that failed"},
           {"wait", 'w', "", "result: wait for the end of the sweep"},
           {"timeout", 0, "SECONDS", "result --wait: return after this long with exit status 6"},
           resume_option(),
           {"like", 0, "ID",
            "plan: with learning curves, times and places as sweep ID and the cluster have them"},
           {"places", 0, "N", "plan: trials that the cluster runs at once (default: limits.running)"},
           {"unit-time", 0, "SECONDS", "plan: how long a trial takes for one unit of its resource"},
           {"start-time", 0, "SECONDS", "plan: from the start of a trial to its first step (default: 10)"},
           {"trial-resource", 0, "R",
            "plan: the resource at which a trial ends by itself (default: the schedule's last rung)"},
           local_options()[0],
           local_options()[1]},
      .examples = {{"rtrain sweep run sweep.json", "search on this machine"},
                   {"rtrain sweep plan --unit-time 45 --places 8 sweep.json",
                    "what it costs: eight trials at once, 45 s an epoch"},
                   {"id=$(rtrain sweep submit -o name sweep.json)",
                    "run it on the cluster, with its number for a script"},
                   {"rtrain sweep best 7", "the parameters that did best so far"}},
      .run = sweep};
}

}  // namespace rtrain::cli
