#include "worker/sdk/tune_document.h"

#include <algorithm>
#include <stdexcept>
#include <string_view>

namespace rtrain::sdk {
namespace {

using proto::Json;

bool has_grid(const tune::ParamSpace& space) {
  return std::ranges::any_of(space,
                             [](const auto& of) { return of.second.domain().json().contains("grid"); });
}

bool is_grid(const tune::ParamSpace& space, const TuneConfig& config) {
  if (config.search_alg && !std::holds_alternative<tune::BasicVariantGenerator>(*config.search_alg))
    return false;
  return has_grid(space);
}

struct SearchOf {
  const tune::ParamSpace& space;
  Json operator()(const tune::BasicVariantGenerator&) const { return has_grid(space) ? "grid" : "random"; }
  Json operator()(const tune::SobolSearch&) const { return "sobol"; }
  Json operator()(const tune::TPESearch& tpe) const {
    return {{"method", "tpe"}, {"startup", tpe.n_startup_trials}, {"candidates", tpe.n_ei_candidates}};
  }
  Json operator()(const tune::CmaEsSearch& cmaes) const {
    Json search{{"method", "cmaes"}};
    if (cmaes.sigma0) search["sigma0"] = *cmaes.sigma0;
    if (cmaes.popsize) search["popsize"] = *cmaes.popsize;
    return search;
  }
};

/// ASHA's and Hyperband's. Without max_t the reader says what it is and that it is missing.
template <class Scheduler>
Json rungs(const Scheduler& scheduler) {
  Json of{{"min", scheduler.grace_period},
          {"eta", scheduler.reduction_factor},
          {"mode", scheduler.mode == tune::Halving::kStop ? "stop" : "promote"}};
  if (scheduler.max_t != 0) of["max"] = scheduler.max_t;
  return of;
}

struct ScheduleOf {
  Json operator()(const tune::FIFOScheduler&) const { return "none"; }
  Json operator()(const tune::ASHAScheduler& asha) const { return {{"asha", rungs(asha)}}; }
  Json operator()(const tune::HyperBandScheduler& hyperband) const {
    auto of = rungs(hyperband);
    of["brackets"] = hyperband.brackets;
    of["max_rungs"] = hyperband.max_rungs;
    return {{"hyperband", std::move(of)}};
  }
  Json operator()(const tune::MedianStoppingRule& median) const {
    return {{"median",
             {{"startup_trials", median.min_samples_required},
              {"grace", median.grace_period},
              {"interval", median.interval}}}};
  }
  Json operator()(const tune::PopulationBasedTraining& pbt) const {
    Json of{{"burn_in", pbt.burn_in_period},
            {"quantile_fraction", pbt.quantile_fraction},
            {"resample_probability", pbt.resample_probability},
            {"factors", pbt.perturbation_factors}};
    if (pbt.perturbation_interval != 0) of["interval"] = pbt.perturbation_interval;
    if (pbt.max_t != 0) of["max"] = pbt.max_t;
    return {{"pbt", std::move(of)}};
  }
};

struct Renamed {
  std::string_view in_file, in_tuner;
};
constexpr Renamed kPlaces[]{{"parameters", "param_space"},
                            {"metric", "tune_config.metric"},
                            {"mode", "tune_config.mode"},
                            {"limits.trials", "tune_config.num_samples"},
                            {"limits.running", "tune_config.max_concurrent_trials"},
                            {"limits.hours", "tune_config.time_budget_s"},
                            {"resource", "tune_config.time_attr"},
                            {"seed", "tune_config.seed"},
                            {"start_with", "tune_config.points_to_evaluate"},
                            {"search", "tune_config.search_alg: search"},
                            {"schedule.asha.max", "tune_config.scheduler.max_t"},
                            {"schedule.asha.min", "tune_config.scheduler.grace_period"},
                            {"schedule.asha.eta", "tune_config.scheduler.reduction_factor"},
                            {"schedule.hyperband.max", "tune_config.scheduler.max_t"},
                            {"schedule.hyperband.min", "tune_config.scheduler.grace_period"},
                            {"schedule.hyperband.eta", "tune_config.scheduler.reduction_factor"},
                            {"schedule.median.startup_trials", "tune_config.scheduler.min_samples_required"},
                            {"schedule.median.grace", "tune_config.scheduler.grace_period"},
                            {"schedule.pbt.interval", "tune_config.scheduler.perturbation_interval"},
                            {"schedule.pbt.burn_in", "tune_config.scheduler.burn_in_period"},
                            {"schedule.pbt.max", "tune_config.scheduler.max_t"},
                            {"schedule.pbt.factors", "tune_config.scheduler.perturbation_factors"},
                            {"schedule", "tune_config.scheduler: schedule"}};

/// The longest name that the path begins with decides.
std::string in_tuner(const std::string& path) {
  const Renamed* found = nullptr;
  for (const auto& place : kPlaces) {
    if (!path.starts_with(place.in_file)) continue;
    const auto rest = path.substr(place.in_file.size());
    const bool whole = rest.empty() || rest.front() == '.' || rest.front() == '[';
    if (whole && (found == nullptr || place.in_file.size() > found->in_file.size())) found = &place;
  }
  if (found == nullptr) return path.starts_with("job.") ? path.substr(4) : path;
  return std::string(found->in_tuner) + path.substr(found->in_file.size());
}

}  // namespace

nlohmann::json tune_document(const nlohmann::json& job, const tune::ParamSpace& space,
                             const TuneConfig& config) {
  const bool grid = is_grid(space, config);
  if (grid && config.num_samples != 1)
    throw std::invalid_argument("Tuner:\n  tune_config.num_samples: is " +
                                std::to_string(config.num_samples) +
                                ", and a grid tries each of its points once; leave it out");
  Json document{{"job", job},
                {"parameters", Json::object()},
                {"metric", config.metric},
                {"mode", config.mode},
                {"seed", config.seed},
                {"search", config.search_alg ? std::visit(SearchOf{space}, *config.search_alg)
                                             : Json(grid ? "grid" : "tpe")},
                {"schedule", std::visit(ScheduleOf{}, config.scheduler)},
                {"limits", Json::object()}};
  if (job.contains("name")) document["name"] = job["name"];
  for (const auto& [path, parameter] : space) document["parameters"][path] = parameter.domain().json();
  auto& limits = document["limits"];
  if (!grid) limits["trials"] = config.num_samples;
  if (config.max_concurrent_trials != 0) limits["running"] = config.max_concurrent_trials;
  if (config.time_budget_s != 0) limits["hours"] = config.time_budget_s / 3600;
  if (!config.time_attr.empty()) document["resource"] = config.time_attr;
  if (!config.points_to_evaluate.empty()) document["start_with"] = config.points_to_evaluate;
  document.merge_patch(config.sweep_file);
  return document;
}

std::string tuner_errors(const std::vector<proto::SpecError>& errors) {
  std::string text = "Tuner:";
  for (auto error : errors) {
    error.path = in_tuner(error.path);
    text += "\n  " + proto::to_string(error);
  }
  return text;
}

}  // namespace rtrain::sdk
