#include "proto/sweep/schedule_reader.h"

#include "proto/jobspec/scheduling_reader.h"

#include <algorithm>
#include <cmath>

namespace rtrain::proto {
namespace {

constexpr double kAnyMax = std::numeric_limits<double>::max();
constexpr std::array<SearchMethod, 6> kMethods{SearchMethod::kRandom, SearchMethod::kGrid,
                                               SearchMethod::kSobol,  SearchMethod::kTpe,
                                               SearchMethod::kCmaes,  SearchMethod::kExternal};
constexpr std::array<ScheduleKind, 4> kSchedules{ScheduleKind::kAsha, ScheduleKind::kHyperband,
                                                 ScheduleKind::kMedian, ScheduleKind::kPbt};

std::vector<std::string> method_names() {
  std::vector<std::string> names;
  for (const auto method : kMethods) names.emplace_back(to_string(method));
  return names;
}

void read_rungs(ObjectReader& reader, ScheduleConfig& schedule) {
  reader.read("min", schedule.min, 0, kAnyMax, true);
  reader.read("max", schedule.max, 0, kAnyMax, true);
  reader.read("eta", schedule.eta, 2, 1000);
  std::string mode(to_string(schedule.mode));
  reader.read_choice("mode", mode, {"promote", "stop"});
  schedule.mode = mode == "stop" ? AshaMode::kStop : AshaMode::kPromote;
  if (!reader.json().contains("max"))
    reader.error("max", "missing; the resource of the last rung, say the number of epochs");
  else if (schedule.max > 0 && schedule.min >= schedule.max)
    reader.error("max", number_text(schedule.max) + " is not above min, " + number_text(schedule.min));
  else if (schedule.max > 0 && !std::isfinite(schedule.max / schedule.min))
    reader.error("max",
                 "is more than 1.8e+308 times min, " + number_text(schedule.min) + "; write a larger min");
}

void read_hyperband(ObjectReader& reader, ScheduleConfig& schedule) {
  read_rungs(reader, schedule);
  reader.read("max_rungs", schedule.max_rungs, 1, 30);
  std::string brackets(to_string(schedule.brackets));
  reader.read_choice("brackets", brackets, {"aggressive", "standard", "conservative"});
  for (const auto mode : {BracketMode::kAggressive, BracketMode::kStandard, BracketMode::kConservative})
    if (to_string(mode) == brackets) schedule.brackets = mode;
}

void read_median(ObjectReader& reader, ScheduleConfig& schedule) {
  reader.read("startup_trials", schedule.startup_trials, 1, kTrialsMax);
  reader.read("grace", schedule.grace, 0, kAnyMax);
  reader.read("interval", schedule.interval, 0, kAnyMax, true);
}

void read_factors(ObjectReader& reader, ScheduleConfig& schedule) {
  const Json* factors = reader.raw("factors");
  if (factors == nullptr) return;
  const auto positive = [](const Json& value) { return value.is_number() && value.get<double>() > 0; };
  if (!factors->is_array() || factors->size() != 2 || !std::ranges::all_of(*factors, positive))
    return reader.error("factors", "expected two numbers above 0");
  schedule.factors = {(*factors)[0].get<double>(), (*factors)[1].get<double>()};
}

void read_pbt(ObjectReader& reader, ScheduleConfig& schedule) {
  reader.read("interval", schedule.interval, 0, kAnyMax, true);
  if (!reader.json().contains("interval"))
    reader.error("interval", "missing; the resource between two changes of a member, say 2 epochs");
  reader.read("burn_in", schedule.burn_in, 0, kAnyMax);
  reader.read("max", schedule.max, 0, kAnyMax, true);
  reader.read("quantile_fraction", schedule.quantile_fraction, 0, 0.5);
  reader.read("resample_probability", schedule.resample_probability, 0, 1);
  read_factors(reader, schedule);
  reader.refuse("perturbation_interval", "write interval, in units of the resource");
  reader.refuse("perturbation_factors", "write factors");
}

}  // namespace

void read_search(ObjectReader& top, SearchConfig& search) {
  const auto take_method = [&](const std::string& name) {
    for (const auto method : kMethods)
      if (to_string(method) == name) search.method = method;
  };
  std::string name(to_string(search.method));
  if (const Json* value = top.raw("search"); value == nullptr || value->is_string()) {
    top.read_choice("search", name, method_names());
    return take_method(name);
  }
  auto reader = top.object("search");
  if (!reader) return;
  reader->read_choice("method", name, method_names());
  take_method(name);
  if (search.method == SearchMethod::kTpe) {
    reader->read("startup", search.startup, 1, kTrialsMax);
    reader->read("candidates", search.candidates, 1, 10'000);
  }
  if (search.method == SearchMethod::kCmaes) {
    reader->read("sigma0", search.sigma0, 0, 1, true);
    reader->read("popsize", search.popsize, 2, 10'000);
  }
  for (const char* key : {"n_startup_trials", "n_ei_candidates"})
    reader->refuse(key, std::string("write ") + (key[2] == 's' ? "startup" : "candidates"));
  reader->finish();
}

void read_schedule(ObjectReader& top, ScheduleConfig& schedule) {
  std::vector<std::string> names;
  for (const auto kind : kSchedules) names.emplace_back(to_string(kind));
  const Json* value = top.raw("schedule");
  if (value == nullptr || *value == "none") return;
  if (!value->is_object() || value->size() != 1) {
    const std::string of = value->is_string() ? value->get<std::string>() : "asha";
    const auto known = std::ranges::find(names, of) != names.end() ? of : std::string("asha");
    return top.error("schedule", "expected \"none\" or an object with one key, like {\"" + known + "\": {" +
                                     (known == "pbt"      ? "\"interval\": 2"
                                      : known == "median" ? ""
                                                          : "\"max\": 81") +
                                     "}}");
  }
  auto reader = *top.object("schedule");
  for (const auto kind : kSchedules) {
    const std::string name(to_string(kind));
    auto one = reader.object(name.c_str());
    if (!one) continue;
    schedule.kind = kind;
    switch (kind) {
      case ScheduleKind::kAsha: read_rungs(*one, schedule); break;
      case ScheduleKind::kHyperband: read_hyperband(*one, schedule); break;
      case ScheduleKind::kMedian: read_median(*one, schedule); break;
      case ScheduleKind::kPbt: read_pbt(*one, schedule); break;
      case ScheduleKind::kNone: break;
    }
    one->refuse("resource", "stands at the top level of the file");
    one->finish();
  }
  reader.finish();
}

void read_limits(ObjectReader& top, SweepLimits& limits) {
  auto reader = top.object("limits");
  if (!reader) return;
  reader->read("trials", limits.trials, 1, kTrialsMax);
  reader->read("running", limits.running, 1, kTrialsMax);
  const auto amount = [&](const char* key, std::optional<double>& out) {
    if (double value = 0; reader->raw(key) != nullptr) {
      reader->read(key, value, 0, kAnyMax, true);
      if (value > 0) out = value;
    }
  };
  amount("hours", limits.hours);
  amount("gpu_hours", limits.gpu_hours);
  if (reader->raw("target") != nullptr) reader->read("target", limits.target.emplace(), -kAnyMax, kAnyMax);
  reader->read("no_better_trials", limits.no_better_trials, 0, kTrialsMax);
  reader->read("failed_max", limits.failed_max, 0, kTrialsMax);
  reader->finish();
}

Json search_json(const SearchConfig& search) {
  Json j{{"method", std::string(to_string(search.method))}};
  if (search.method == SearchMethod::kTpe) j["startup"] = search.startup, j["candidates"] = search.candidates;
  if (search.method == SearchMethod::kCmaes) {
    if (search.sigma0 > 0) j["sigma0"] = search.sigma0;
    if (search.popsize > 0) j["popsize"] = search.popsize;
  }
  return j;
}

Json schedule_json(const ScheduleConfig& schedule) {
  Json of = Json::object();
  switch (schedule.kind) {
    case ScheduleKind::kNone: return "none";
    case ScheduleKind::kHyperband:
      of["max_rungs"] = schedule.max_rungs;
      of["brackets"] = std::string(to_string(schedule.brackets));
      [[fallthrough]];
    case ScheduleKind::kAsha:
      of["min"] = plain_number(schedule.min);
      of["max"] = plain_number(schedule.max);
      of["eta"] = plain_number(schedule.eta);
      of["mode"] = std::string(to_string(schedule.mode));
      break;
    case ScheduleKind::kMedian:
      of["startup_trials"] = schedule.startup_trials;
      of["grace"] = plain_number(schedule.grace);
      of["interval"] = plain_number(schedule.interval);
      break;
    case ScheduleKind::kPbt:
      of["interval"] = plain_number(schedule.interval);
      if (schedule.max > 0) of["max"] = plain_number(schedule.max);
      of["burn_in"] = plain_number(schedule.burn_in);
      of["quantile_fraction"] = schedule.quantile_fraction;
      of["resample_probability"] = schedule.resample_probability;
      of["factors"] = schedule.factors;
  }
  return {{std::string(to_string(schedule.kind)), std::move(of)}};
}

Json limits_json(const SweepLimits& limits) {
  Json j{{"no_better_trials", limits.no_better_trials}, {"failed_max", limits.failed_max}};
  if (limits.trials > 0) j["trials"] = limits.trials;
  if (limits.running > 0) j["running"] = limits.running;
  if (limits.hours) j["hours"] = plain_number(*limits.hours);
  if (limits.gpu_hours) j["gpu_hours"] = plain_number(*limits.gpu_hours);
  if (limits.target) j["target"] = plain_number(*limits.target);
  return j;
}

}  // namespace rtrain::proto
