#include "proto/config/queues.h"

#include <cmath>

namespace rtrain::proto {
namespace {

constexpr double kWeightMin = 0.001, kWeightMax = 1e6, kAmountMax = 1e9, kSecondsMax = 1e9;

const std::vector<std::string> kKeys{
    "weight",        "priority",      "gpus_max",           "cpus_max",       "jobs_max",    "user_gpus_max",
    "user_cpus_max", "user_jobs_max", "time_limit_default", "time_limit_max", "max_priority"};

/// A number from `min` to `max`, or what is wrong with it.
Result<double> number(const Json& value, double min, double max, bool whole) {
  double read = 0;
  if (!json_number(value, read) || !std::isfinite(read) || (whole && read != std::floor(read)))
    return fail(Errc::kInvalidArgument, whole ? "expected a whole number" : "expected a number");
  if (read < min || read > max)
    return fail(Errc::kInvalidArgument, number_text(read) + " is out of range; it must be from " +
                                            number_text(min) + " to " + number_text(max));
  return read;
}

Result<double> duration(const Json& value) {
  if (value.is_string()) return parse_time_limit(value.get<std::string>());
  auto seconds = number(value, 0, kSecondsMax, false);
  if (seconds && *seconds <= 0) return fail(Errc::kInvalidArgument, "must be above 0");
  return seconds;
}

/// Sets one key of a queue. The error does not name it.
Result<Done> set(QueueRules& rules, const std::string& key, const Json& value) {
  const auto into = [](auto& target, const Result<double>& read) -> Result<Done> {
    if (!read) return read.error();
    using Target = std::remove_reference_t<decltype(target)>;
    if constexpr (std::is_same_v<Target, int> || std::is_same_v<Target, std::optional<int>>)
      target = static_cast<int>(*read);
    else
      target = *read;
    return ok();
  };
  const auto amount = [&](std::optional<double>& target) {
    return into(target, number(value, 0, kAmountMax, false));
  };
  const auto count = [&](std::optional<int>& target) {
    return into(target, number(value, 0, kAmountMax, true));
  };
  if (key == "weight") return into(rules.weight, number(value, kWeightMin, kWeightMax, false));
  if (key == "priority") return into(rules.priority, number(value, -kPriorityMax, kPriorityMax, true));
  if (key == "max_priority")
    return into(rules.max_priority, number(value, -kPriorityMax, kPriorityMax, true));
  if (key == "gpus_max") return amount(rules.queue.gpus_max);
  if (key == "cpus_max") return amount(rules.queue.cpus_max);
  if (key == "jobs_max") return count(rules.queue.jobs_max);
  if (key == "user_gpus_max") return amount(rules.user.gpus_max);
  if (key == "user_cpus_max") return amount(rules.user.cpus_max);
  if (key == "user_jobs_max") return count(rules.user.jobs_max);
  if (key == "time_limit_default") return into(rules.time_limit_default_s, duration(value));
  if (key == "time_limit_max") return into(rules.time_limit_max_s, duration(value));
  const auto near = nearest(key, kKeys);
  return fail(Errc::kInvalidArgument,
              near.empty() ? "unknown key" : "unknown key; did you mean " + near + "?");
}

}  // namespace

Result<Queues> read_queues(const Json& document) {
  if (!document.is_object())
    return fail(Errc::kInvalidArgument,
                "expected an object of queues, such as {\"research\": {\"weight\": 2}}");
  Queues queues;
  for (const auto& [name, object] : document.items()) {
    if (!is_label_key(name))
      return fail(Errc::kInvalidArgument,
                  name + ": a queue is named by at most 63 letters, digits, '-', '_', '.'");
    if (!object.is_object())
      return fail(Errc::kInvalidArgument, name + ": expected an object, such as {\"weight\": 2}");
    auto& rules = queues[name];
    for (const auto& [key, value] : object.items())
      if (auto done = set(rules, key, value); !done)
        return fail(Errc::kInvalidArgument, name + "." + key + ": " + done.error().message());
    if (rules.time_limit_default_s && rules.time_limit_max_s &&
        *rules.time_limit_default_s > *rules.time_limit_max_s)
      return fail(Errc::kInvalidArgument, name + ".time_limit_default: is above time_limit_max");
  }
  return queues;
}

Json to_json(const Queues& queues) {
  Json document = Json::object();
  for (const auto& [name, rules] : queues) {
    Json object = Json::object();
    const QueueRules defaults;
    if (rules.weight != defaults.weight) object["weight"] = rules.weight;
    if (rules.priority != defaults.priority) object["priority"] = rules.priority;
    const auto put = [&](const char* key, const auto& value) {
      if (value) object[key] = *value;
    };
    put("gpus_max", rules.queue.gpus_max);
    put("cpus_max", rules.queue.cpus_max);
    put("jobs_max", rules.queue.jobs_max);
    put("user_gpus_max", rules.user.gpus_max);
    put("user_cpus_max", rules.user.cpus_max);
    put("user_jobs_max", rules.user.jobs_max);
    put("time_limit_default", rules.time_limit_default_s);
    put("time_limit_max", rules.time_limit_max_s);
    put("max_priority", rules.max_priority);
    document[name] = std::move(object);
  }
  return document;
}

}  // namespace rtrain::proto
