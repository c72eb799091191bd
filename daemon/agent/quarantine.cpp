#include "daemon/agent/quarantine.h"

#include "common/log/log.h"
#include "common/os/cgroup.h"
#include "common/os/file.h"

#include <algorithm>
#include <set>

namespace rtrain::agent {
namespace {

using proto::Json;

std::string list(const std::vector<int>& numbers) {
  std::string text;
  for (const int number : numbers) text += (text.empty() ? "" : ",") + std::to_string(number);
  return text;
}

Json to_json(const Quarantine::Entry& entry) {
  return {{"job", entry.key.job.value()}, {"attempt", entry.key.attempt.value()},
          {"rank", entry.key.rank},       {"gpus", entry.gpus},
          {"pid", entry.process.pid},     {"start_ticks", entry.process.start_ticks},
          {"boot", entry.process.boot},   {"cgroup", entry.cgroup}};
}

Quarantine::Entry entry_of(const Json& json) {
  Quarantine::Entry entry;
  entry.key = {JobId(json.at("job").get<std::int64_t>()), Attempt(json.at("attempt").get<std::int64_t>()),
               json.at("rank").get<int>()};
  entry.gpus = json.at("gpus").get<std::vector<int>>();
  entry.process = {json.at("pid").get<pid_t>(), json.at("start_ticks").get<std::uint64_t>(),
                   json.at("boot").get<std::string>()};
  entry.cgroup = json.at("cgroup").get<std::string>();
  return entry;
}

}  // namespace

Quarantine::Quarantine(const std::string& state_dir, Holds holds)
    : path_(state_dir + "/quarantine.json"), holds_(std::move(holds)) {
  read();
  release();
  for (const auto& entry : entries_)
    log::warn("a process of an earlier rank still does not end", {{"rank", to_string(entry.key)},
                                                                  {"pid", std::to_string(entry.process.pid)},
                                                                  {"gpus", list(entry.gpus)}});
}

bool Quarantine::is_held(const Entry& entry) {
  if (entry.process.boot != os::boot_id()) return false;
  return os::fate_of(entry.process) == os::ProcessFate::kRuns ||
         (!entry.cgroup.empty() && !os::is_cgroup_empty(entry.cgroup));
}

void Quarantine::add(Entry entry) {
  if (std::ranges::any_of(entries_, [&](const Entry& other) { return other.key == entry.key; })) return;
  log::error("a process does not end on SIGKILL: its GPUs are quarantined until it has gone",
             {{"rank", to_string(entry.key)},
              {"pid", std::to_string(entry.process.pid)},
              {"gpus", list(entry.gpus)}});
  entries_.push_back(std::move(entry));
  ever_ = true;
  write();
}

bool Quarantine::release() {
  const auto gone = std::erase_if(entries_, [this](const Entry& entry) {
    if (holds_(entry)) return false;
    log::info("a process that did not end on SIGKILL has gone", {{"rank", to_string(entry.key)},
                                                                 {"pid", std::to_string(entry.process.pid)},
                                                                 {"gpus", list(entry.gpus)}});
    if (!entry.cgroup.empty()) os::remove_cgroup(entry.cgroup);
    return true;
  });
  if (gone > 0) write();
  return gone > 0;
}

proto::NodeHealth Quarantine::health() const {
  proto::NodeHealth health;
  std::set<int> gpus;
  for (const auto& entry : entries_) {
    if (entry.gpus.empty()) continue;
    gpus.insert(entry.gpus.begin(), entry.gpus.end());
    health.reason += (health.reason.empty() ? "" : "; ") + std::string("process ") +
                     std::to_string(entry.process.pid) + " of rank " + to_string(entry.key) +
                     " does not end on SIGKILL";
  }
  health.quarantined_gpus.assign(gpus.begin(), gpus.end());
  return health;
}

void Quarantine::read() {
  const auto text = os::read_file(path_, 1u << 20);
  if (!text) return;  // as a rule there is none
  ever_ = true;
  const auto json = proto::parse_json(*text);
  const auto give_up = [this](const std::string& why) {
    log::error("the GPUs that an earlier agent quarantined are not known", {{"file", path_}, {"cause", why}});
  };
  if (!json) return give_up(json.error().message());
  try {
    for (const auto& entry : *json) entries_.push_back(entry_of(entry));
  } catch (const Json::exception& e) {
    give_up(e.what());
  }
}

void Quarantine::write() const {
  Json json = Json::array();
  for (const auto& entry : entries_) json.push_back(to_json(entry));
  if (auto written = os::write_file_atomic(path_, proto::dump_json(json) + "\n", 0600); !written)
    log::error("an agent that is started after this one will not know the quarantined GPUs",
               {{"cause", written.error().message()}});
}

}  // namespace rtrain::agent
