#include "cli/sweep_past.h"

#include "cli/sweep_requests.h"

#include <algorithm>
#include <cmath>

namespace rtrain::cli {

namespace {

constexpr std::size_t kPastTrialsMax = 200;  // each is a request or more

struct PastTrial {
  core::LearningCurve curve;
  double resource_s = 0, start_s = 0;
};

Result<std::vector<proto::MetricPoint>> points_of(const Get& get, JobId job) {
  std::vector<proto::MetricPoint> points;
  for (std::int64_t from = 0;;) {
    auto answer =
        get("/v1/jobs/" + rtrain::to_string(job) + "/metrics?limit=1000&from=" + std::to_string(from));
    if (!answer) return answer.error();
    auto page = as_list<proto::MetricPoint>(*answer, "points");
    if (!page) return page.error();
    points.insert(points.end(), page->begin(), page->end());
    if (!answer->value("more", false)) return points;
    from = answer->value("next", from);
  }
}

/// Nothing: it says too little.
std::optional<PastTrial> past_trial(const std::vector<proto::MetricPoint>& points, proto::UnixMs started_ms,
                                    const proto::SweepSpec& planned) {
  const auto resource_name = proto::resource_name(planned);
  PastTrial trial;
  double seconds = 0, units = 0, first_resource = 0;
  proto::UnixMs first_ms = 0;
  struct Before {
    std::int64_t attempt;
    double resource;
    proto::UnixMs time_ms;
  };
  std::optional<Before> before;
  for (const auto& point : points) {
    const auto resource = proto::reported_number(point.metrics, resource_name),
               value = proto::reported_number(point.metrics, planned.metric);
    if (!resource) continue;
    if (value) trial.curve.add(*resource, planned.maximize ? -*value : *value);
    if (before && before->attempt == point.attempt && *resource > before->resource) {
      seconds += static_cast<double>(point.time_ms - before->time_ms) / 1000;
      units += *resource - before->resource;
    }
    if (!before) first_ms = point.time_ms, first_resource = *resource;
    before = Before{point.attempt, *resource, point.time_ms};
  }
  if (trial.curve.empty() || units <= 0 || seconds <= 0) return std::nullopt;
  trial.resource_s = seconds / units;
  const double to_first_s = static_cast<double>(first_ms - started_ms) / 1000;
  trial.start_s = std::max(0.0, to_first_s - first_resource * trial.resource_s);
  return trial;
}

double median_of(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

}  // namespace

Result<PastSweep> past_sweep(const Get& get, const std::string& target, const proto::SweepSpec& planned) {
  auto trials = trials_of(get, target);
  if (!trials) return trials.error();
  PastSweep past;
  std::vector<double> resource_s, start_s;
  for (auto trial = trials->rbegin(); trial != trials->rend() && past.curves.size() < kPastTrialsMax;
       ++trial) {
    if (trial->job.value() == 0) continue;
    auto answer = get("/v1/jobs/" + rtrain::to_string(trial->job));
    if (!answer && answer.error().code() == Errc::kNotFound) continue;  // forgotten
    if (!answer) return answer.error();
    const auto job = as<proto::JobDoc>(*answer);
    if (!job) return job.error();
    const auto points = points_of(get, trial->job);
    if (!points) return points.error();
    auto said = past_trial(*points, job->started_ms, planned);
    if (!said) continue;
    past.curves.push_back(std::move(said->curve));
    resource_s.push_back(said->resource_s);
    start_s.push_back(said->start_s);
  }
  if (past.curves.empty())
    return fail(Errc::kNotFound,
                "no trial of that sweep has reported \"" + planned.metric + "\" and \"" +
                    proto::resource_name(planned) + "\" more than once",
                "plan without --like, or name a sweep of the same job");
  past.resource_s = median_of(std::move(resource_s));
  past.start_s = median_of(std::move(start_s));
  return past;
}

Result<std::int64_t> places_for(const Get& get, const proto::JobSpec& job) {
  auto answer = get("/v1/nodes");
  if (!answer) return answer.error();
  const auto nodes = as_list<proto::NodeDoc>(*answer, "nodes");
  if (!nodes) return nodes.error();
  const auto wanted = job.scaling_config.resources();
  std::int64_t workers = 0;
  for (const auto& node : *nodes) {
    if (!node.alive || node.cordoned) continue;
    double fit = proto::kTrialsMax;
    for (const auto& [name, amount] : wanted) {
      const auto has = node.info.resources.find(name);
      if (amount > 0)
        fit = std::min(fit, has == node.info.resources.end() ? 0 : std::floor(has->second / amount));
    }
    workers += static_cast<std::int64_t>(fit);
  }
  const auto places =
      std::min<std::int64_t>(workers / std::max(1, job.scaling_config.num_workers), proto::kTrialsMax);
  if (places == 0)
    return fail(Errc::kUnplaceable, "no trial fits on the nodes that are alive",
                "rtrain nodes shows what they have");
  return places;
}

}  // namespace rtrain::cli
