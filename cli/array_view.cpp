#include "cli/array_view.h"

#include "cli/exit_code.h"
#include "cli/job_reference.h"
#include "cli/job_rows.h"
#include "cli/text.h"

#include <algorithm>
#include <array>

namespace rtrain::cli {

namespace {

/// In the order of a job's life; of the ends the worst first.
constexpr std::array kStates = {"RUNNING", "STOPPING", "STARTING",  "VALIDATING",
                                "QUEUED",  "FAILED",   "CANCELLED", "SUCCEEDED"};

double seconds_of(std::span<const proto::JobDoc> jobs, std::int64_t now_ms) {
  std::int64_t begin = now_ms, end = 0;
  for (const auto& job : jobs) {
    if (job.started_ms > 0) begin = std::min(begin, job.started_ms);
    end = std::max(end, job.ended_ms > 0 ? job.ended_ms : now_ms);
  }
  return static_cast<double>(std::max<std::int64_t>(0, end - begin)) / 1000.0;
}

}  // namespace

int StateCounts::of(const std::string& state) const {
  const auto found = counts_.find(state);
  return found == counts_.end() ? 0 : found->second;
}

std::string StateCounts::text() const {
  std::string out;
  for (const char* state : kStates)
    if (const int count = of(state); count > 0)
      out += (out.empty() ? "" : ", ") + std::to_string(count) + " " + state;
  return out;
}

std::string StateCounts::leading() const {
  for (const char* state : kStates)
    if (of(state) > 0) return state;
  return "";
}

StateCounts count_states(std::span<const proto::JobDoc> jobs) {
  StateCounts counts;
  for (const auto& job : jobs) counts.add(job.state);
  return counts;
}

std::string array_name_of(const proto::JobDoc& job) {
  const auto& array = *job.array;
  std::string range = std::to_string(array.min);
  const bool is_range = (array.max - array.min) / std::max(1, array.step) + 1 == array.count;
  if (array.count > 1) range += (is_range ? "-" : ",...,") + std::to_string(array.max);
  if (is_range && array.step > 1) range += ":" + std::to_string(array.step);
  return rtrain::to_string(array.id) + "_[" + range + "]";
}

int exit_of_jobs(std::span<const proto::JobDoc> jobs) {
  return static_cast<int>(exit_of_state(count_states(jobs).leading()));
}

Pieces ArrayView::on_jobs(std::span<const proto::JobDoc> jobs, double now_s) {
  std::vector<std::string> lines;
  for (const auto& job : jobs) {
    if (!has_ended(job.state) || !printed_.insert(job.id).second) continue;
    std::string line = "job " + job_name_of(job) + " (" + printable(job.name, false) +
                       "): " + styled(job.state, state_style(job.state), line_.colour());
    if (job.started_ms > 0) line += " in " + duration(run_seconds(job, job.ended_ms));
    if (const auto detail = printable(job_detail(job), false); !detail.empty()) line += ": " + detail;
    lines.push_back(std::move(line));
  }
  const auto counts = count_states(jobs).text();
  const bool over = std::ranges::all_of(jobs, [](const auto& job) { return has_ended(job.state); });
  const std::string now =
      jobs.empty()
          ? ""
          : "array " + rtrain::to_string(jobs.front().array ? jobs.front().array->id : jobs.front().id) +
                ": " + counts;
  return line_.show(std::move(lines), now, over, now_s);
}

std::string array_block(std::span<const proto::JobDoc> jobs, std::int64_t now_ms, int width, bool colour) {
  if (jobs.empty()) return "no jobs\n";
  Table table({"ID", "STATE", ">ATTEMPTS", ">TIME", "RESULT"});
  for (const auto& job : jobs)
    table.add({job_name_of(job), Cell(job.state, state_style(job.state)),
               job.attempt > 0 ? std::to_string(job.attempt) : "",
               job.started_ms > 0 ? duration(run_seconds(job, now_ms)) : "",
               printable(job_detail(job), false)});
  return table.str(width, colour) + "array " + array_name_of(jobs.front()) + " (" +
         printable(jobs.front().name, false) + "): " + count_states(jobs).text() + " in " +
         duration(seconds_of(jobs, now_ms)) + "\n";
}

}  // namespace rtrain::cli
