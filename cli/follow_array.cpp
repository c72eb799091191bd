#include "cli/follow_array.h"

#include "cli/job_rows.h"
#include "common/os/file.h"

#include <algorithm>

namespace rtrain::cli {

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

Result<Follower::End> ArrayFollower::run() {
  return poller_.run([&]() -> Result<bool> {
    view_.set_width(console_.live() ? console_.width() : 0);
    auto jobs = jobs_of_array(get_, array_);
    if (!jobs) return jobs.error();
    jobs_ = std::move(*jobs);
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    poller_.write(view_.on_jobs(jobs_, std::chrono::duration<double>(now).count()));
    return std::ranges::all_of(jobs_, [](const auto& job) { return has_ended(job.state); });
  });
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
