// What the user sees of a job that is being followed: pure, told the time, gives the pieces of text to write.
#pragma once

#include "proto/api/api.h"

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rtrain::cli {

/// A piece of text for stdout or stderr. Pieces are written in order.
struct Piece {
  bool to_stderr = false;
  std::string text;
  friend bool operator==(const Piece&, const Piece&) = default;
};
using Pieces = std::vector<Piece>;

class FollowView {
 public:
  struct Options {
    bool live = false;            ///< stderr is a terminal: one line is redrawn; else plain lines
    bool states = true;           ///< state changes, failed attempts, reports, progress (all on stderr)
    bool logs_to_stderr = false;  ///< stdout is kept for a document
    bool log_colour = false;      ///< keep the colours of the job's log lines
    bool colour = false;          ///< of our own words, on stderr
    /// at most one progress line in this time, besides the ends of epochs; without a terminal, and of lines
    /// that a rank redraws
    double plain_progress_s = 10;
  };

  explicit FollowView(Options options) : options_(options) {}

  /// `now_s` is any clock that does not go back; `width` the terminal's columns.
  void set_width(int columns) { width_ = columns; }
  [[nodiscard]] Pieces on_state(const proto::JobDoc& job, double now_s);
  [[nodiscard]] Pieces on_progress(const proto::ProgressDoc& progress, double now_s);
  [[nodiscard]] Pieces on_report(const proto::MetricPoint& point, double now_s);
  /// Text of a rank's log as it comes; a line is shown when it is complete.
  [[nodiscard]] Pieces on_log(std::int64_t attempt, int rank, std::string_view text, double now_s);
  /// A line of our own, on stderr: "reconnecting...".
  [[nodiscard]] Pieces on_note(std::string_view line, double now_s);
  /// Lets the clock of the live line go on. Call about once a second.
  [[nodiscard]] Pieces on_tick(double now_s);
  /// Shows lines that never ended and takes the live line away.
  [[nodiscard]] Pieces finish(double now_s);

 private:
  struct Stage {
    std::string stage;
    std::int64_t epoch = 0;
    double begun_s = 0;  ///< when its first step was, as far as the rate tells
    bool shown = false;  ///< its newest progress is a line already
    proto::ProgressDoc last;
  };

  void say(std::string line) { lines_.push_back({true, std::move(line) + "\n"}); }
  void log_line(int rank, std::string_view line);
  void show_redrawn(std::string& partial, std::int64_t attempt, int rank, double now_s);
  void end_stage(double now_s);
  void say_state(double now_s, bool with_reason);
  [[nodiscard]] bool has_new_reason(double now_s) const;
  [[nodiscard]] std::string live_line(double now_s) const;
  [[nodiscard]] std::string subject() const;
  [[nodiscard]] Pieces flush(double now_s, bool keep_live = true);

  Options options_;
  int width_ = 80;
  proto::JobDoc job_;
  bool known_ = false;  ///< job_ holds something
  double state_since_s_ = 0;
  std::string reason_printed_;
  double reason_printed_s_ = 0;
  std::optional<Stage> stage_;
  double progress_printed_s_ = -1e9, stage_printed_s_ = -1e9, report_printed_s_ = -1e9;
  /// by attempt and rank: a line whose end has not come
  std::map<std::pair<std::int64_t, int>, std::string> partial_;
  /// by attempt and rank: when a line that is redrawn was last shown
  std::map<std::pair<std::int64_t, int>, double> redrawn_printed_s_;
  Pieces lines_;
  std::string live_shown_;  ///< what stands on the terminal's last line now
};

}  // namespace rtrain::cli
