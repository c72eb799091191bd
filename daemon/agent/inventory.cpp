#include "daemon/agent/inventory.h"

#include "common/os/file.h"
#include "common/os/memory_group.h"
#include "common/os/nvml.h"

#include <fstream>
#include <memory>

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

namespace rtrain::agent {
namespace {

int usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
}

/// PRETTY_NAME of os-release(5), without its quotes.
std::string os_name() {
  std::ifstream file("/etc/os-release");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("PRETTY_NAME=\"") && line.ends_with('"')) return line.substr(13, line.size() - 14);
  return "Linux";
}

}  // namespace

proto::NodeInfo take_inventory(const proto::AgentConfig& config) {
  proto::NodeInfo node;
  node.name = config.node_name.empty() ? os::host_name() : config.node_name;
  node.address = config.address;
  node.labels = config.labels;
  const auto found = os::ask_nvml();
  std::vector<proto::GpuInfo> offered;
  for (const auto& gpu : found.gpus) offered.push_back({gpu.index, gpu.uuid, gpu.name, gpu.memory_bytes});
  node.resources = {{"CPU", usable_cpus()}, {"memory", static_cast<double>(os::usable_memory().bytes())}};
  if (!found.gpus.empty()) node.resources["GPU"] = static_cast<double>(found.gpus.size());
  for (const auto& [name, amount] : config.resources) node.resources[name] = amount;
  // GPUs that the config declares beyond those found (or without NVML) are known by number only; fewer: the
  // first ones are offered.
  const auto gpus = static_cast<std::size_t>(node.resources.contains("GPU") ? node.resources["GPU"] : 0);
  offered.resize(std::min(offered.size(), gpus));
  // NVML leaves a number out whose GPU cannot be opened: it is not given to another.
  int next = 0;
  for (const auto& gpu : offered) next = std::max(next, gpu.index + 1);
  for (; offered.size() < gpus; ++next) offered.push_back({next, "", "declared", 0});
  node.gpus = std::move(offered);
  utsname kernel{};
  ::uname(&kernel);
  node.versions = {{"rtrain", RTRAIN_VERSION}, {"os", os_name()}, {"kernel", kernel.release}};
  if (!found.driver_version.empty()) node.versions["cuda_driver"] = found.driver_version;
  return node;
}

std::string interface_of(const std::string& address) {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return {};
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(list, ::freeifaddrs);
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    char text[INET6_ADDRSTRLEN] = "";
    if (entry->ifa_addr->sa_family == AF_INET)
      ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr, text,
                  sizeof(text));
    else if (entry->ifa_addr->sa_family == AF_INET6)
      ::inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(entry->ifa_addr)->sin6_addr, text,
                  sizeof(text));
    if (address == text) return entry->ifa_name;
  }
  return {};
}

}  // namespace rtrain::agent
