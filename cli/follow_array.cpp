#include "cli/follow_array.h"

#include "cli/job_rows.h"
#include "common/os/file.h"

#include <algorithm>

namespace rtrain::cli {

using namespace std::chrono_literals;

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kLookMin = 100ms, kLookMax = 5000ms;
constexpr int kShare = 20;  // a look that takes long is taken more rarely: it has a twentieth of the time
constexpr auto kRetry = 500ms;

}  // namespace

Result<std::vector<proto::JobDoc>> jobs_of_array(const Get& get, JobId array) {
  std::vector<proto::JobDoc> jobs;
  auto read =
      read_jobs(get, {"array=" + rtrain::to_string(array)}, [&](const proto::Json& page) -> Result<Done> {
        for (const auto& json : page) {
          auto job = as<proto::JobDoc>(json);
          if (!job) return job.error();
          jobs.push_back(std::move(*job));
        }
        return ok();
      });
  if (!read) return read.error();
  std::ranges::reverse(jobs);
  return jobs;
}

void ArrayFollower::write(const Pieces& pieces) const {
  for (const auto& piece : pieces) piece.to_stderr ? console_.err(piece.text) : console_.out(piece.text);
}

void ArrayFollower::pause(std::chrono::milliseconds duration) {
  auto until = Clock::now() + duration;
  if (options_.deadline) until = std::min(until, *options_.deadline);
  while (Clock::now() < until && interrupts_.count() == interrupts_seen_) {
    if (io_.stopped()) io_.restart();
    io_.run_one_until(until);
  }
}

Result<Follower::End> ArrayFollower::run() {
  std::optional<Clock::time_point> lost_at;
  const auto leave = [&](auto what) -> Result<Follower::End> {
    write(view_.finish());
    return what;
  };
  for (;;) {
    interrupts_.poll();
    if (interrupts_.count() > interrupts_seen_) {
      interrupts_seen_ = interrupts_.count();
      return leave(Follower::End::kInterrupted);
    }
    if (options_.deadline && Clock::now() >= *options_.deadline) return leave(Follower::End::kTimeout);
    view_.set_width(console_.live() ? console_.width() : 0);
    const auto begun = Clock::now();
    auto jobs = jobs_of_array(get_, array_);
    if (!jobs) {
      const auto code = jobs.error().code();
      if (code != Errc::kUnavailable && code != Errc::kTimeout) return leave(jobs.error());
      if (!lost_at) {
        lost_at = begun;
        write(view_.on_note("the connection to the head was lost; reconnecting..."));
      }
      if (Clock::now() - *lost_at >= options_.resume_within)
        return leave(
            fail(Errc::kUnavailable, "the head is still unreachable: " + jobs.error().message(),
                 "the jobs do not depend on this program; wait for them again: rtrain result --wait " +
                     rtrain::to_string(array_)));
      pause(kRetry);
      continue;
    }
    if (std::exchange(lost_at, std::nullopt)) write(view_.on_note("connected again"));
    jobs_ = std::move(*jobs);
    write(view_.on_jobs(jobs_, std::chrono::duration<double>(begun.time_since_epoch()).count()));
    if (std::ranges::all_of(jobs_, [](const auto& job) { return has_ended(job.state); }))
      return leave(Follower::End::kEnded);
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun);
    pause(std::clamp(kShare * took, kLookMin, kLookMax));
  }
}

Result<int> show_array_end(const Console& console, const std::string& output, const Get& get,
                           std::span<const proto::JobDoc> jobs) {
  if (output != "json") {
    const auto text = array_block(jobs, os::unix_ms_now(), output == "table" ? console.table_width() : 0,
                                  output == "table" ? console.out_colour() : console.err_colour());
    output == "table" ? console.out(text) : console.err(text);
    return exit_of_jobs(jobs);
  }
  auto results = proto::Json::array();
  for (const auto& job : jobs) {
    auto result = get("/v1/jobs/" + rtrain::to_string(job.id) + "/result");
    if (!result) return result.error();
    results.push_back(std::move(*result));
  }
  auto document = proto::Json::object();
  document["id"] =
      jobs.empty() || !jobs.front().array ? proto::Json() : proto::Json(jobs.front().array->id.value());
  document["results"] = std::move(results);
  console.out(proto::dump_json(document) + "\n");
  return exit_of_jobs(jobs);
}

}  // namespace rtrain::cli
