// rtrain sweep list, show, trials, best: what is known of sweeps.
#include "cli/settings.h"
#include "cli/sweep_actions.h"
#include "cli/sweep_requests.h"
#include "cli/sweep_rows.h"
#include "cli/text.h"
#include "common/os/file.h"

namespace rtrain::cli {

namespace {

constexpr int kBestShown = 10;

}  // namespace

Result<int> list_sweeps(const Call& call) {
  auto get = get_of_head(call);
  if (!get) return get.error();
  std::string target = "/v1/sweeps?limit=1000";
  proto::Json all = proto::Json::array();
  std::vector<proto::SweepDoc> sweeps;
  for (std::string before;;) {
    auto answer = (*get)(target + before);
    if (!answer) return answer.error();
    auto page = as_list<proto::SweepDoc>(*answer, "sweeps");
    if (!page) return page.error();
    sweeps.insert(sweeps.end(), page->begin(), page->end());
    for (const auto& sweep : answer->at("sweeps")) all.push_back(sweep);
    if (!answer->value("more", false)) break;
    before = "&before=" + std::to_string(answer->value("next", std::int64_t{1}));
  }
  if (call.json()) {
    call.console.out(proto::dump_json({{"sweeps", all}}) + "\n");
    return 0;
  }
  if (call.output == "name") {
    for (const auto& sweep : sweeps) call.console.out(rtrain::to_string(sweep.id) + "\n");
    return 0;
  }
  if (sweeps.empty()) {
    call.console.note("no sweeps");
    return 0;
  }
  Table table({">SWEEP", "NAME", "USER", "STATE", ">TRIALS", "SUBMITTED", "METRIC", ">BEST", "REASON"});
  const auto now = os::unix_ms_now();
  for (const auto& sweep : sweeps)
    table.add({rtrain::to_string(sweep.id), Cell(sweep.name, Style::kBold), sweep.user,
               Cell(sweep.state, state_style(sweep.state)),
               std::to_string(sweep.trials) + "/" + std::to_string(sweep.trials_max),
               ago(sweep.submitted_ms, now), sweep.metric, value_text(sweep.best_value),
               printable(sweep.reason, false)});
  call.console.print(table);
  return 0;
}

Result<std::vector<proto::TrialDoc>> print_with_best(const Call& call, const Get& get,
                                                     const proto::SweepDoc& sweep, int most) {
  auto best = best_trials(get, sweep_target(sweep.id), most);
  if (!best) return best.error();
  call.console.out(sweep_block(sweep, call.console.out_colour()));
  if (best->empty()) return best;
  call.console.out("\n");
  call.console.print(trial_table(*best));
  return best;
}

Result<int> show_sweep(const Call& call) {
  const auto asked = asked_sweep(call);
  if (!asked) return asked.error();
  auto sweep = read_sweep(asked->get, asked->target);
  if (!sweep) return sweep.error();
  if (call.output != "table") {
    print_changed(call, *sweep, "");
    return 0;
  }
  const auto best = print_with_best(call, asked->get, *sweep, kBestShown);
  return best ? Result<int>(0) : best.error();
}

Result<int> list_trials(const Call& call) {
  const auto asked = asked_sweep(call);
  if (!asked) return asked.error();
  const auto list = trials_of(asked->get, asked->target);
  if (!list) return list.error();
  if (call.json())
    call.console.out(proto::dump_json({{"trials", proto::Json(*list)}}) + "\n");
  else if (call.output == "name")
    for (const auto& trial : *list) call.console.out(std::to_string(trial.trial) + "\n");
  else if (list->empty())
    call.console.note("no trials yet");
  else
    call.console.print(trial_table(*list));
  return 0;
}

Result<int> best_of_sweep(const Call& call) {
  const auto asked = asked_sweep(call);
  if (!asked) return asked.error();
  auto sweep = read_sweep(asked->get, asked->target);
  if (!sweep) return sweep.error();
  auto found = best_trials(asked->get, asked->target, 1);
  if (!found) return found.error();
  const auto id = rtrain::to_string(sweep->id);
  if (found->empty())
    return fail(Errc::kNotFound, "sweep " + id + ": no trial has a value of " + sweep->metric + " yet",
                "rtrain sweep trials " + id);
  const auto& trial = found->front();
  const auto checkpoint = best_checkpoint(asked->get, trial.job);
  if (!checkpoint) return checkpoint.error();
  if (call.json()) {
    proto::Json json = trial;
    json["checkpoint"] = *checkpoint;
    json["set"] = overrides_of(trial.params);
    call.console.out(proto::dump_json(json) + "\n");
  } else if (call.output == "name") {
    call.console.out(std::to_string(trial.trial) + "\n");
  } else {
    call.console.out(best_block(*sweep, trial, *checkpoint, call.console.out_colour()));
  }
  return 0;
}

}  // namespace rtrain::cli
