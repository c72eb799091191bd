// rtrain sweep validate, plan: what can be said of a sweep file without a head.
#include "cli/settings.h"
#include "cli/sweep_actions.h"
#include "cli/sweep_file.h"
#include "cli/sweep_past.h"
#include "cli/sweep_requests.h"
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

}  // namespace

Result<int> validate_sweep(const Call& call) {
  const auto loaded = load_sweep(call);
  if (!loaded) return loaded.error();
  const auto& file = *loaded;
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

namespace {

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
  std::optional<PastSweep> past;
  std::optional<std::int64_t> fit;
  if (const auto like = call.args.text("like")) {
    const auto target = sweep_target(*like);
    if (!target) return target.error();
    const auto get = get_of_head(call);
    if (!get) return get.error();
    auto read = past_sweep(*get, *target, spec);
    if (!read) return read.error().in("sweep " + *like);
    past = std::move(*read);
    if (!*places && spec.limits.running == 0) {
      const auto found = places_for(*get, spec.job);
      if (!found) return found.error();
      fit = *found;
    }
  }
  if (!*unit && !past)
    return fail(Errc::kInvalidArgument,
                "rtrain sweep plan needs --unit-time, the seconds of one unit of the resource",
                "time an epoch of the job, and give that; or --like ID, a sweep of the past");
  if (!*places && spec.limits.running == 0 && !fit)
    return fail(Errc::kInvalidArgument,
                "rtrain sweep plan needs --places, how many trials the cluster runs at once",
                "or limits.running in the file");
  if (!*whole && spec.schedule.max <= 0)
    return fail(Errc::kInvalidArgument,
                "rtrain sweep plan needs --trial-resource: the schedule does not say how long a trial is",
                "give the number of epochs that the job trains");
  assumptions.places = places->value_or(fit.value_or(spec.limits.running));
  assumptions.resource_s = unit->value_or(past ? past->resource_s : 0);
  assumptions.start_s = start->value_or(past ? past->start_s : assumptions.start_s);
  assumptions.trial_resource = whole->value_or(0);
  if (past) assumptions.curves = std::move(past->curves);
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
  call.console.out(
      "assumed: " + two_digits(assumptions.resource_s) + " s a unit of the resource, " +
      two_digits(assumptions.start_s) + " s for a start, and " +
      (assumptions.curves.empty()
           ? std::string("losses q + (1 - q) / sqrt(1 + 9 r / R) + noise with q uniform")
           : "the learning curves of " + std::to_string(assumptions.curves.size()) + " past trials") +
      "\n");
}

}  // namespace

Result<int> plan_sweep_file(const Call& call) {
  const auto loaded = load_sweep(call);
  if (!loaded) return loaded.error();
  const auto& file = *loaded;
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
                                     {"places", assumptions->places},
                                     {"unit_time_s", assumptions->resource_s},
                                     {"start_time_s", assumptions->start_s},
                                     {"curves", assumptions->curves.size()},
                                     {"reason", planned->reason}}) +
                   "\n");
  return 0;
}

}  // namespace rtrain::cli
