// Follows one job over the API's event stream until it ends: resumes when the stream breaks, loses and
// repeats no log line.
#pragma once

#include "cli/console.h"
#include "cli/event_stream.h"
#include "cli/follow_view.h"
#include "cli/interrupts.h"
#include "cli/verb.h"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>

namespace rtrain::cli {

class Follower {
 public:
  struct Options {
    bool logs = true;
    std::optional<int> rank;              ///< of this rank only
    std::optional<std::int64_t> attempt;  ///< of this attempt only
    std::optional<std::chrono::steady_clock::time_point> deadline;
    /// the head has answered for this job: it is waited for from the first attempt to follow it
    bool known = false;
    std::chrono::milliseconds resume_within{60000};  ///< how long a lost stream is tried again
  };
  enum class End { kEnded, kInterrupted, kTimeout };
  /// Opens GET `target` behind the event `last_id`.
  using Open = std::function<Result<std::unique_ptr<EventSource>>(const std::string& target,
                                                                  const std::string& last_id)>;

  Follower(boost::asio::io_context& io, Interrupts& interrupts, const Client& client, const Console& console,
           FollowView& view, JobId job, Options options);
  /// Reads other streams than those of the head.
  void read_from(Open open) { open_ = std::move(open); }

  /// Until the job ends, a signal comes or the deadline passes; after the latter two it may be called again.
  /// kUnavailable: the stream was lost and could not be resumed; kNotFound: no such job.
  [[nodiscard]] Result<End> run();
  /// Bytes of a rank's log that the user has seen already: what the stream repeats of them is skipped.
  void seen(std::int64_t attempt, int rank, std::int64_t offset) { next_[{attempt, rank}] = offset; }

  /// The last state heard of, and after kEnded the Result.
  [[nodiscard]] const std::optional<proto::JobDoc>& job() const { return job_; }
  [[nodiscard]] const std::optional<proto::ResultDoc>& result() const { return result_; }

 private:
  [[nodiscard]] Result<Done> handle(const SseEvent& event);
  void take_log(const proto::LogDoc& log);
  Result<Done> read_log(std::int64_t attempt, int rank, std::int64_t until);
  void read_rest_of_logs();
  void write(const Pieces& pieces) const;
  [[nodiscard]] double now_s() const;
  void pause(std::chrono::milliseconds duration);
  [[nodiscard]] std::string position() const;
  /// The stream is gone: says so once, waits for the next try. An error when the time for that is over.
  [[nodiscard]] Result<Done> wait_for_head(const Error& cause);
  [[nodiscard]] Result<End> give_up(const Error& why);

  boost::asio::io_context& io_;
  Interrupts& interrupts_;
  const Client& client_;
  const Console& console_;
  FollowView& view_;
  JobId id_;
  Options options_;
  Open open_;
  std::unique_ptr<EventSource> stream_;
  bool opened_once_ = false;
  std::optional<std::chrono::steady_clock::time_point> lost_at_;  ///< until an event comes again
  int tries_ = 0;                                                 ///< since then
  std::mt19937 random_{std::random_device{}()};
  std::string last_id_;  ///< of the last event that had one: where the head goes on
  int interrupts_seen_ = 0;
  std::map<std::pair<std::int64_t, int>, std::int64_t> next_;  ///< by attempt and rank: the next byte to show
  std::pair<std::int64_t, std::int64_t> last_report_{0, 0};    ///< attempt and seq of the newest report shown
  std::optional<proto::JobDoc> job_;
  std::optional<proto::ResultDoc> result_;
};

/// --resume-within, of the verbs that follow a job.
[[nodiscard]] Option resume_option();
/// Sets it in `options` where it was given.
[[nodiscard]] Result<Done> read_resume(const Arguments& args, Follower::Options& options);

/// One piece of a rank's log, from `offset` on, or its last `tail` lines.
struct LogPiece {
  std::string text;
  std::int64_t next_offset = 0;
  bool complete = false;
  std::int64_t cut = 0;  ///< so many bytes from `offset` on are gone: the log is longer than its bound
};
/// "1048576 bytes of rank 0's log were dropped: the log exceeded log_bytes_max"
[[nodiscard]] std::string cut_note(int rank, std::int64_t bytes);
[[nodiscard]] Result<LogPiece> fetch_log(const Client& client, JobId job, std::int64_t attempt, int rank,
                                         std::int64_t offset,
                                         std::optional<std::int64_t> tail = std::nullopt);

/// What a user can do after a job that did not succeed; "" nothing.
struct WaysOn {
  std::string whole_log;  ///< where the log of the failed rank is
  std::string resume;     ///< the command that goes on from its checkpoint
};
/// Shows the end of a job that was followed: the Result block; with -o json one line on stdout and the error
/// on stderr; with -o name the block on stderr. Gives the exit status.
[[nodiscard]] int show_end(const Console& console, const std::string& output, const proto::ResultDoc& result,
                           const std::optional<proto::JobDoc>& job, const WaysOn& ways);

}  // namespace rtrain::cli
