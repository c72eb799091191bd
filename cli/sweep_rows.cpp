#include "cli/sweep_rows.h"

#include "cli/job_rows.h"
#include "cli/text.h"
#include "common/os/file.h"
#include "proto/sweep/sweep_paths.h"

#include <algorithm>

namespace rtrain::cli {

namespace {

/// A line below a heading; nothing where there is no text.
std::string labelled(std::string label, const std::string& text, bool colour) {
  if (text.empty()) return {};
  label.resize(12, ' ');
  return "  " + styled(label, Style::kDim, colour) + printable(text, false) + "\n";
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

}  // namespace

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

std::string sweep_block(const proto::SweepDoc& sweep, bool colour) {
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
  if (sweep.known > 0) row("known", std::to_string(sweep.known) + " trials of earlier sweeps");
  if (sweep.gpu_hours > 0) row("GPU-hours", number(sweep.gpu_hours));
  if (sweep.best_trial)
    row("best", "trial " + std::to_string(*sweep.best_trial) + ": " + value_text(sweep.best_value));
  return out;
}

std::vector<std::string> overrides_of(const proto::Json& params) {
  std::vector<std::string> sets;
  for (const auto& [path, value] : params.items())
    sets.push_back(proto::job_path_text(path) + "=" + set_text(value));
  return sets;
}

std::string best_block(const proto::SweepDoc& sweep, const proto::TrialDoc& trial,
                       const std::string& checkpoint, bool colour) {
  std::string command = "rtrain submit";
  for (const auto& set : overrides_of(trial.params)) command += " --set " + shell_word(set);
  std::string out = "trial " + std::to_string(trial.trial) + " of sweep " + rtrain::to_string(sweep.id) +
                    " (" + printable(sweep.name, false) + "): " + sweep.metric + " " +
                    value_text(trial.value) + " at " + number(trial.resource) + ", " + trial.state + "\n";
  const auto row = [&](const char* label, const std::string& text) { out += labelled(label, text, colour); };
  row("parameters", params_line(trial.params));
  row("job", rtrain::to_string(trial.job));
  row("checkpoint", checkpoint);
  row("train it", command + " JOB.json");
  return out;
}

}  // namespace rtrain::cli
