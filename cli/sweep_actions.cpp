// rtrain sweep submit, list, show, trials, best, stop, pause, resume: what asks the head.
#include "cli/job_file.h"
#include "cli/settings.h"
#include "cli/sweep_file.h"
#include "cli/text.h"
#include "common/base/number.h"
#include "common/os/file.h"

#include <algorithm>
#include <map>

namespace rtrain::cli {

namespace {

constexpr int kBestShown = 10;

Result<std::string> sweep_target(const Call& call) {
  const auto& text = call.args.positionals[1];
  const auto id = whole_number(text);
  if (!id || *id < 1)
    return fail(Errc::kInvalidArgument, "'" + printable(text, false) + "' is no number of a sweep",
                "rtrain sweep list shows the sweeps");
  return "/v1/sweeps/" + std::to_string(*id);
}

/// "lr=0.003, optimizer=sgd"
std::string params_line(const proto::Json& params) {
  std::string line;
  for (const auto& [name, value] : params.items())
    line += (line.empty() ? "" : ", ") + name + "=" + metric_value(value);
  return line;
}

std::string value_text(const std::optional<double>& value) { return value ? number(*value, 6) : ""; }

std::string states_line(const std::map<std::string, std::int64_t>& states) {
  std::string line;
  for (const auto& [state, count] : states)
    line += (line.empty() ? "" : ", ") + std::to_string(count) + " " + state;
  return line;
}

Table trial_table(const std::vector<proto::TrialDoc>& trials) {
  Table table({">TRIAL", "STATE", ">JOB", ">VALUE", ">RESOURCE", "PARAMETERS", "REASON"});
  for (const auto& trial : trials)
    table.add({std::to_string(trial.trial), Cell(trial.state, state_style(trial.state)),
               trial.job.value() > 0 ? rtrain::to_string(trial.job) : "", value_text(trial.value),
               trial.value ? number(trial.resource) : "", printable(params_line(trial.params), false),
               printable(trial.reason, false)});
  return table;
}

/// A line below a heading; nothing where there is no text.
std::string labelled(std::string label, const std::string& text, bool colour) {
  if (text.empty()) return {};
  label.resize(12, ' ');
  return "  " + styled(label, Style::kDim, colour) + printable(text, false) + "\n";
}

void print_sweep(const Call& call, const proto::SweepDoc& sweep) {
  const auto& console = call.console;
  const bool colour = console.out_colour();
  std::string out = "sweep " + rtrain::to_string(sweep.id) + " (" + printable(sweep.name, false) +
                    "): " + styled(sweep.state, state_style(sweep.state), colour);
  if (!sweep.reason.empty()) out += ": " + printable(sweep.reason, false);
  out += "\n";
  const auto row = [&](const char* label, const std::string& text) { out += labelled(label, text, colour); };
  row("submitted",
      ago(sweep.submitted_ms, os::unix_ms_now()) + (sweep.user.empty() ? "" : " by " + sweep.user));
  if (sweep.ended_ms > 0)
    row("took", duration(static_cast<double>(sweep.ended_ms - sweep.submitted_ms) / 1000));
  row("search", sweep.search + ", schedule " + sweep.schedule + ", " +
                    (sweep.mode == "max" ? "most " : "least ") + sweep.metric);
  row("trials", std::to_string(sweep.trials) + " of " + std::to_string(sweep.trials_max) +
                    (sweep.trials > 0 ? ": " + states_line(sweep.trials_by_state) : ""));
  if (sweep.gpu_hours > 0) row("GPU-hours", number(sweep.gpu_hours));
  if (sweep.best_trial)
    row("best", "trial " + std::to_string(*sweep.best_trial) + ": " + value_text(sweep.best_value));
  console.out(out);
}

void print_changed(const Call& call, const proto::SweepDoc& sweep, const std::string& line) {
  if (call.json())
    call.console.out(proto::dump_json(proto::Json(sweep)) + "\n");
  else if (call.output == "name")
    call.console.out(rtrain::to_string(sweep.id) + "\n");
  else
    call.console.out(line + "\n");
}

Result<int> submit_sweep(const Call& call, const Client& client) {
  auto file = load_sweep(call);
  if (!file) return file.error();
  if (!report_errors(*file, call.console)) return static_cast<int>(Exit::kUsage);
  for (const auto& note : file->reading.notes) call.console.note(file->shown + ": " + note);
  const auto base = path_base(call.getenv);
  const auto job_dir = file->job_dir.starts_with('/') ? file->job_dir
                       : file->job_dir.empty()        ? base.cwd
                                                      : base.cwd + "/" + file->job_dir;
  auto& spec = file->reading.spec;
  proto::resolve_paths(spec.job, job_dir, base.cwd, base.home, base.library_dir);
  auto answer = client.submit(proto::to_json(spec), "/v1/sweeps");
  if (!answer) return answer.error();
  auto sweep = as<proto::SweepDoc>(*answer);
  if (!sweep) return sweep.error();
  const auto id = rtrain::to_string(sweep->id);
  print_changed(
      call, *sweep,
      "sweep " + id + " (" + printable(sweep->name, false) + ") submitted; rtrain sweep show " + id);
  return 0;
}

Result<int> list_sweeps(const Call& call, const Client& client) {
  std::string target = "/v1/sweeps?limit=1000";
  proto::Json all = proto::Json::array();
  std::vector<proto::SweepDoc> sweeps;
  for (std::string before;;) {
    auto answer = client.get(target + before);
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

Result<std::vector<proto::TrialDoc>> best_trials(const Client& client, const std::string& sweep, int limit) {
  auto answer = client.get(sweep + "/trials?order=best&limit=" + std::to_string(limit));
  if (!answer) return answer.error();
  return as_list<proto::TrialDoc>(*answer, "trials");
}

Result<int> show_sweep(const Call& call, const Client& client) {
  const auto named = sweep_target(call);
  if (!named) return named.error();
  const auto& target = *named;
  auto answer = client.get(target);
  if (!answer) return answer.error();
  auto sweep = as<proto::SweepDoc>(*answer);
  if (!sweep) return sweep.error();
  if (call.json() || call.output == "name") {
    print_changed(call, *sweep, "");
    return 0;
  }
  auto best = best_trials(client, target, kBestShown);
  if (!best) return best.error();
  print_sweep(call, *sweep);
  if (best->empty()) return 0;
  call.console.out("\n");
  call.console.print(trial_table(*best));
  return 0;
}

Result<int> list_trials(const Call& call, const Client& client) {
  const auto named = sweep_target(call);
  if (!named) return named.error();
  const auto& target = *named;
  proto::Json all = proto::Json::array();
  std::vector<proto::TrialDoc> list;
  for (std::int64_t from = 0;;) {
    auto answer = client.get(target + "/trials?limit=10000&from=" + std::to_string(from));
    if (!answer) return answer.error();
    auto page = as_list<proto::TrialDoc>(*answer, "trials");
    if (!page) return page.error();
    list.insert(list.end(), page->begin(), page->end());
    for (const auto& trial : answer->at("trials")) all.push_back(trial);
    if (!answer->value("more", false)) break;
    from = answer->value("next", from);
  }
  if (call.json())
    call.console.out(proto::dump_json({{"trials", all}}) + "\n");
  else if (call.output == "name")
    for (const auto& trial : list) call.console.out(std::to_string(trial.trial) + "\n");
  else if (list.empty())
    call.console.note("no trials yet");
  else
    call.console.print(trial_table(list));
  return 0;
}

/// A word that a shell takes as it is.
std::string shell_word(const std::string& text) {
  const bool plain = !text.empty() && std::ranges::all_of(text, [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("._-=/:,+").find(c) != std::string_view::npos;
  });
  if (plain) return text;
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

/// A text that is JSON of its own ("8", "true", "1e-3") is quoted, so that it stays a text.
std::string set_text(const proto::Json& value) {
  const bool bare = value.is_string() && !proto::parse_json(value.get<std::string>());
  return bare ? value.get<std::string>() : proto::dump_json(value);
}

/// The --set options that make a trial of the job file.
std::vector<std::string> overrides_of(const proto::Json& params) {
  std::vector<std::string> sets;
  for (const auto& [path, value] : params.items())
    sets.push_back(proto::job_path_text(path) + "=" + set_text(value));
  return sets;
}

Result<int> best_of_sweep(const Call& call, const Client& client) {
  const auto named = sweep_target(call);
  if (!named) return named.error();
  const auto& target = *named;
  auto answer = client.get(target);
  if (!answer) return answer.error();
  auto sweep = as<proto::SweepDoc>(*answer);
  if (!sweep) return sweep.error();
  auto found = best_trials(client, target, 1);
  if (!found) return found.error();
  const auto id = rtrain::to_string(sweep->id);
  if (found->empty())
    return fail(Errc::kNotFound, "sweep " + id + ": no trial has a value of " + sweep->metric + " yet",
                "rtrain sweep trials " + id);
  const auto& trial = found->front();
  // A job that was forgotten has no checkpoint that anybody knows of.
  std::string checkpoint;
  if (auto result = client.get("/v1/jobs/" + rtrain::to_string(trial.job) + "/result")) {
    const auto doc = as<proto::ResultDoc>(*result);
    if (!doc) return doc.error();
    if (!doc->best_checkpoints.empty()) checkpoint = doc->best_checkpoints.front().path;
  } else if (result.error().code() != Errc::kNotFound) {
    return result.error();
  }
  const auto sets = overrides_of(trial.params);
  if (call.json()) {
    proto::Json json = trial;
    json["checkpoint"] = checkpoint;
    json["set"] = sets;
    call.console.out(proto::dump_json(json) + "\n");
    return 0;
  }
  if (call.output == "name") {
    call.console.out(std::to_string(trial.trial) + "\n");
    return 0;
  }
  std::string command = "rtrain submit";
  for (const auto& set : sets) command += " --set " + shell_word(set);
  std::string out = "trial " + std::to_string(trial.trial) + " of sweep " + id + " (" +
                    printable(sweep->name, false) + "): " + sweep->metric + " " + value_text(trial.value) +
                    " at " + number(trial.resource) + ", " + trial.state + "\n";
  const auto row = [&](const char* label, const std::string& text) {
    out += labelled(label, text, call.console.out_colour());
  };
  row("parameters", params_line(trial.params));
  row("job", rtrain::to_string(trial.job));
  row("checkpoint", checkpoint);
  row("train it", command + " JOB.json");
  call.console.out(out);
  return 0;
}

/// stop, pause, resume
Result<int> change_sweep(const Call& call, const Client& client, const std::string& action) {
  const auto target = sweep_target(call);
  if (!target) return target.error();
  auto body = proto::Json::object();
  if (call.args.has("now")) body["now"] = true;
  auto answer = client.post(*target + "/" + action, body);
  if (!answer) return answer.error();
  auto sweep = as<proto::SweepDoc>(*answer);
  if (!sweep) return sweep.error();
  print_changed(call, *sweep,
                "sweep " + rtrain::to_string(sweep->id) + " (" + printable(sweep->name, false) + ") is " +
                    sweep->state);
  return 0;
}

const std::map<std::string_view, Result<int> (*)(const Call&, const Client&)> kSweepRequests{
    {"submit", submit_sweep}, {"list", list_sweeps},   {"show", show_sweep},
    {"trials", list_trials},  {"best", best_of_sweep},
};

}  // namespace

Result<int> run_sweep_action(const Call& call, const std::string& action) {
  auto client = client_of(call);
  if (!client) return client.error();
  const auto handler = kSweepRequests.find(action);
  if (handler == kSweepRequests.end()) return change_sweep(call, *client, action);
  return handler->second(call, *client);
}

}  // namespace rtrain::cli
