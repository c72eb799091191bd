// rtrain sweep: the verb, and what can be said of a sweep file without a head.
#include "cli/sweep_file.h"
#include "cli/text.h"
#include "common/base/number.h"
#include "daemon/core/sweep/plan.h"

#include <algorithm>
#include <cmath>

namespace rtrain::cli {

namespace {

std::string count_of(const proto::SweepSpec& spec) {
  auto trials = static_cast<std::int64_t>(spec.limits.trials);
  if (spec.search.method == proto::SearchMethod::kGrid) {
    const auto points = core::Grid::of(core::Space(spec.parameters)).value().size();
    trials = trials == 0 ? points : std::min(trials, points);
  }
  return std::to_string(trials) + (trials == 1 ? " trial" : " trials") + " by " +
         std::string(proto::to_string(spec.search.method)) + ", schedule " +
         std::string(proto::to_string(spec.schedule.kind));
}

Result<int> validate(const Call& call, const SweepFile& file) {
  if (call.json()) {
    proto::Json errors = proto::Json::array();
    for (const auto& error : file.reading.errors)
      errors.push_back(
          {{"path", error.path}, {"message", error.message}, {"line", error.line}, {"column", error.column}});
    call.console.out(
        proto::dump_json({{"valid", file.reading.ok()}, {"errors", errors}, {"notes", file.reading.notes}}) +
        "\n");
    return static_cast<int>(file.reading.ok() ? Exit::kOk : Exit::kUsage);
  }
  if (!report_errors(file, call.console)) return static_cast<int>(Exit::kUsage);
  for (const auto& note : file.reading.notes) call.console.note(file.shown + ": " + note);
  call.console.out(file.shown + ": valid; " + count_of(file.reading.spec) + "\n");
  return 0;
}

/// A number above 0 of an option.
Result<std::optional<double>> amount(const Call& call, const char* option) {
  const auto text = call.args.text(option);
  if (!text) return std::optional<double>{};
  const auto value = finite_number(*text);
  if (!value || *value <= 0)
    return fail(Errc::kInvalidArgument,
                std::string("--") + option + " '" + *text + "': must be a number above 0");
  return value;
}

Result<core::PlanAssumptions> assumptions_of(const Call& call, const proto::SweepSpec& spec) {
  core::PlanAssumptions assumptions;
  const auto places = call.args.integer("places", 1, proto::kTrialsMax);
  if (!places) return places.error();
  const auto unit = call.args.seconds("unit-time");
  if (!unit) return unit.error();
  const auto start = call.args.seconds("start-time");
  if (!start) return start.error();
  const auto whole = amount(call, "trial-resource");
  if (!whole) return whole.error();
  if (!*unit)
    return fail(Errc::kInvalidArgument,
                "rtrain sweep plan needs --unit-time, the seconds of one unit of the resource",
                "time an epoch of the job, and give that");
  if (!*places && spec.limits.running == 0)
    return fail(Errc::kInvalidArgument,
                "rtrain sweep plan needs --places, how many trials the cluster runs at once",
                "or limits.running in the file");
  if (!*whole && spec.schedule.max <= 0)
    return fail(Errc::kInvalidArgument,
                "rtrain sweep plan needs --trial-resource: the schedule does not say how long a trial is",
                "give the number of epochs that the job trains");
  assumptions.places = places->value_or(spec.limits.running);
  assumptions.resource_s = **unit;
  assumptions.start_s = start->value_or(assumptions.start_s);
  assumptions.trial_resource = whole->value_or(0);
  const auto resources = spec.job.scaling_config.resources();
  if (const auto gpus = resources.find("GPU"); gpus != resources.end())
    assumptions.gpus = gpus->second * spec.job.scaling_config.num_workers;
  return assumptions;
}

std::string two_digits(double value) {
  const double rounded = std::round(value * 100) / 100;
  return proto::number_text(rounded);
}

void print_plan(const Call& call, const core::SweepPlan& plan, const core::PlanAssumptions& assumptions) {
  Table figures({"FIGURE", ">VALUE"});
  figures.add({"trials", std::to_string(plan.trials)});
  figures.add({"trained to their end", std::to_string(plan.completed)});
  figures.add({"stopped early", std::to_string(plan.pruned)});
  if (plan.promotions > 0) figures.add({"promotions", std::to_string(plan.promotions)});
  if (plan.clones > 0) figures.add({"clones", std::to_string(plan.clones)});
  figures.add({"at once, at most", std::to_string(plan.running_most)});
  figures.add({"hours", two_digits(plan.hours)});
  if (assumptions.gpus > 0) figures.add({"GPU-hours", two_digits(plan.gpu_hours)});
  figures.add({"resource", proto::number_text(plan.resource)});
  figures.add({"resource, all trained to their end", proto::number_text(plan.resource_whole)});
  call.console.print(figures);
  if (plan.at_rung.size() > 1) {
    call.console.out("\n");
    Table rungs({">RUNG", ">TRIALS"});
    for (std::size_t rung = 0; rung < plan.at_rung.size(); ++rung)
      rungs.add({std::to_string(rung), std::to_string(plan.at_rung[rung])});
    call.console.print(rungs);
  }
  call.console.out("\nends: " + printable(plan.reason, false) + "\n");
  call.console.out("assumed: " + two_digits(assumptions.resource_s) + " s a unit of the resource, " +
                   two_digits(assumptions.start_s) +
                   " s for a start, and losses q + (1 - q) / sqrt(1 + 9 r / R) + noise with q uniform\n");
}

Result<int> plan(const Call& call, const SweepFile& file) {
  if (!report_errors(file, call.console)) return static_cast<int>(Exit::kUsage);
  const auto assumptions = assumptions_of(call, file.reading.spec);
  if (!assumptions) return assumptions.error();
  const auto planned = core::plan_sweep(file.reading.spec, *assumptions);
  if (!planned) return planned.error();
  if (!call.json()) {
    print_plan(call, *planned, *assumptions);
    return 0;
  }
  call.console.out(proto::dump_json({{"trials", planned->trials},
                                     {"completed", planned->completed},
                                     {"stopped", planned->pruned},
                                     {"promotions", planned->promotions},
                                     {"clones", planned->clones},
                                     {"running_most", planned->running_most},
                                     {"hours", planned->hours},
                                     {"gpu_hours", planned->gpu_hours},
                                     {"resource", planned->resource},
                                     {"resource_whole", planned->resource_whole},
                                     {"at_rung", planned->at_rung},
                                     {"reason", planned->reason}}) +
                   "\n");
  return 0;
}

/// What follows an action on the command line.
enum class Operand { kNone, kFile, kSweep };
struct Action {
  std::string name;
  Operand operand;
  std::vector<std::string> options;  ///< those of the verb that it takes
};

const std::vector<Action>& sweep_actions() {
  static const std::vector<Action> kActions{
      {"validate", Operand::kFile, {"set"}},
      {"plan", Operand::kFile, {"set", "places", "unit-time", "start-time", "trial-resource"}},
      {"submit", Operand::kFile, {"set"}},
      {"list", Operand::kNone, {}},
      {"show", Operand::kSweep, {}},
      {"trials", Operand::kSweep, {}},
      {"best", Operand::kSweep, {}},
      {"stop", Operand::kSweep, {"now"}},
      {"pause", Operand::kSweep, {}},
      {"resume", Operand::kSweep, {}}};
  return kActions;
}

Result<Action> action_of(const Call& call) {
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

Result<Done> check_arguments(const Call& call, const Action& action) {
  const bool takes_one = action.operand != Operand::kNone;
  if (call.args.positionals.size() != (takes_one ? 2U : 1U))
    return fail(Errc::kInvalidArgument,
                "rtrain sweep " + action.name +
                    (action.operand == Operand::kFile    ? " takes one FILE"
                     : action.operand == Operand::kSweep ? " takes the number of one sweep"
                                                         : " takes nothing more"),
                "rtrain help sweep");
  for (const auto& option : call.verb.options)
    if (call.args.has(option.name) && std::ranges::find(action.options, option.name) == action.options.end())
      return fail(Errc::kInvalidArgument, "rtrain sweep " + action.name + " has no --" + option.name,
                  "rtrain help sweep");
  return ok();
}

Result<int> sweep(Call& call) {
  const auto action = action_of(call);
  if (!action) return action.error();
  if (auto checked = check_arguments(call, *action); !checked) return checked.error();
  if (action->name != "validate" && action->name != "plan") return run_sweep_action(call, action->name);
  if (call.output == "name")
    return fail(Errc::kInvalidArgument, "rtrain sweep " + action->name + " has no -o name",
                "use table or json");
  auto file = load_sweep(call);
  if (!file) return file.error();
  return action->name == "plan" ? plan(call, *file) : validate(call, *file);
}

}  // namespace

Verb sweep_verb() {
  return {
      .name = "sweep",
      .usage =
          "validate FILE | plan FILE | submit FILE | list | show ID | trials ID | best ID | stop ID | pause "
          "ID "
          "| resume ID",
      .summary = "search hyperparameters: train many variants of a job, keep the best",
      .description =
          "validate prints every error of a sweep file at once as FILE:LINE:COLUMN: PATH: MESSAGE and ends "
          "with "
          "status 2.\n"
          "plan runs the sweep on virtual time against an assumed learning curve. Neither needs a head.\n"
          "submit hands the sweep to the head, which runs each trial as a job. show tells how it stands, "
          "with its "
          "best trials;\n"
          "trials lists all of them; best prints the parameters of the best one, its checkpoint, and the "
          "options "
          "that train it.\n"
          "pause starts nothing new until resume. stop ends each running trial at its next rung, with --now "
          "at "
          "once.",
      .positionals_min = 1,
      .positionals_max = 2,
      .outputs = {"table", "json", "name"},
      .options = {{"set", 0, "PATH=VALUE",
                   "override a field of the file, e.g. limits.trials=50 (may be repeated)"},
                  {"now", 0, "", "stop: running trials end at once"},
                  {"places", 0, "N", "plan: trials that the cluster runs at once (default: limits.running)"},
                  {"unit-time", 0, "SECONDS", "plan: how long a trial takes for one unit of its resource"},
                  {"start-time", 0, "SECONDS",
                   "plan: from the start of a trial to its first step (default: 10)"},
                  {"trial-resource", 0, "R",
                   "plan: the resource at which a trial ends by itself (default: the schedule's last rung)"}},
      .examples = {{"rtrain sweep validate sweep.json", "check it"},
                   {"rtrain sweep plan --unit-time 45 --places 8 sweep.json",
                    "eight trials at once, 45 s an epoch"},
                   {"id=$(rtrain sweep submit -o name sweep.json)", "run it, with its number for a script"},
                   {"rtrain sweep best 7", "the parameters that did best so far"}},
      .run = sweep};
}

}  // namespace rtrain::cli
