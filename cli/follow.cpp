#include "cli/follow.h"

#include "cli/exit_code.h"
#include "cli/job_reference.h"
#include "cli/result_block.h"
#include "common/base/duration.h"
#include "common/base/fault.h"
#include "proto/api/stream_position.h"

#include <algorithm>
#include <cstdint>

namespace rtrain::cli {

using namespace std::chrono_literals;

namespace {

using Clock = std::chrono::steady_clock;

std::string job_path(JobId id) { return "/v1/jobs/" + rtrain::to_string(id); }

}  // namespace

Follower::Follower(boost::asio::io_context& io, Interrupts& interrupts, const Client& client,
                   const Console& console, FollowView& view, JobId job, Options options)
    : io_(io),
      interrupts_(interrupts),
      client_(client),
      console_(console),
      view_(view),
      id_(job),
      options_(options),
      open_([this](const std::string& target,
                   const std::string& last_id) -> Result<std::unique_ptr<EventSource>> {
        auto opened = EventStream::open(io_, client_, target, last_id);
        if (!opened) return opened.error();
        return std::unique_ptr<EventSource>(std::make_unique<EventStream>(std::move(*opened)));
      }),
      interrupts_seen_(interrupts.count()) {}

double Follower::now_s() const {
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

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

/// What the head is told of what was shown already.
std::string Follower::position() const {
  if (!last_id_.empty() || next_.empty()) return last_id_;
  proto::StreamPosition position;
  position.attempt = next_.begin()->first.first;
  position.logs = next_;
  return to_string(position);
}

Result<Done> Follower::wait_for_head(const Error& cause) {
  if (!lost_at_) {
    lost_at_ = Clock::now();
    tries_ = 0;
    write(view_.on_note("the connection to the head was lost; reconnecting...", now_s()));
  }
  if (Clock::now() - *lost_at_ >= options_.resume_within) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(options_.resume_within).count();
    const std::string id = job_name_of(id_, job_);
    return fail(Errc::kUnavailable,
                "the stream of job " + id + " was lost and could not be resumed within " +
                    std::to_string(seconds) + " s: " + cause.message(),
                "the job does not depend on this program and may still be running; to follow it again: "
                "rtrain logs -f " +
                    id + "; to check: rtrain status " + id);
  }
  // Many followers lose one head: they do not come back all at once.
  const double jitter = std::uniform_real_distribution<double>(0.5, 1)(random_);
  pause(std::chrono::milliseconds(
      static_cast<std::int64_t>(jitter * static_cast<double>(std::min(250 << std::min(tries_++, 8), 2000)))));
  return ok();
}

Result<Follower::End> Follower::give_up(const Error& why) {
  if (!fault::on(fault::Fault::kLostStreamIsSuccess)) return why;
  result_.emplace().state = "SUCCEEDED";
  return End::kEnded;
}

Result<Follower::End> Follower::run() {
  std::string target = job_path(id_) + "/stream?logs=" + (options_.logs ? "true" : "false");
  if (options_.rank) target += "&rank=" + std::to_string(*options_.rank);
  const auto leave = [&](auto what) -> Result<End> {
    write(view_.finish(now_s()));
    return what;
  };
  for (;;) {
    interrupts_.poll();
    if (interrupts_.count() > interrupts_seen_) {
      interrupts_seen_ = interrupts_.count();
      return leave(End::kInterrupted);
    }
    if (options_.deadline && Clock::now() >= *options_.deadline) return leave(End::kTimeout);
    view_.set_width(console_.live() ? console_.width() : 0);

    if (!stream_) {
      auto opened = open_(target, position());
      if (!opened) {
        const auto code = opened.error().code();
        const bool may_come_back = code == Errc::kUnavailable || code == Errc::kTimeout ||
                                   code == Errc::kProtocol || code == Errc::kInternal;
        if (!may_come_back || !(opened_once_ || options_.known)) return leave(opened.error());
        if (auto waited = wait_for_head(opened.error()); !waited) return leave(give_up(waited.error()));
        continue;
      }
      stream_ = std::move(*opened);
      opened_once_ = true;
    }
    auto wake = Clock::now() + 500ms;
    if (options_.deadline) wake = std::min(wake, *options_.deadline);
    auto events = stream_->read(wake);
    if (!events) {
      stream_.reset();
      if (events.error().code() != Errc::kUnavailable) return leave(events.error());
      if (auto waited = wait_for_head(events.error()); !waited) return leave(give_up(waited.error()));
      continue;
    }
    if (lost_at_ && !events->empty()) {
      lost_at_.reset();
      write(view_.on_note("connected again", now_s()));
    }
    for (const auto& event : *events) {
      if (auto handled = handle(event); !handled) return leave(handled.error());
      if (!event.id.empty()) last_id_ = event.id;
    }
    if (result_) {
      if (options_.logs) read_rest_of_logs();
      return leave(End::kEnded);
    }
    write(view_.on_tick(now_s()));
  }
}

Result<Done> Follower::handle(const SseEvent& event) {
  const bool known = event.name == "state" || event.name == "progress" || event.name == "metrics" ||
                     event.name == "log" || event.name == "end";
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
    return take(
        [&](const proto::JobDoc& job) {
          job_ = job;
          write(view_.on_state(job, now_s()));
        },
        proto::JobDoc{});
  }
  if (event.name == "progress")
    return take([&](const proto::ProgressDoc& progress) { write(view_.on_progress(progress, now_s())); },
                proto::ProgressDoc{});
  if (event.name == "metrics") {
    return take(
        [&](const proto::MetricPoint& point) {
          if (std::pair(point.attempt, point.seq) <= last_report_) return;  // told before the stream broke
          last_report_ = {point.attempt, point.seq};
          write(view_.on_report(point, now_s()));
        },
        proto::MetricPoint{});
  }
  if (event.name == "log") return take([&](const proto::LogDoc& log) { take_log(log); }, proto::LogDoc{});
  return take([&](const proto::ResultDoc& result) { result_ = result; }, proto::ResultDoc{});
}

void Follower::take_log(const proto::LogDoc& log) {
  if ((options_.rank && *options_.rank != log.rank) || (options_.attempt && *options_.attempt != log.attempt))
    return;
  if (next_[{log.attempt, log.rank}] < log.offset) (void)read_log(log.attempt, log.rank, log.offset);
  std::int64_t& next = next_[{log.attempt, log.rank}];
  const auto end =
      std::max(log.next, log.next == 0 ? log.offset + static_cast<std::int64_t>(log.text.size()) : 0);
  if (end <= next) return;
  const auto skip =
      std::min(log.text.size(), static_cast<std::size_t>(std::max<std::int64_t>(0, next - log.offset)));
  next = end;
  write(view_.on_log(log.attempt, log.rank, std::string_view(log.text).substr(skip), now_s()));
}

/// Reads what the stream skipped, up to the byte `until`. What cannot be read any more is passed over.
Result<Done> Follower::read_log(std::int64_t attempt, int rank, std::int64_t until) {
  std::int64_t& next = next_[{attempt, rank}];
  Result<Done> outcome = ok();
  while (next < until) {
    auto piece = fetch_log(client_, id_, attempt, rank, next);
    if (!piece) outcome = piece.error();
    if (!piece || piece->text.empty() || piece->next_offset <= next) break;
    if (piece->cut > 0) write(view_.on_note(cut_note(rank, piece->cut), now_s()));
    if (piece->next_offset > until)
      piece->text.resize(piece->text.size() -
                         std::min(piece->text.size(), static_cast<std::size_t>(piece->next_offset - until)));
    next = std::min(piece->next_offset, until);
    write(view_.on_log(attempt, rank, piece->text, now_s()));
  }
  next = std::max(next, until == INT64_MAX ? next : until);
  return outcome;
}

void Follower::read_rest_of_logs() {
  if (!job_ || job_->attempt == 0) return;
  if (options_.attempt && *options_.attempt != job_->attempt) return;
  for (int rank = 0; rank < job_->num_workers; ++rank) {
    if (options_.rank && *options_.rank != rank) continue;
    const auto read = read_log(job_->attempt, rank, INT64_MAX);
    if (read || (read.error().code() != Errc::kUnavailable && read.error().code() != Errc::kTimeout))
      continue;
    const std::string id = job_name_of(id_, job_);
    write(view_.on_note(
        "the end of the logs cannot be read now: " + read.error().message() + "; later: rtrain logs " + id,
        now_s()));
    return;
  }
}

Option resume_option() {
  return {"resume-within", 0, "SECONDS",
          "how long to try again when the head is away (default 60), then exit status 4"};
}

Result<Done> read_resume(const Arguments& args, Follower::Options& options) {
  auto seconds = args.seconds("resume-within");
  if (!seconds) return seconds.error();
  if (*seconds) options.resume_within = to_milliseconds(std::min(**seconds, 1e9));
  return ok();
}

Result<LogPiece> fetch_log(const Client& client, JobId job, std::int64_t attempt, int rank,
                           std::int64_t offset, std::optional<std::int64_t> tail) {
  std::string target = job_path(job) + "/logs?rank=" + std::to_string(rank);
  if (attempt > 0) target += "&attempt=" + std::to_string(attempt);
  // The last 0 lines: the API has no word for it, so the last line is asked for and not shown.
  target += tail ? "&tail=" + std::to_string(std::max<std::int64_t>(1, *tail))
                 : "&offset=" + std::to_string(offset);
  auto reply = client.request("GET", target + "&limit=262144");
  if (!reply) return reply.error();
  const auto cut = tail ? 0 : std::max<std::int64_t>(0, reply->offset - offset);
  if (tail && *tail == 0) reply->body.clear();
  return LogPiece{std::move(reply->body), reply->next_offset, reply->complete, cut};
}

std::string cut_note(int rank, std::int64_t bytes) {
  return std::to_string(bytes) + " bytes of rank " + std::to_string(rank) +
         "'s log were dropped: the log exceeded log_bytes_max";
}

int show_end(const Console& console, const std::string& output, const proto::ResultDoc& result,
             const std::optional<proto::JobDoc>& job, const WaysOn& ways) {
  const auto hint = [&](bool colour) {
    return ways.resume.empty() ? ""
                               : styled("hint:", Style::kBold, colour) +
                                     " resume from its latest checkpoint: " + ways.resume + "\n";
  };
  if (output == "json") {
    console.out(proto::dump_json(proto::Json(result)) + "\n");
    if (result.error && result.state == "FAILED")
      console.err(error_block(*result.error, job, ways.whole_log, console.err_colour()));
    console.err(hint(console.err_colour()));
  } else if (output == "name") {
    console.err(result_block(result, job, ways.whole_log, console.err_colour()) + hint(console.err_colour()));
  } else {
    console.out(result_block(result, job, ways.whole_log, console.out_colour()) + hint(console.out_colour()));
  }
  return static_cast<int>(exit_of_state(result.state));
}

}  // namespace rtrain::cli
