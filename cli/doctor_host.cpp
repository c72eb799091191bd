#include "cli/doctor_host.h"

#include "cli/text.h"
#include "common/os/cgroup.h"
#include "common/os/file.h"

#include <cerrno>
#include <cstring>
#include <filesystem>

#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace rtrain::cli {
namespace fs = std::filesystem;
namespace {

using proto::Check;
using proto::Health;

constexpr double kMib = 1 << 20;

std::uint64_t soft_limit(int resource) {
  rlimit limit{};
  if (::getrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
    return UINT64_MAX;
  return limit.rlim_cur;
}

/// As an agent that is started here would decide (daemon/agent/rank_groups.cpp): by the same trial.
void look_at_cgroups(HostFacts& facts) {
  auto tried = os::try_cgroup_tree("rtrain-doctor-" + os::random_hex(4));
  if (tried)
    facts.cgroup = *tried;
  else
    facts.cgroup_problem = tried.error().message();
}

void look_at_shm(HostFacts& facts) {
  struct statvfs shm {};
  if (::statvfs("/dev/shm", &shm) != 0) {
    facts.shm_problem = std::strerror(errno);
    return;
  }
  facts.shm_free_bytes = static_cast<double>(shm.f_bavail) * static_cast<double>(shm.f_frsize);
  if (const auto why = why_not_writable("/dev/shm"); !why.empty())
    facts.shm_problem = "cannot be written: " + why;
}

std::string why_not_bound(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return std::strerror(errno);
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  const bool bound = ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  std::string why = bound ? "" : std::strerror(errno);
  ::close(fd);
  return why;
}

/// "" if it can be started.
std::string why_not_executable(const std::string& program) {
  if (::access(program.c_str(), X_OK) != 0) return std::strerror(errno);
  std::error_code error;
  return fs::is_regular_file(program, error) ? "" : "is no file";
}

struct Limit {
  const char *name, *flag, *unit;  ///< `flag` of ulimit, `unit`: the directive of systemd
  std::uint64_t enough, least;
};
constexpr Limit kOpenFiles{"open files", "-n", "LimitNOFILE", 4096, 64};
constexpr Limit kProcesses{"processes", "-u", "LimitNPROC", 4096, 16};

Check judge_limit(const Limit& limit, std::uint64_t found, const char* whose) {
  Check check{limit.name, Health::kOk, "", "", {}};
  if (found == UINT64_MAX) return check.detail = "unlimited", check;
  check.detail = std::to_string(found) + " " + whose;
  check.figures["limit"] = found;
  if (found >= limit.enough) return check;
  check.health = found < limit.least ? Health::kFailure : Health::kWarning;
  const auto enough = std::to_string(limit.enough);
  check.hint =
      std::string(found < limit.least ? "too few to run a job" : "a cluster needs at least " + enough) +
      ": ulimit " + limit.flag + " " + enough + " in the shell, " + limit.unit + "=" + enough +
      " in the service's unit";
  return check;
}

Check judge_locked_memory(const HostFacts& facts) {
  Check check{"locked memory", Health::kOk, "unlimited", "", {}};
  if (facts.locked_memory_bytes == UINT64_MAX) return check;
  check.detail = bytes(static_cast<double>(facts.locked_memory_bytes)) + " per process";
  if (facts.infiniband) {
    check.health = Health::kWarning;
    check.hint =
        "InfiniBand registers memory: ulimit -l unlimited, LimitMEMLOCK=infinity in the service's unit";
  }
  return check;
}

Check judge_memory(const os::UsableMemory& memory) {
  Check check{"memory",
              Health::kOk,
              bytes(static_cast<double>(memory.machine_bytes)),
              "",
              {{"machine_bytes", memory.machine_bytes}, {"usable_bytes", memory.bytes()}}};
  if (memory.limit_bytes)
    check.detail = bytes(static_cast<double>(*memory.limit_bytes)) +
                   ", the limit of the control group; the machine has " + check.detail;
  check.detail += "; an agent offers as much";
  return check;
}

Check judge_address_space(std::uint64_t limit) {
  if (limit == UINT64_MAX) return {"address space", Health::kOk, "unlimited", "", {}};
  return {"address space",
          Health::kWarning,
          bytes(static_cast<double>(limit)) + " per process",
          "LibTorch and CUDA reserve far more addresses than memory: ulimit -v unlimited, LimitAS=infinity "
          "in the "
          "service's unit",
          {{"limit_bytes", limit}}};
}

Check judge_shm(const HostFacts& facts) {
  Check check{"/dev/shm",
              Health::kOk,
              bytes(facts.shm_free_bytes) + " free",
              "",
              {{"free_mib", facts.shm_free_bytes / kMib}}};
  const std::string use = "NCCL's ranks on one machine share memory through it";
  if (!facts.shm_problem.empty()) {
    // Without a GPU nothing of rtrain needs it.
    check.health = facts.nvidia_devices ? Health::kFailure : Health::kWarning;
    check.detail = facts.shm_problem;
    check.hint = use + ": mount a tmpfs there that this user can write";
    check.figures = proto::Json::object();
  } else if (facts.shm_free_bytes < 256 * kMib) {
    check.health = Health::kWarning;
    check.hint = use + ", which takes 256 MiB: a container gets more with --shm-size=1g";
  }
  return check;
}

Check judge_cgroups(const HostFacts& facts) {
  if (facts.cgroup_problem.empty())
    return {"control groups",
            Health::kOk,
            "version 2; an agent started here runs each rank in a group of its own below " + facts.cgroup,
            "",
            {}};
  return {"control groups",
          Health::kWarning,
          "an agent started here runs ranks without groups of their own: " + facts.cgroup_problem,
          "it then finds what they have started by process group, session, environment and parent; it makes "
          "groups "
          "as root, and as a systemd service with Delegate=yes",
          {}};
}

Check judge_port(const PortFacts& port) {
  Check check{"port " + std::to_string(port.port), Health::kOk, "", "", {}};
  if (port.problem.empty()) return check.detail = "free: a head can listen on it for " + port.whom, check;
  check.detail = port.problem + ": a head that is started here cannot listen on it for " + port.whom;
  check.hint = "nothing to do if a head runs here already; else choose another with " + port.option;
  return check;
}

}  // namespace

HostFacts look_at_host(const std::vector<PortFacts>& ports, const std::vector<std::string>& programs) {
  HostFacts facts;
  facts.open_files = soft_limit(RLIMIT_NOFILE);
  facts.processes = soft_limit(RLIMIT_NPROC);
  facts.locked_memory_bytes = soft_limit(RLIMIT_MEMLOCK);
  facts.address_space_bytes = soft_limit(RLIMIT_AS);
  facts.memory = os::usable_memory();
  facts.proc = look_at_proc();
  look_at_shm(facts);
  std::error_code none;
  facts.infiniband = fs::directory_iterator("/sys/class/infiniband", none) != fs::directory_iterator();
  look_at_cgroups(facts);
  facts.ports = ports;
  for (auto& port : facts.ports) port.problem = why_not_bound(port.port);
  for (const auto& program : programs)
    if (const auto why = why_not_executable(program); !why.empty())
      facts.programs_missing.push_back(program + ": " + why);
  facts.nvidia_devices = fs::exists("/dev/nvidia0", none);
  return facts;
}

std::vector<Check> judge_limits(const HostFacts& facts) {
  return {judge_limit(kOpenFiles, facts.open_files, "per process"),
          judge_limit(kProcesses, facts.processes, "for this user"),
          judge_locked_memory(facts),
          judge_address_space(facts.address_space_bytes),
          judge_memory(facts.memory),
          judge_proc(facts.proc),
          judge_shm(facts),
          judge_cgroups(facts)};
}

std::vector<Check> judge_programs(const HostFacts& facts) {
  std::vector<Check> checks;
  for (const auto& port : facts.ports) checks.push_back(judge_port(port));
  for (const auto& program : facts.programs_missing)
    checks.push_back({"programs",
                      Health::kFailure,
                      program,
                      "rtrain starts it from its own folder: unpack or install rtrain as a whole",
                      {}});
  return checks;
}

}  // namespace rtrain::cli
