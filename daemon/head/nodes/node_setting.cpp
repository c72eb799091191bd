#include "daemon/head/nodes/node_setting.h"

#include <algorithm>
#include <iterator>

namespace rtrain::head {
namespace {

using proto::Json;

std::string listed(const std::set<int>& gpus) {
  std::string text;
  for (const int gpu : gpus) text += (text.empty() ? "" : ",") + std::to_string(gpu);
  return text;
}

}  // namespace

std::set<int> NodeSetting::gpus_out() const {
  std::set<int> out;
  std::ranges::set_difference(quarantined, returned, std::inserter(out, out.end()));
  return out;
}

std::map<std::string, std::string> NodeSetting::over(
    std::map<std::string, std::string> labels_of_agent) const {
  for (const auto& [key, value] : labels) {
    if (value)
      labels_of_agent[key] = *value;
    else
      labels_of_agent.erase(key);
  }
  return labels_of_agent;
}

std::string NodeSetting::words() const {
  std::string text;
  if (cordoned)
    text = (draining ? "drained by " : "cordoned by ") + by + (reason.empty() ? "" : ": " + reason);
  if (const auto out = gpus_out(); !out.empty())
    text += (text.empty() ? "" : "; ") + std::string("GPU ") + listed(out) +
            (out.size() == 1 ? " is" : " are") + " out of service" +
            (quarantine_reason.empty() ? "" : ": " + quarantine_reason);
  return text;
}

Json to_json(const NodeSetting& setting) {
  Json labels = Json::object();
  for (const auto& [key, value] : setting.labels) labels[key] = value ? Json(*value) : Json();
  return {{"cordoned", setting.cordoned},
          {"draining", setting.draining},
          {"reason", setting.reason},
          {"by", setting.by},
          {"since_ms", setting.since_ms},
          {"drain_until_ms", setting.drain_until_ms},
          {"labels", std::move(labels)},
          {"quarantined", setting.quarantined},
          {"quarantine_reason", setting.quarantine_reason},
          {"returned", setting.returned}};
}

Result<NodeSetting> node_setting_from_json(const Json& json) {
  NodeSetting setting;
  std::string key;
  const auto read = [&](const char* name, auto& out) {
    key = name;
    if (const auto found = json.find(name); found != json.end()) found->get_to(out);
  };
  try {
    if (!json.is_object()) return fail(Errc::kProtocol, "a node's setting is no object");
    read("cordoned", setting.cordoned);
    read("draining", setting.draining);
    read("reason", setting.reason);
    read("by", setting.by);
    read("since_ms", setting.since_ms);
    read("drain_until_ms", setting.drain_until_ms);
    read("quarantined", setting.quarantined);
    read("quarantine_reason", setting.quarantine_reason);
    read("returned", setting.returned);
    Json labels = Json::object();
    read("labels", labels);
    for (const auto& [label, value] : labels.items())
      setting.labels[label] = value.is_null() ? std::nullopt : std::optional(value.get<std::string>());
  } catch (const Json::exception& error) {
    return fail(Errc::kProtocol, key + ": " + error.what());
  }
  return setting;
}

}  // namespace rtrain::head
