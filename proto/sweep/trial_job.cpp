// A trial's job: the sweep's job with a value at the path of each parameter.
#include "proto/sweep/domain.h"
#include "proto/sweep/sweep_paths.h"
#include "proto/sweep/sweep_reader.h"

#include <algorithm>

namespace rtrain::proto {

std::vector<std::string> job_path_of(const std::string& parameter) {
  std::vector<std::string> steps;
  for (std::size_t begin = 0; begin <= parameter.size();) {
    const auto end = std::min(parameter.find('.', begin), parameter.size());
    steps.push_back(parameter.substr(begin, end - begin));
    begin = end + 1;
  }
  if (std::ranges::find(kJobSections, steps.front()) != kJobSections.end()) {
    // The name of a variable, and of nothing else there, may have a dot: env.A.B is the variable "A.B".
    if (steps.front() == "env") return {"env", parameter.substr(std::string_view("env.").size())};
    return steps;
  }
  steps.insert(steps.begin(), "train_loop_config");
  return steps;
}

std::string job_path_text(const std::string& parameter) {
  std::string text;
  for (const auto& step : job_path_of(parameter)) text += (text.empty() ? "" : ".") + step;
  return text;
}

const Json* value_at(const Json& document, const std::vector<std::string>& path) {
  const Json* at = &document;
  for (const auto& step : path) {
    if (!at->is_object()) return nullptr;
    const auto found = at->find(step);
    if (found == at->end()) return nullptr;
    at = &*found;
  }
  return at;
}

Result<Done> put_value(Json& document, const std::vector<std::string>& path, Json value) {
  Json* at = &document;
  std::string way;
  for (std::size_t i = 0; i + 1 < path.size(); ++i) {
    way += (way.empty() ? "" : ".") + path[i];
    at = &(*at)[path[i]];
    if (at->is_null()) *at = Json::object();
    if (!at->is_object())
      return fail(Errc::kInvalidArgument, way + " of the job is no object, so nothing can be put into it");
  }
  // An environment has texts; a number of a sweep is one there.
  if (path.front() == "env" && !value.is_string()) value = dump_json(value);
  (*at)[path.back()] = std::move(value);
  return ok();
}

bool meets(const Json& values, const When& when) {
  const auto other = values.find(when.parameter);
  return other != values.end() && std::ranges::find(when.values, *other) != when.values.end();
}

Result<JobSpec> job_of(const SweepSpec& spec, const Json& values) {
  Json document = to_json(spec.job);
  for (const auto& [path, value] : values.items())
    if (auto put = put_value(document, job_path_of(path), value); !put) return put.error().in(path);
  auto reading = read_job_document(document);
  if (reading.ok()) return std::move(reading.spec);
  return fail(Errc::kInvalidArgument, "with " + dump_json(values) + ": " + to_string(reading.errors.front()));
}

Json baseline_of(const SweepSpec& spec) {
  const Json document = to_json(spec.job);
  Json values = Json::object();
  for (const auto& parameter : spec.parameters)
    if (const Json* value = value_at(document, job_path_of(parameter.path)))
      if (coordinate_of(parameter.domain, *value)) values[parameter.path] = *value;
  // A value whose condition is not met is no part of a trial.
  for (const auto& parameter : spec.parameters)
    if (parameter.when && values.contains(parameter.path) && !meets(values, *parameter.when))
      values.erase(parameter.path);
  return values;
}

bool is_complete(const SweepSpec& spec, const Json& values) {
  return std::ranges::all_of(spec.parameters, [&](const SweepParameter& parameter) {
    if (parameter.domain.kind == DomainKind::kConstant || values.contains(parameter.path)) return true;
    return parameter.when && values.contains(parameter.when->parameter) && !meets(values, *parameter.when);
  });
}

}  // namespace rtrain::proto
