#include "daemon/head/nodes/node_admin.h"

#include "common/base/fault.h"
#include "common/log/log.h"
#include "daemon/head/attempts/yield.h"

#include <algorithm>
#include <array>

namespace rtrain::head {
namespace {

constexpr const char* kNodeKind = "node";
constexpr std::size_t kLabelsMax = 256;  // of a node, by users
/// Labels that tell what a node is: nobody else may say so.
constexpr std::array<std::string_view, 3> kOwnLabels{"rtrain/node", "rtrain/accelerator-type", "rtrain/os"};

}  // namespace

// ---- settings -----------------------------------------------------------------------------------

const NodeSetting& NodeAdmin::setting(const std::string& node) const {
  static const NodeSetting kNothing;
  const auto found = settings_.find(node);
  return found == settings_.end() ? kNothing : found->second;
}

Result<NodeSetting*> NodeAdmin::setting_of(const std::string& node) {
  if (context_.nodes.find(node) == nullptr && !settings_.contains(node))
    return fail(Errc::kNotFound, "node " + node + ": no such node", "rtrain nodes -o name lists them");
  return &settings_[node];
}

void NodeAdmin::apply_setting(const std::string& name) {
  auto* node = context_.nodes.find(name);
  if (node == nullptr) return;
  const auto& node_setting = setting(name);
  node->view.cordoned = node_setting.cordoned && !fault::on(fault::Fault::kCordonIgnored);
  node->view.gpus_out = node_setting.gpus_out();
  node->view.info.labels = node_setting.over(node->own_labels);
  context_.nodes.changed(*node);
}

void NodeAdmin::keep_setting(const std::string& name) {
  const auto& node_setting = setting(name);
  if (!fault::on(fault::Fault::kNodeSettingNotStored))
    context_.store.journal.put(
        {kNodeKind, name, node_setting.is_default() ? proto::Json() : to_json(node_setting)});
  apply_setting(name);
  if (node_setting.is_default()) settings_.erase(name);
}

void NodeAdmin::recover(const std::vector<store::Document>& documents) {
  for (const auto& document : documents) {
    if (document.kind != kNodeKind) continue;
    auto node_setting = node_setting_from_json(document.value);
    if (!node_setting) {
      log::error("the setting of a node cannot be read",
                 {{"node", document.name}, {"cause", node_setting.error().message()}});
      continue;
    }
    if (node_setting->draining && node_setting->drain_until_ms != 0) {
      const double left_s = static_cast<double>(node_setting->drain_until_ms - context_.wall()) / 1000;
      drain_until_[document.name] = context_.now() + from_seconds(std::max(0.0, left_s));
    }
    settings_[document.name] = std::move(*node_setting);
    apply_setting(document.name);
  }
}

// ---- operators ----------------------------------------------------------------------------------

Result<Done> NodeAdmin::cordon(const std::string& node, const std::string& reason, const std::string& by) {
  auto found = setting_of(node);
  if (!found) return found.error();
  auto& node_setting = **found;
  node_setting.cordoned = true;
  node_setting.reason = reason;
  node_setting.by = by;
  node_setting.since_ms = context_.wall();
  keep_setting(node);
  log::info("node cordoned", {{"node", node}, {"by", by}, {"reason", reason}});
  turn_.request_pass();  // those who wait learn why
  return ok();
}

Result<Done> NodeAdmin::uncordon(const std::string& node, const std::string& by) {
  auto found = setting_of(node);
  if (!found) return found.error();
  auto& node_setting = **found;
  node_setting.cordoned = node_setting.draining = false;
  node_setting.reason.clear();
  node_setting.by.clear();
  node_setting.since_ms = node_setting.drain_until_ms = 0;
  drain_until_.erase(node);
  keep_setting(node);
  log::info("node uncordoned", {{"node", node}, {"by", by}});
  turn_.request_pass();
  return ok();
}

Result<Done> NodeAdmin::forget(const std::string& node, const std::string& by) {
  const auto* known = context_.nodes.find(node);
  if (known == nullptr)
    return fail(Errc::kNotFound, "node " + node + ": no such node", "rtrain nodes -o name lists them");
  if (known->view.alive || !launcher_.jobs_on(node).empty()) {
    return fail(Errc::kConflict,
                "node " + node + (known->view.away ? " is away and may come back" : " is there") +
                    ": only a node that is lost can be forgotten",
                known->view.away ? "it is lost when its lease is over; rtrain nodes shows it"
                                 : "stop its agent first; rtrain node drain " + node + " empties it");
  }
  context_.nodes.forget(node);
  drain_until_.erase(node);
  settings_[node] = {};
  keep_setting(node);
  log::info("node forgotten", {{"node", node}, {"by", by}});
  turn_.request_pass();
  return ok();
}

Result<Done> NodeAdmin::drain(const std::string& node, const std::string& reason,
                              std::optional<double> deadline_s, const std::string& by) {
  auto found = setting_of(node);
  if (!found) return found.error();
  auto& node_setting = **found;
  node_setting.cordoned = node_setting.draining = true;
  node_setting.reason = reason;
  node_setting.by = by;
  node_setting.since_ms = context_.wall();
  node_setting.drain_until_ms =
      deadline_s ? context_.wall() + static_cast<proto::UnixMs>(*deadline_s * 1000) : 0;
  if (deadline_s)
    drain_until_[node] = context_.now() + from_seconds(*deadline_s);
  else
    drain_until_.erase(node);
  keep_setting(node);
  log::info("node drains", {{"node", node},
                            {"by", by},
                            {"reason", reason},
                            {"jobs", std::to_string(launcher_.jobs_on(node).size())}});
  evacuate(node);
  log_if_drained(node);
  turn_.request_pass();
  return ok();
}

Result<Done> NodeAdmin::label(const std::string& node,
                              const std::map<std::string, std::optional<std::string>>& changes,
                              const std::string& by) {
  for (const auto& [key, value] : changes) {
    if (std::ranges::find(kOwnLabels, key) != kOwnLabels.end())
      return fail(Errc::kInvalidArgument, "the label " + key + " is rtrain's own");
    if (auto good = proto::check_label(key, value.value_or("")); !good) return good;
  }
  auto found = setting_of(node);
  if (!found) return found.error();
  if ((*found)->labels.size() + changes.size() > kLabelsMax)
    return fail(Errc::kLimit, "a node has at most " + std::to_string(kLabelsMax) + " labels");
  const auto* known = context_.nodes.find(node);
  for (const auto& [key, value] : changes) {
    // Only what differs from the agent's own word is kept; of an agent that never came nothing is known.
    const bool of_agent = known == nullptr || known->own_labels.contains(key);
    if (value || of_agent)
      (*found)->labels[key] = value;
    else
      (*found)->labels.erase(key);
    log::info("node labelled", {{"node", node}, {"by", by}, {"label", key + (value ? "=" + *value : "-")}});
  }
  keep_setting(node);
  turn_.request_pass();
  return ok();
}

Result<Done> NodeAdmin::return_gpus(const std::string& node, const std::vector<int>& gpus,
                                    const std::string& by) {
  auto found = setting_of(node);
  if (!found) return found.error();
  auto& node_setting = **found;
  const auto out = node_setting.gpus_out();
  for (const int gpu : gpus)
    if (!out.contains(gpu))
      return fail(Errc::kConflict,
                  "GPU " + std::to_string(gpu) + " of node " + node + " is not out of service");
  if (out.empty()) return fail(Errc::kConflict, "no GPU of node " + node + " is out of service");
  if (gpus.empty())
    node_setting.returned.insert(out.begin(), out.end());
  else
    node_setting.returned.insert(gpus.begin(), gpus.end());
  log::info("GPUs are back in service",
            {{"node", node}, {"by", by}, {"gpus", std::to_string(gpus.empty() ? out.size() : gpus.size())}});
  keep_setting(node);
  turn_.request_pass();
  return ok();
}

// ---- agents -------------------------------------------------------------------------------------

void NodeAdmin::on_health(const std::string& node, const proto::NodeHealth& health) {
  auto& node_setting = settings_[node];
  const std::set<int> quarantined(health.quarantined_gpus.begin(), health.quarantined_gpus.end());
  if (node_setting.quarantined == quarantined && node_setting.quarantine_reason == health.reason) {
    if (node_setting.is_default()) settings_.erase(node);
    return;
  }
  node_setting.quarantined = quarantined;
  node_setting.quarantine_reason = health.reason;
  std::erase_if(node_setting.returned, [&](int gpu) { return !quarantined.contains(gpu); });
  log::warn("what a node can offer has changed",
            {{"node", node},
             {"gpus_out", std::to_string(node_setting.gpus_out().size())},
             {"cause", health.reason}});
  keep_setting(node);
  turn_.request_pass();
}

// ---- drains -------------------------------------------------------------------------------------

void NodeAdmin::evacuate(const std::string& node) {
  const auto& node_setting = setting(node);
  if (!node_setting.draining) return;
  const auto left_s = drain_left_s(node);
  for (const auto id : launcher_.jobs_on(node)) {
    const auto& state = context_.state(id);
    if (!core::is_live(state.phase)) continue;
    double grace_s = state.spec->scheduling.preempt_grace_s;
    if (left_s) grace_s = std::min(*left_s, grace_s);
    const auto why = "node " + node + " is drained by " + node_setting.by +
                     (node_setting.reason.empty() ? "" : ": " + node_setting.reason);
    if (auto done = request_yield(context_, turn_, id, proto::YieldCause::kDrain, why, grace_s); !done)
      log::info("a job cannot be asked to leave a node",
                {{"node", node}, {"job", to_string(id)}, {"cause", done.error().message()}});
  }
}

std::optional<double> NodeAdmin::drain_left_s(const std::string& node) const {
  if (fault::on(fault::Fault::kDrainDeadlineOff)) return std::nullopt;
  const auto& node_setting = setting(node);
  if (const auto until = drain_until_.find(node); until != drain_until_.end())
    return std::max(0.0, Seconds(until->second - context_.now()).count());
  // end_drains() has done with it; an agent that was away at that time comes back and knows nothing of it.
  return node_setting.draining && node_setting.drain_until_ms != 0 ? std::optional(0.0) : std::nullopt;
}

void NodeAdmin::log_if_drained(const std::string& node) const {
  if (setting(node).draining && launcher_.jobs_on(node).empty()) log::info("node drained", {{"node", node}});
}

void NodeAdmin::end_drains() {
  if (fault::on(fault::Fault::kDrainDeadlineOff)) return;
  for (auto it = drain_until_.begin(); it != drain_until_.end();) {
    if (context_.now() < it->second) {
      ++it;
      continue;
    }
    const std::string node = it->first;
    it = drain_until_.erase(it);
    for (const auto id : launcher_.jobs_on(node)) {
      log::warn("a job is still on a node at the deadline of its drain",
                {{"node", node}, {"job", to_string(id)}});
      launcher_.stop(id, {context_.state(id).attempt, core::kFailureGraceS,
                          "the drain of node " + node + " has reached its deadline"});
    }
  }
}

}  // namespace rtrain::head
