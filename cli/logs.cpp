// rtrain logs: what the ranks of a job wrote.
#include "cli/follow.h"
#include "cli/job_reference.h"
#include "cli/job_rows.h"
#include "cli/parse.h"
#include "cli/settings.h"

namespace rtrain::cli {

namespace {

struct LogsCall {
  JobId id;
  std::optional<std::int64_t> rank, attempt, tail;
};

Result<LogsCall> read_call(const Call& call, const Client& client) {
  auto rank = call.args.integer("rank", 0, 1'000'000);
  if (!rank) return rank.error();
  auto attempt = call.args.integer("attempt", 1, 1'000'000'000);
  if (!attempt) return attempt.error();
  auto tail = call.args.integer("tail", 0, 10'000'000);
  if (!tail) return tail.error();
  auto id = find_job(client, call.args.positionals.front());
  if (!id) return id.error();
  return LogsCall{JobId(*id), *rank, *attempt, *tail};
}

Result<std::vector<int>> ranks_of(const LogsCall& what, const proto::JobDoc& job) {
  if (what.rank && *what.rank >= job.num_workers)
    return fail(Errc::kNotFound, "job " + job_name_of(job) + " has no rank " + std::to_string(*what.rank) +
                                     ": it has " + std::to_string(job.num_workers) + " worker" +
                                     (job.num_workers == 1 ? "" : "s"));
  if (what.attempt && *what.attempt > job.attempt)
    return fail(
        Errc::kNotFound,
        "job " + job_name_of(job) + " has no attempt " + std::to_string(*what.attempt) +
            (job.attempt == 0 ? ": it has not started" : ": the last one is " + std::to_string(job.attempt)));
  std::vector<int> ranks;
  if (what.rank) {
    ranks.push_back(static_cast<int>(*what.rank));
  } else {
    for (int rank = 0; rank < job.num_workers; ++rank) ranks.push_back(rank);
  }
  return ranks;
}

/// Shows what there is of each rank's log, one rank after the other; `shown` learns with each piece how far
/// it is: the head may go away between two.
template <class Shown>
Result<Done> show_logs(const Call& call, const Client& client, const LogsCall& what, const proto::JobDoc& job,
                       std::int64_t attempt, FollowView& view, Shown shown) {
  auto ranks = ranks_of(what, job);
  if (!ranks) return ranks.error();
  (void)view.on_state(job, 0);
  const auto write = [&](const Pieces& pieces) {
    for (const auto& piece : pieces)
      piece.to_stderr ? call.console.err(piece.text) : call.console.out(piece.text);
  };
  for (const int rank : *ranks) {
    std::int64_t offset = 0;
    auto tail = what.tail;
    for (;;) {
      auto piece = fetch_log(client, job.id, attempt, rank, offset, tail);
      // a rank that never started has no log
      if (!piece && piece.error().code() == Errc::kNotFound && !what.rank) break;
      if (!piece) return piece.error();
      if (piece->cut > 0) call.console.note(cut_note(rank, piece->cut));
      write(view.on_log(attempt, rank, piece->text, 0));
      const bool more = piece->next_offset > offset && !piece->text.empty();
      offset = std::max(offset, piece->next_offset);
      shown(rank, offset);
      tail.reset();
      if (!more || piece->complete) break;
    }
    if (!call.args.has("follow")) write(view.finish(0));
  }
  return ok();
}

int follow_status(const Call& call, const std::string& name, const proto::ResultDoc& result) {
  if (result.state == "FAILED")
    call.console.note("job " + name + " FAILED" + (result.error ? ": " + result.error->message : ""));
  if (result.state == "CANCELLED") call.console.note("job " + name + " was CANCELLED");
  return static_cast<int>(exit_of_state(result.state));
}

Result<int> follow(Call& call, const Client& client, const LogsCall& what, const proto::JobDoc& job,
                   FollowView& view) {
  boost::asio::io_context io{1};
  Interrupts interrupts(io);
  Follower::Options options{.attempt = what.attempt, .known = true};
  if (what.rank) options.rank = static_cast<int>(*what.rank);
  if (auto read = read_resume(call.args, options); !read) return read.error();
  Follower follower(io, interrupts, client, call.console, view, job.id, options);
  const std::int64_t attempt = what.attempt.value_or(job.attempt);
  if (attempt > 0) {
    auto shown = show_logs(call, client, what, job, attempt, view,
                           [&](int rank, std::int64_t offset) { follower.seen(attempt, rank, offset); });
    // An agent that is away may come back: the stream waits for it.
    if (!shown && shown.error().code() != Errc::kUnavailable) return shown.error();
  }
  auto end = follower.run();
  if (!end) return end.error();
  if (*end != Follower::End::kEnded) return exit_of_signal(interrupts.signal());
  return follow_status(call, job_name_of(job), *follower.result());
}

Result<int> logs(Call& call) {
  auto client = client_of(call);
  if (!client) return client.error();
  auto what = read_call(call, *client);
  if (!what) return what.error();
  auto answer = client->get("/v1/jobs/" + rtrain::to_string(what->id));
  if (!answer) return answer.error();
  auto job = as<proto::JobDoc>(*answer);
  if (!job) return job.error();
  if (auto ranks = ranks_of(*what, *job); !ranks) return ranks.error();
  if (means_array(call.args.positionals.front(), *job))
    call.console.note(call.args.positionals.front() + " is an array of " + std::to_string(job->array->count) +
                      " jobs; these are the logs of " + job_name_of(*job) +
                      ", of the others: rtrain logs ARRAY_INDEX");
  FollowView view({.states = false, .log_colour = call.console.out_colour()});
  if (call.args.has("follow")) return follow(call, *client, *what, *job, view);
  if (job->attempt == 0) {
    call.console.note("job " + job_name_of(*job) + " has not started: no logs yet");
    return 0;
  }
  auto shown = show_logs(call, *client, *what, *job, what->attempt.value_or(job->attempt), view,
                         [](int, std::int64_t) {});
  if (!shown) return shown.error();
  return 0;
}

}  // namespace

Verb logs_verb() {
  return {.name = "logs",
          .usage = "ID",
          .summary = "print the logs of a job's ranks",
          .description =
              "Without -f: the existing output, rank by rank. With -f: output as it is written, until the "
              "job ends; the "
              "status is then 0 only when\n"
              "the job SUCCEEDED, 1 FAILED, 9 CANCELLED, 4 when the head was away for more than 60 s. Lines "
              "of a job with several\n"
              "workers begin with [rN]. Control sequences are removed, colours stay on a terminal.",
          .positionals_min = 1,
          .positionals_max = 1,
          .options = {{"follow", 'f', "", "follow the logs until the job ends"},
                      {"rank", 'r', "N", "of rank N only"},
                      {"attempt", 'a', "N", "of the N-th attempt (default: the newest)"},
                      {"tail", 'n', "N", "begin N lines before the end of each log"},
                      resume_option()},
          .examples = {{"rtrain logs 42", "everything so far"},
                       {"rtrain logs -f 42", "until the job ends"},
                       {"rtrain logs 42 --rank 1 --attempt 1", "the whole log of a rank that failed"},
                       {"rtrain logs -f --tail 20 42", "the last 20 lines of each rank, then what comes"}},
          .run = logs};
}

}  // namespace rtrain::cli
