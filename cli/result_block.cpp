#include "cli/result_block.h"

#include "cli/job_reference.h"
#include "cli/table.h"
#include "cli/text.h"

namespace rtrain::cli {

std::string log_command(const proto::JobError& error, const std::string& job) {
  std::string command = "rtrain logs " + job;
  if (error.rank) command += " --rank " + std::to_string(*error.rank);
  if (error.attempt > 0) command += " --attempt " + std::to_string(error.attempt);
  return command;
}

std::string error_block(const proto::JobError& error, const std::optional<proto::JobDoc>& job,
                        const std::string& whole_log, bool colour) {
  std::string out = styled("error:", Style::kRed, colour) + " " + printable_lines(error.message, "  ") + "\n";
  if (!error.log_tail.empty()) {
    out += "  its last log lines:\n";
    for (const auto& line : error.log_tail) out += "    " + printable(line, false) + "\n";
  }
  if (error.attempt > 0) {
    out += "  attempt " + std::to_string(error.attempt);
    if (job && job->max_failures >= 0) out += " of " + std::to_string(job->max_failures + 1);
    if (job) out += " (max_failures " + std::to_string(job->max_failures) + ")";
    out += "\n";
  }
  // It failed with tries left: the numbers above do not say why.
  const bool tries_left =
      job && job->state == "FAILED" && (job->max_failures < 0 || job->failures <= job->max_failures);
  if (tries_left && !job->reason.empty()) out += "  " + printable(job->reason, false) + "\n";
  if (!whole_log.empty())
    out += styled("hint:", Style::kBold, colour) + " the whole log: " + whole_log + "\n";
  return out;
}

std::string dropped_line(std::int64_t reports, std::int64_t dropped) {
  if (dropped == 0) return "";
  return std::to_string(dropped) + " of " + std::to_string(reports + dropped) +
         " were dropped: report() was called faster than they could be stored";
}

std::string result_block(const proto::ResultDoc& result, const std::optional<proto::JobDoc>& job,
                         const std::string& whole_log, bool colour) {
  std::string out;
  if (result.error && result.state == "FAILED") out += error_block(*result.error, job, whole_log, colour);
  out += "job " + job_name_of(result.id, job) + " (" + printable(result.name, false) +
         "): " + styled(result.state, state_style(result.state), colour);
  if (job && job->started_ms > 0 && job->ended_ms >= job->started_ms)
    out += " in " + duration(static_cast<double>(job->ended_ms - job->started_ms) / 1000.0);
  if (result.attempts > 1) out += ", " + std::to_string(result.attempts) + " attempts";
  out += "\n";
  const auto row = [&](const char* label, const std::string& text) {
    if (text.empty()) return;
    std::string name = label;
    name.resize(12, ' ');
    out += "  " + styled(name, Style::kDim, colour) + printable(text, false) + "\n";
  };
  row("metrics", metrics_line(result.metrics));
  row("reports", dropped_line(result.reports, result.reports_dropped));
  if (!result.return_value.is_null()) row("returned", proto::dump_json(result.return_value));
  if (result.checkpoint) row("checkpoint", result.checkpoint->path);
  if (!result.best_checkpoints.empty()) {
    const auto& best = result.best_checkpoints.front();
    const std::string metrics = metrics_line(best.metrics);
    if (!result.checkpoint || best.path != result.checkpoint->path || result.best_checkpoints.size() > 1)
      row("best", best.path + (metrics.empty() ? "" : "  (" + metrics + ")"));
  }
  for (const auto& kept : result.best_checkpoints)
    if (kept.validation && !kept.validation->error.empty())
      row("warning",
          kept.path.substr(kept.path.rfind('/') + 1) + " was not validated: " + kept.validation->error);
  row("path", result.path);
  return out;
}

}  // namespace rtrain::cli
