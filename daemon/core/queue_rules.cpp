#include "daemon/core/queue_rules.h"

#include <algorithm>
#include <cmath>
#include <sstream>

namespace rtrain::core {
namespace {

constexpr double kHair = 1e-6;

double amount_of(const proto::Resources& resources, const char* name) {
  const auto found = resources.find(name);
  return found == resources.end() ? 0 : found->second;
}

std::string plain(double value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

int workers_below(const std::optional<double>& max, double held, double each, int workers) {
  if (!max || each <= 0) return workers;
  return static_cast<int>(
      std::clamp(std::floor((*max - held + kHair) / each), 0.0, static_cast<double>(workers)));
}

}  // namespace

Held held_by(const proto::Resources& per_worker, int workers) {
  return {amount_of(per_worker, "GPU") * workers, amount_of(per_worker, "CPU") * workers, 1};
}

void add(Held& held, const Held& more, int sign) {
  const auto clean = [](double value) { return std::abs(value) < kHair ? 0 : value; };
  held.gpus = clean(held.gpus + sign * more.gpus);
  held.cpus = clean(held.cpus + sign * more.cpus);
  held.jobs += sign * more.jobs;
}

int within(const proto::Quota& quota, const Held& held, const proto::Resources& per_worker, int workers) {
  if (quota.jobs_max && held.jobs >= *quota.jobs_max) return 0;
  return std::min(workers_below(quota.gpus_max, held.gpus, amount_of(per_worker, "GPU"), workers),
                  workers_below(quota.cpus_max, held.cpus, amount_of(per_worker, "CPU"), workers));
}

std::string over(const proto::Quota& quota, const Held& held, const proto::Resources& per_worker, int workers,
                 const std::string& whose) {
  if (quota.jobs_max && held.jobs >= *quota.jobs_max)
    return whose + " may run " + std::to_string(*quota.jobs_max) + " jobs at a time and runs " +
           std::to_string(held.jobs);
  const auto words = [&](const std::optional<double>& max, double has, const char* name) -> std::string {
    const double each = amount_of(per_worker, name);
    if (workers_below(max, has, each, workers) == workers) return "";
    return whose + " may hold " + plain(*max) + " " + name + " and holds " + plain(has) +
           "; this job needs " + plain(each * workers);
  };
  if (auto gpus = words(quota.gpus_max, held.gpus, "GPU"); !gpus.empty()) return gpus;
  return words(quota.cpus_max, held.cpus, "CPU");
}

const proto::QueueRules& rules_of(const std::map<std::string, proto::QueueRules>& queues,
                                  const std::string& name) {
  static const proto::QueueRules kNone;
  const auto found = queues.find(name);
  return found == queues.end() ? kNone : found->second;
}

Result<Done> may_enter(const std::map<std::string, proto::QueueRules>& queues,
                       const proto::SchedulingConfig& scheduling) {
  const auto& name = scheduling.queue;
  if (name != "default" && !queues.contains(name)) {
    std::vector<std::string> names{"default"};
    for (const auto& [known, rules] : queues)
      if (known != "default") names.push_back(known);
    std::string list;
    for (const auto& known : names) list += (list.empty() ? "" : ", ") + known;
    const auto near = proto::nearest(name, names);
    return fail(
        Errc::kInvalidArgument,
        "scheduling.queue: there is no queue " + name + (near.empty() ? "" : "; did you mean " + near + "?"),
        "the queues are " + list);
  }
  const auto& rules = rules_of(queues, name);
  if (rules.max_priority && scheduling.priority > *rules.max_priority)
    return fail(Errc::kInvalidArgument,
                "scheduling.priority: " + std::to_string(scheduling.priority) + " is above what queue " +
                    name + " allows",
                "at most " + std::to_string(*rules.max_priority) + " (max_priority of the queue)");
  if (rules.time_limit_max_s && scheduling.time_limit_s && *scheduling.time_limit_s > *rules.time_limit_max_s)
    return fail(Errc::kInvalidArgument,
                "scheduling.time_limit: " + plain(*scheduling.time_limit_s) + " s is above what queue " +
                    name + " allows",
                "at most " + plain(*rules.time_limit_max_s) + " s (time_limit_max of the queue)");
  return ok();
}

std::optional<double> time_limit_s(const std::map<std::string, proto::QueueRules>& queues,
                                   const proto::SchedulingConfig& scheduling) {
  if (scheduling.time_limit_s) return scheduling.time_limit_s;
  const auto& rules = rules_of(queues, scheduling.queue);
  return rules.time_limit_default_s ? rules.time_limit_default_s : rules.time_limit_max_s;
}

}  // namespace rtrain::core
