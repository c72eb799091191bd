#include "cli/job_rows.h"

#include "cli/array_view.h"
#include "cli/job_reference.h"
#include "cli/progress_line.h"
#include "cli/text.h"

namespace rtrain::cli {

bool has_ended(std::string_view state) {
  return state == "SUCCEEDED" || state == "FAILED" || state == "CANCELLED";
}

std::string gpu_list(std::span<const int> gpus) {
  std::string out;
  for (const int gpu : gpus) out += (out.empty() ? "" : ",") + std::to_string(gpu);
  return out;
}

double run_seconds(const proto::JobDoc& job, std::int64_t now_ms) {
  if (job.started_ms == 0) return 0;
  const std::int64_t end = job.ended_ms > 0 ? job.ended_ms : now_ms;
  return static_cast<double>(std::max<std::int64_t>(0, end - job.started_ms)) / 1000.0;
}

std::string job_detail(const proto::JobDoc& job) {
  if (job.state == "FAILED" && job.error) return job.error->message;
  if (has_ended(job.state)) return metrics_line(job.metrics);
  if (job.state == "RUNNING") {
    if (!job.progress) return metrics_line(job.metrics);
    const auto& p = *job.progress;
    std::string out =
        stage_name(p) + " " + std::to_string(p.step) + (p.steps >= 0 ? "/" + std::to_string(p.steps) : "");
    if (p.steps_per_s > 0) out += " " + number(p.steps_per_s, 3) + "it/s";
    if (const auto metrics = metrics_line(p.prog_bar, 3); !metrics.empty()) out += " " + metrics;
    return out;
  }
  return job.reason;
}

void add_job(Table& table, const proto::JobDoc& job, std::int64_t now_ms, bool wide) {
  std::vector<Cell> row{job_name_of(job), {job.name, Style::kBold}};
  if (wide)
    row.insert(row.end(), {job.user, job.queue, std::to_string(job.priority),
                           job.validates ? rtrain::to_string(job.validates->job)
                           : job.sweep   ? proto::to_string(*job.sweep)
                                         : ""});
  row.insert(row.end(),
             {Cell(job.state, state_style(job.state)), std::to_string(job.num_workers),
              job.attempt > 0 ? rtrain::to_string(Attempt(job.attempt)) : "", ago(job.submitted_ms, now_ms),
              job.started_ms > 0 ? duration(run_seconds(job, now_ms)) : "", job_detail(job)});
  table.add(std::move(row));
}

void add_array(Table& table, std::span<const proto::JobDoc> jobs, std::int64_t now_ms, bool wide) {
  const auto& any = jobs.front();
  const auto counts = count_states(jobs);
  std::int64_t begin = 0, end = 0;
  bool over = true;
  for (const auto& job : jobs) {
    if (job.started_ms > 0 && (begin == 0 || job.started_ms < begin)) begin = job.started_ms;
    end = std::max(end, job.ended_ms);
    over = over && has_ended(job.state);
  }
  std::vector<Cell> row{array_name_of(any), {any.name, Style::kBold}};
  if (wide) row.insert(row.end(), {any.user, any.queue, std::to_string(any.priority), ""});
  const auto state = counts.leading();
  std::string detail = counts.text();
  if (std::ssize(jobs) < any.array->count) detail += " of " + std::to_string(any.array->count);
  row.insert(
      row.end(),
      {Cell(state, state_style(state)), std::to_string(any.num_workers), "", ago(any.submitted_ms, now_ms),
       begin > 0
           ? duration(static_cast<double>(std::max<std::int64_t>(0, (over ? end : now_ms) - begin)) / 1000.0)
           : "",
       std::move(detail)});
  table.add(std::move(row));
}

Table job_table(std::span<const proto::JobDoc> jobs, std::int64_t now_ms, bool wide) {
  std::vector<std::string> headers{">ID", "NAME"};
  if (wide) headers.insert(headers.end(), {"USER", "QUEUE", ">PRIORITY", ">PARENT"});
  headers.insert(headers.end(), {"STATE", ">WORKERS", ">ATTEMPT", "SUBMITTED", ">TIME", "DETAIL"});
  Table table(std::move(headers));
  for (const auto& job : jobs) add_job(table, job, now_ms, wide);
  return table;
}

}  // namespace rtrain::cli
