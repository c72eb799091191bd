#include "cli/follow_view.h"

#include "cli/job_reference.h"
#include "cli/progress_line.h"
#include "cli/table.h"
#include "cli/text.h"

#include <algorithm>

namespace rtrain::cli {

namespace {

constexpr std::size_t kLineMax = 64u << 10;  // a longer line is shown in pieces
constexpr double kReportEvery_s = 1.0;
constexpr double kStageEvery_s = 0.5;
constexpr double kReasonEvery_s = 10.0;

bool terminal_state(std::string_view state) {
  return state == "SUCCEEDED" || state == "FAILED" || state == "CANCELLED";
}

}  // namespace

std::string FollowView::subject() const {
  return "job " + job_name_of(job_) + " (" + printable(job_.name, false) + ")";
}

Pieces FollowView::on_state(const proto::JobDoc& job, double now_s) {
  const bool changed = !known_ || job.state != job_.state || job.attempt != job_.attempt;
  // The last failure of a job that gives up is told by its Result.
  const bool tried_again =
      !terminal_state(job.state) && (job.max_failures < 0 || job.failures <= job.max_failures);
  const bool failed_again = known_ && job.failures > job_.failures && tried_again;
  if (known_ && job.attempt != job_.attempt) stage_.reset();
  job_ = job;
  known_ = true;
  if (changed) state_since_s_ = now_s;
  if (options_.states) {
    if (failed_again && job.error) {
      say("attempt " + std::to_string(job.error->attempt) +
          " failed: " + printable(job.error->message, false) + " (failure " + std::to_string(job.failures) +
          (job.max_failures < 0 ? ", any number is allowed)"
                                : ", max_failures " + std::to_string(job.max_failures) + ")"));
    }
    if (terminal_state(job.state)) {
      end_stage(now_s);
    } else if (!options_.live && (changed || has_new_reason(now_s))) {
      say_state(now_s, !failed_again);
    }
  }
  return flush(now_s);
}

/// A reason that flickers is not a log: the newest one is said when some time has passed since the last.
bool FollowView::has_new_reason(double now_s) const {
  return known_ && job_.state == "QUEUED" && job_.reason != reason_printed_ &&
         now_s - reason_printed_s_ >= kReasonEvery_s;
}

void FollowView::say_state(double now_s, bool with_reason) {
  std::string line = subject() + ": " + job_.state;
  if (job_.attempt > 1) line += ", attempt " + std::to_string(job_.attempt);
  if (!job_.reason.empty() && with_reason) line += ": " + printable(job_.reason, false);
  reason_printed_ = job_.reason;
  reason_printed_s_ = now_s;
  say(std::move(line));
}

Pieces FollowView::on_progress(const proto::ProgressDoc& progress, double now_s) {
  if (!options_.states) return {};
  if (stage_ && (stage_->stage != progress.stage || stage_->epoch != progress.epoch)) end_stage(now_s);
  if (!stage_) {
    const double before =
        progress.steps_per_s > 0 ? static_cast<double>(progress.step) / progress.steps_per_s : 0;
    stage_ = Stage{progress.stage, progress.epoch, now_s - before, false, progress};
  }
  const bool news = progress.step != stage_->last.step || progress.prog_bar != stage_->last.prog_bar;
  stage_->last = progress;
  if (news) stage_->shown = false;
  if (!options_.live && now_s - progress_printed_s_ >= options_.plain_progress_s && !stage_->shown) {
    say(progress_text(progress, now_s - stage_->begun_s));
    stage_->shown = true;
    progress_printed_s_ = now_s;
  }
  return flush(now_s);
}

/// The last line of an epoch stays on the screen.
void FollowView::end_stage(double now_s) {
  if (!stage_) return;
  if (stage_->stage == "train" && !stage_->shown && now_s - stage_printed_s_ >= kStageEvery_s) {
    const double elapsed = now_s - stage_->begun_s;
    say(options_.live ? progress_bar(stage_->last, elapsed, width_ - 1)
                      : progress_text(stage_->last, elapsed));
    stage_printed_s_ = progress_printed_s_ = now_s;
  }
  stage_.reset();
}

Pieces FollowView::on_report(const proto::MetricPoint& point, double now_s) {
  if (!options_.states) return {};
  // the rest is in `rtrain metrics`
  if (point.checkpoint.empty() && now_s - report_printed_s_ < kReportEvery_s) return {};
  report_printed_s_ = now_s;
  // counted anew
  std::string line = (point.attempt > 1 ? "attempt " + std::to_string(point.attempt) + ", " : "") +
                     "report " + std::to_string(point.seq);
  if (const std::string metrics = metrics_line(point.metrics); !metrics.empty()) line += ": " + metrics;
  if (!point.checkpoint.empty())
    line += " [" + printable(point.checkpoint.substr(point.checkpoint.rfind('/') + 1), false) + "]";
  say(std::move(line));
  return flush(now_s);
}

void FollowView::log_line(int rank, std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  // a redrawn line
  if (const std::size_t back = line.rfind('\r'); back != std::string_view::npos) line.remove_prefix(back + 1);
  std::string text = printable(line, options_.log_colour) + "\n";
  if (job_.num_workers > 1) text.insert(0, "[r" + std::to_string(rank) + "] ");
  lines_.push_back({options_.logs_to_stderr, std::move(text)});
}

Pieces FollowView::on_log(std::int64_t attempt, int rank, std::string_view text, double now_s) {
  std::string& partial = partial_[{attempt, rank}];
  for (;;) {
    const std::size_t end = text.find('\n');
    partial += text.substr(0, end);
    if (end == std::string_view::npos) break;
    log_line(rank, partial);
    partial.clear();
    text.remove_prefix(end + 1);
  }
  show_redrawn(partial, attempt, rank, now_s);
  if (partial.size() > kLineMax) {
    log_line(rank, partial);
    partial.clear();
  }
  return flush(now_s);
}

/// A line that is drawn again and again, as a progress bar is, may have no end for hours: its newest drawing
/// is shown now and then.
void FollowView::show_redrawn(std::string& partial, std::int64_t attempt, int rank, double now_s) {
  if (partial.size() < 2) return;
  // the last character may be the first half of a line end
  const std::size_t back = partial.rfind('\r', partial.size() - 2);
  if (back == std::string::npos) return;
  double& printed_s = redrawn_printed_s_.try_emplace({attempt, rank}, -1e9).first->second;
  const std::string drawn = partial.substr(0, back);
  partial.erase(0, back + 1);
  if (now_s - printed_s < options_.plain_progress_s || drawn.find_first_not_of('\r') == std::string::npos)
    return;
  printed_s = now_s;
  log_line(rank, drawn);
}

Pieces FollowView::on_note(std::string_view line, double now_s) {
  say(std::string(line));
  return flush(now_s);
}

Pieces FollowView::on_tick(double now_s) {
  if (options_.states && !options_.live && has_new_reason(now_s)) say_state(now_s, true);
  return flush(now_s);
}

Pieces FollowView::finish(double now_s) {
  for (const auto& [key, line] : partial_)
    if (!line.empty()) log_line(key.second, line);
  partial_.clear();
  if (options_.states) end_stage(now_s);
  return flush(now_s, false);
}

std::string FollowView::live_line(double now_s) const {
  if (!known_ || terminal_state(job_.state)) return {};
  if (job_.state == "RUNNING" && stage_)
    return progress_bar(stage_->last, now_s - stage_->begun_s, width_ - 1);
  std::string what = styled(job_.state, state_style(job_.state), options_.colour);
  if (job_.state == "STARTING") {
    const auto running = std::count_if(job_.ranks.begin(), job_.ranks.end(),
                                       [](const auto& r) { return r.state == "RUNNING"; });
    what += "  " + std::to_string(running) + "/" + std::to_string(job_.num_workers) + " ranks running";
  } else if (!job_.reason.empty()) {
    what += "  " + printable(job_.reason, false);
  }
  return fit(subject() + ": " + what + "  " + clock_time(now_s - state_since_s_), width_ - 1);
}

Pieces FollowView::flush(double now_s, bool keep_live) {
  Pieces out;
  const std::string live = options_.live && options_.states && keep_live ? live_line(now_s) : std::string();
  if (lines_.empty() && live == live_shown_) return out;
  // One piece erases and redraws when nothing scrolls: a terminal shows no flicker then.
  std::string erase = live_shown_.empty() ? "" : "\r\x1b[K";
  if (lines_.empty()) {
    out.push_back({true, erase + live});
  } else {
    if (!erase.empty()) out.push_back({true, std::move(erase)});
    for (auto& line : lines_) {
      if (!out.empty() && out.back().to_stderr == line.to_stderr) {
        out.back().text += line.text;
      } else {
        out.push_back(std::move(line));
      }
    }
    if (!live.empty()) out.push_back({true, live});
    lines_.clear();
  }
  live_shown_ = live;
  return out;
}

}  // namespace rtrain::cli
