#include "proto/jobspec/scheduling_reader.h"

#include <algorithm>
#include <set>

namespace rtrain::proto {
namespace {

void read_name(ObjectReader& reader, const char* key, std::string& out) {
  std::string name = out;
  reader.read(key, name);
  if (name != out && !is_name(name)) reader.error(key, kNameRule);
  out = std::move(name);
}

void read_time_limit(ObjectReader& reader, SchedulingConfig& scheduling) {
  const Json* value = reader.raw("time_limit");
  if (value == nullptr) return;
  if (value->is_string()) {
    const auto seconds = parse_time_limit(value->get<std::string>());
    if (seconds)
      scheduling.time_limit_s = *seconds;
    else
      reader.error("time_limit", seconds.error().message());
    return;
  }
  double seconds = 0;
  constexpr double kMaxS = 1e9;
  reader.read("time_limit", seconds, 0, kMaxS, true);
  if (seconds > 0) scheduling.time_limit_s = seconds;
}

void read_begin(ObjectReader& reader, SchedulingConfig& scheduling) {
  const Json* value = reader.raw("begin_at");
  if (value == nullptr) return;
  std::string text;
  reader.read("begin_at", text);
  if (!value->is_string()) return;
  const auto at = parse_rfc3339(text);
  if (!at)
    reader.error("begin_at", at.error().message());
  else if (*at <= 0)
    reader.error("begin_at", "\"" + text + "\" is before 1970");
  else
    scheduling.begin_at_ms = *at;
}

void read_dependencies(ObjectReader& reader, SchedulingConfig& scheduling) {
  std::vector<std::string> texts;
  reader.read("depends_on", texts);
  std::set<std::pair<DependencyKind, JobId>> seen;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto found = parse_dependency(texts[i]);
    if (!found) {
      reader.error("depends_on[" + std::to_string(i) + "]", found.error().message());
      continue;
    }
    for (const auto& dependency : *found)
      if (seen.insert({dependency.kind, dependency.job}).second) scheduling.depends_on.push_back(dependency);
    if (seen.size() > kDependenciesMax)
      return reader.error("depends_on", "names more than " + std::to_string(kDependenciesMax) + " jobs");
  }
}

void read_array(ObjectReader& reader, SchedulingConfig& scheduling) {
  std::string text;
  const Json* value = reader.raw("array");
  if (value == nullptr) return;
  reader.read("array", text);
  if (!value->is_string()) return;
  auto array = parse_array(text);
  if (array)
    scheduling.array = std::move(*array);
  else
    reader.error("array", array.error().message());
}

void read_topology(ObjectReader& reader, SchedulingConfig& scheduling) {
  auto topology = reader.object("topology");
  if (!topology) return;
  TopologyConfig config;
  std::string level(to_string(config.level)), mode(to_string(config.mode));
  topology->read_choice("level", level, {"node", "rack"});
  topology->read_choice("mode", mode, {"preferred", "required"});
  topology->finish();
  config.level = level == "rack" ? TopologyLevel::kRack : TopologyLevel::kNode;
  config.mode = mode == "required" ? TopologyMode::kRequired : TopologyMode::kPreferred;
  scheduling.topology = config;
}

}  // namespace

void read_scheduling(ObjectReader& top, SchedulingConfig& scheduling) {
  auto reader = top.object("scheduling");
  if (!reader) return;
  read_name(*reader, "queue", scheduling.queue);
  reader->read("priority", scheduling.priority, -kPriorityMax, kPriorityMax);
  read_time_limit(*reader, scheduling);
  read_begin(*reader, scheduling);
  read_dependencies(*reader, scheduling);
  read_array(*reader, scheduling);
  reader->read("hold", scheduling.hold);
  read_name(*reader, "reservation", scheduling.reservation);
  reader->read("preemptible", scheduling.preemptible);
  reader->read("preempt_grace_s", scheduling.preempt_grace_s, 0, kPreemptGraceMaxS);
  read_topology(*reader, scheduling);
  reader->refuse("time_limit_s", "write time_limit, in seconds or as \"90m\"");
  reader->finish();
}

Json scheduling_json(const SchedulingConfig& scheduling) {
  Json j{{"queue", scheduling.queue},
         {"priority", scheduling.priority},
         {"hold", scheduling.hold},
         {"preemptible", scheduling.preemptible},
         {"preempt_grace_s", plain_number(scheduling.preempt_grace_s)}};
  if (scheduling.time_limit_s) j["time_limit"] = plain_number(*scheduling.time_limit_s);
  if (scheduling.begin_at_ms != 0) j["begin_at"] = rfc3339(scheduling.begin_at_ms);
  for (const auto& dependency : scheduling.depends_on) j["depends_on"].push_back(to_string(dependency));
  if (scheduling.array) j["array"] = to_string(*scheduling.array);
  if (!scheduling.reservation.empty()) j["reservation"] = scheduling.reservation;
  if (scheduling.topology)
    j["topology"] = {{"level", to_string(scheduling.topology->level)},
                     {"mode", to_string(scheduling.topology->mode)}};
  return j;
}

}  // namespace rtrain::proto
