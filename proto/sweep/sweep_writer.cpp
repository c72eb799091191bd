#include "proto/sweep/schedule_reader.h"
#include "proto/sweep/sweep_reader.h"

#include "proto/jobspec/scheduling_reader.h"

namespace rtrain::proto {
namespace {

Json parameter_json(const SweepParameter& parameter) {
  const auto& domain = parameter.domain;
  const std::string kind(to_string(domain.kind));
  Json j = Json::object();
  switch (domain.kind) {
    case DomainKind::kFloat:
    case DomainKind::kInt:
      j[kind] = {plain_number(domain.low), plain_number(domain.high)};
      j["log"] = domain.log;
      if (domain.step > 0) j["step"] = plain_number(domain.step);
      break;
    case DomainKind::kNormal: j[kind] = {plain_number(domain.mean), plain_number(domain.sd)}; break;
    case DomainKind::kConstant: j[kind] = domain.values.front(); break;
    default: j[kind] = domain.values;
  }
  if (parameter.when) j["when"] = {{parameter.when->parameter, parameter.when->values}};
  return j;
}

}  // namespace

Json to_json(const SweepSpec& spec) {
  Json j{{"name", spec.name},
         {"job", to_json(spec.job)},
         {"metric", spec.metric},
         {"mode", spec.maximize ? "max" : "min"},
         {"seed", spec.seed},
         {"search", search_json(spec.search)},
         {"schedule", schedule_json(spec.schedule)},
         {"limits", limits_json(spec.limits)},
         {"baseline", spec.baseline},
         {"checkpoint_pruned", spec.checkpoint_pruned},
         {"idle", spec.idle}};
  for (const auto& parameter : spec.parameters) j["parameters"][parameter.path] = parameter_json(parameter);
  if (!spec.resource.empty()) j["resource"] = spec.resource;
  if (!spec.start_with.empty()) j["start_with"] = spec.start_with;
  if (!spec.from.empty()) j["from"] = spec.from;
  for (const auto& [metric, constraint] : spec.constraints) {
    Json& one = j["constraints"][metric] = Json::object();
    if (constraint.min) one["min"] = plain_number(*constraint.min);
    if (constraint.max) one["max"] = plain_number(*constraint.max);
  }
  return j;
}

}  // namespace rtrain::proto
