#include "cli/follow.h"

#include "cli/exit_code.h"
#include "cli/result_block.h"

#include <algorithm>
#include <cstdint>

namespace rtrain::cli {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

namespace {

std::string job_path(JobId id) { return "/v1/jobs/" + rtrain::to_string(id); }

}  // namespace

Follower::Follower(boost::asio::io_context& io, Interrupts& interrupts, const Client& client, const Console& console, FollowView& view,
                   JobId job, Options options)
    : io_(io), interrupts_(interrupts), client_(client), console_(console), view_(view), id_(job), options_(options),
      interrupts_seen_(interrupts.count()) {}

double Follower::now_s() const { return std::chrono::duration<double>(Clock::now().time_since_epoch()).count(); }

void Follower::write(const Pieces& pieces) const {
  for (const auto& piece : pieces) piece.to_stderr ? console_.err(piece.text) : console_.out(piece.text);
}

void Follower::pause(std::chrono::milliseconds duration) {
  const auto until = Clock::now() + duration;
  while (Clock::now() < until && interrupts_.count() == interrupts_seen_) {
    if (io_.stopped()) io_.restart();
    io_.run_one_until(until);
  }
}

Result<Follower::End> Follower::run() {
  std::optional<Clock::time_point> lost_at;
  std::string target = job_path(id_) + "/stream?logs=" + (options_.logs ? "true" : "false");
  if (options_.rank) target += "&rank=" + std::to_string(*options_.rank);
  const auto leave = [&](End end) {
    write(view_.finish(now_s()));
    return end;
  };
  for (;;) {
    interrupts_.poll();
    if (interrupts_.count() > interrupts_seen_) {
      interrupts_seen_ = interrupts_.count();
      return leave(End::kInterrupted);
    }
    if (options_.deadline && Clock::now() >= *options_.deadline) return leave(End::kTimeout);
    view_.set_width(console_.live() ? console_.width() : 0);

    std::optional<Error> broken;
    if (!stream_) {
      auto opened = EventStream::open(io_, client_, target);
      if (opened) {
        stream_.emplace(std::move(*opened));
        opened_once_ = true;
        lost_at.reset();
      } else if (!opened_once_ || opened.error().code() == Errc::kUnauthenticated) {
        write(view_.finish(now_s()));
        return opened.error();
      } else {
        broken = opened.error();
      }
    }
    if (stream_) {
      auto wake = Clock::now() + 500ms;
      if (options_.deadline) wake = std::min(wake, *options_.deadline);
      auto events = stream_->read(wake);
      if (events) {
        for (const auto& event : *events) {
          if (auto handled = handle(event); !handled) {
            write(view_.finish(now_s()));
            return handled.error();
          }
        }
        if (result_) {
          if (options_.logs) read_rest_of_logs();
          return leave(End::kEnded);
        }
        write(view_.on_tick(now_s()));
        continue;
      }
      stream_.reset();
      broken = events.error();
      if (broken->code() != Errc::kUnavailable) {
        write(view_.finish(now_s()));
        return *broken;
      }
    }
    if (!lost_at) {
      lost_at = Clock::now();
      write(view_.on_note("the stream was lost; reconnecting...", now_s()));
    } else if (Clock::now() - *lost_at >= options_.resume_within) {
      write(view_.finish(now_s()));
      const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(options_.resume_within).count();
      return fail(Errc::kUnavailable,
                  "the stream of job " + rtrain::to_string(id_) + " was lost and could not be resumed within " +
                      std::to_string(seconds) + " s: " + broken->message(),
                  "the job may go on; look again: rtrain status " + rtrain::to_string(id_));
    }
    pause(250ms);
  }
}

Result<Done> Follower::handle(const SseEvent& event) {
  const bool known = event.name == "state" || event.name == "progress" || event.name == "metrics" || event.name == "log" || event.name == "end";
  if (!known) return ok();  // a newer head may tell more
  auto json = proto::parse_json(event.data, {.bytes_max = 16u << 20});
  if (!json) return json.error().in("event of the stream");
  const auto take = [&](auto&& use, auto document) -> Result<Done> {
    auto value = as<decltype(document)>(*json);
    if (!value) return value.error();
    use(*value);
    return ok();
  };
  if (event.name == "state") {
    return take([&](const proto::JobDoc& job) {
      job_ = job;
      write(view_.on_state(job, now_s()));
    }, proto::JobDoc{});
  }
  if (event.name == "progress")
    return take([&](const proto::ProgressDoc& progress) { write(view_.on_progress(progress, now_s())); }, proto::ProgressDoc{});
  if (event.name == "metrics") {
    return take([&](const proto::MetricPoint& point) {
      if (std::pair(point.attempt, point.seq) <= last_report_) return;  // told before the stream broke
      last_report_ = {point.attempt, point.seq};
      write(view_.on_report(point, now_s()));
    }, proto::MetricPoint{});
  }
  if (event.name == "log")
    return take([&](const proto::LogDoc& log) { take_log(log); }, proto::LogDoc{});
  return take([&](const proto::ResultDoc& result) { result_ = result; }, proto::ResultDoc{});
}

void Follower::take_log(const proto::LogDoc& log) {
  if ((options_.rank && *options_.rank != log.rank) || (options_.attempt && *options_.attempt != log.attempt)) return;
  if (next_[{log.attempt, log.rank}] < log.offset) read_log(log.attempt, log.rank, log.offset);
  std::int64_t& next = next_[{log.attempt, log.rank}];
  const auto end = log.offset + static_cast<std::int64_t>(log.text.size());
  if (end <= next) return;
  const auto skip = static_cast<std::size_t>(std::max<std::int64_t>(0, next - log.offset));
  next = end;
  write(view_.on_log(log.attempt, log.rank, std::string_view(log.text).substr(skip), now_s()));
}

/// Reads what the stream skipped, up to the byte `until`. What cannot be read any more is passed over.
void Follower::read_log(std::int64_t attempt, int rank, std::int64_t until) {
  std::int64_t& next = next_[{attempt, rank}];
  while (next < until) {
    auto piece = fetch_log(client_, id_, attempt, rank, next);
    if (!piece || piece->text.empty() || piece->next_offset <= next) break;
    if (piece->next_offset > until) piece->text.resize(static_cast<std::size_t>(until - next));
    next = std::min(piece->next_offset, until);
    write(view_.on_log(attempt, rank, piece->text, now_s()));
  }
  next = std::max(next, until == INT64_MAX ? next : until);
}

void Follower::read_rest_of_logs() {
  if (!job_ || job_->attempt == 0) return;
  if (options_.attempt && *options_.attempt != job_->attempt) return;
  for (int rank = 0; rank < job_->num_workers; ++rank)
    if (!options_.rank || *options_.rank == rank) read_log(job_->attempt, rank, INT64_MAX);
}

Result<LogPiece> fetch_log(const Client& client, JobId job, std::int64_t attempt, int rank, std::int64_t offset,
                           std::optional<std::int64_t> tail) {
  std::string target = job_path(job) + "/logs?rank=" + std::to_string(rank);
  if (attempt > 0) target += "&attempt=" + std::to_string(attempt);
  // The last 0 lines: the API has no word for it, so the last line is asked for and not shown.
  target += tail ? "&tail=" + std::to_string(std::max<std::int64_t>(1, *tail)) : "&offset=" + std::to_string(offset);
  auto reply = client.request("GET", target + "&limit=262144");
  if (!reply) return reply.error();
  if (tail && *tail == 0) reply->body.clear();
  return LogPiece{std::move(reply->body), reply->next_offset, reply->complete};
}

int show_end(const Console& console, const std::string& output, const proto::ResultDoc& result, const std::optional<proto::JobDoc>& job,
             const std::string& whole_log) {
  if (output == "json") {
    console.out(proto::dump_json(proto::Json(result)) + "\n");
    if (result.error && result.state == "FAILED")
      console.err(error_block(*result.error, job ? std::optional(job->max_failures) : std::nullopt, whole_log, console.err_colour()));
  } else if (output == "name") {
    console.err(result_block(result, job, whole_log, console.err_colour()));
  } else {
    console.out(result_block(result, job, whole_log, console.out_colour()));
  }
  return static_cast<int>(exit_of_state(result.state));
}

}  // namespace rtrain::cli
