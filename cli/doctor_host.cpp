#include "cli/doctor_host.h"

#include "cli/text.h"
#include "common/os/cgroup.h"
#include "common/os/file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>

#include <fcntl.h>
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
using Clock = std::chrono::steady_clock;

constexpr double kMib = 1 << 20, kGib = 1 << 30;

std::uint64_t soft_limit(int resource) {
  rlimit limit{};
  if (::getrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
    return UINT64_MAX;
  return limit.rlim_cur;
}

double ms_since(Clock::time_point begun) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begun).count();
}

/// A file that is gone with its descriptor.
class Scratch {
 public:
  explicit Scratch(const std::string& folder)
      : fd_(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)) {
    if (fd_ >= 0) return;
    std::string path = folder + "/.rtrain-doctor-XXXXXX";  // a file system without O_TMPFILE
    fd_ = ::mkostemp(path.data(), O_CLOEXEC);
    if (fd_ >= 0) ::unlink(path.c_str());
  }
  ~Scratch() {
    if (fd_ >= 0) ::close(fd_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  [[nodiscard]] bool open() const { return fd_ >= 0; }
  /// errno is why not.
  [[nodiscard]] bool write(std::string_view data, int times = 1) const {
    for (; times > 0; --times) {
      for (auto left = data; !left.empty();) {
        const auto count = ::write(fd_, left.data(), left.size());
        if (count < 0 && errno == EINTR) continue;
        // Less than was asked: only the next call tells why.
        if (count < 0) return false;
        left.remove_prefix(static_cast<std::size_t>(count));
      }
    }
    return ::fsync(fd_) == 0;
  }

 private:
  int fd_;
};

/// SIGXFSZ would end the program where a file meets ulimit -f; ignored, write() gives EFBIG.
class IgnoreFileSize {
 public:
  IgnoreFileSize() : before_(std::signal(SIGXFSZ, SIG_IGN)) {}
  ~IgnoreFileSize() { std::signal(SIGXFSZ, before_); }
  IgnoreFileSize(const IgnoreFileSize&) = delete;
  IgnoreFileSize& operator=(const IgnoreFileSize&) = delete;

 private:
  void (*before_)(int);
};

/// The nearest folder at or above `path`; `problem` when there is something else in its place.
std::string nearest_folder(const std::string& path, std::string& problem) {
  for (fs::path folder = path;; folder = folder.parent_path()) {
    std::error_code error;
    const auto status = fs::status(folder, error);
    if (fs::is_directory(status)) return folder.string();
    if (fs::exists(status)) return problem = folder.string() + " is not a folder", "";
    if (status.type() != fs::file_type::not_found)
      return problem = folder.string() + ": " + error.message(), "";
    if (!folder.has_relative_path()) return problem = folder.string() + " is not there", "";
  }
}

StorageFacts look_at_storage(const std::string& path) {
  StorageFacts facts;
  facts.path = path;
  const auto folder = nearest_folder(path, facts.problem);  // a run makes the rest
  if (!facts.problem.empty()) return facts;
  facts.is_there = folder == path;
  struct statvfs space {};
  double free_bytes = 0;
  if (::statvfs(folder.c_str(), &space) == 0)
    free_bytes = static_cast<double>(space.f_bavail) * static_cast<double>(space.f_frsize);
  facts.free_gib = free_bytes / kGib;
  const IgnoreFileSize file_size;
  const Scratch file(folder);
  if (!file.open()) return facts.problem = folder + ": " + std::strerror(errno), facts;
  const auto full = [&](const char* what) {
    facts.problem = folder + ": " + std::strerror(errno) + " for a file of " + what + "; " +
                    bytes(free_bytes) + " are free";
    return facts;
  };
  std::array<double, 16> waits{};
  const std::string page(4096, 'x'), much(std::size_t{1} << 20, 'x');
  for (auto& wait : waits) {
    const auto begun = Clock::now();
    if (!file.write(page)) return full("64 KiB");
    wait = ms_since(begun);
  }
  std::ranges::sort(waits);
  facts.fsync_ms = waits[waits.size() / 2];
  constexpr int kMuchTimes = 64;
  const auto begun = Clock::now();
  if (!file.write(much, kMuchTimes)) return full("64 MiB");
  facts.write_mb_s = static_cast<double>(much.size()) * kMuchTimes / 1e6 / (ms_since(begun) / 1000);
  return facts;
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
  const std::string why = bound ? "" : std::strerror(errno);
  ::close(fd);
  return why;
}

std::string amount_of(double value, const char* unit) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), value < 10 ? "%.2f %s" : "%.0f %s", value, unit);
  return text.data();
}

std::string limit_text(std::uint64_t limit) {
  return limit == UINT64_MAX ? "unlimited" : std::to_string(limit);
}

std::string cuda_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

Check judge_limit(const char* name, std::uint64_t limit, std::uint64_t enough, const char* what,
                  const char* flag) {
  Check check{name, Health::kOk, limit_text(limit) + " " + what, "", {}};
  if (limit != UINT64_MAX) check.figures["limit"] = limit;
  if (limit >= enough) return check;
  check.health = Health::kWarning;
  check.hint = "at least " + std::to_string(enough) + ": ulimit " + flag +
               " in the shell, Limit... in the service's unit";
  return check;
}

Check judge_storage(const StorageFacts& storage) {
  if (!storage.problem.empty())
    return {"storage",
            Health::kFailure,
            storage.problem,
            "name a folder with room that can be written: --storage DIR, and storage_path in job files",
            {}};
  Check check{
      "storage",
      Health::kOk,
      "",
      "",
      {{"free_gib", storage.free_gib}, {"fsync_ms", storage.fsync_ms}, {"write_mb_s", storage.write_mb_s}}};
  check.detail = storage.path + ": " + (storage.is_there ? "" : "not there yet, a job makes it; ") +
                 amount_of(storage.free_gib, "GiB") + " free, fsync " + amount_of(storage.fsync_ms, "ms") +
                 ", " + amount_of(storage.write_mb_s, "MB/s") + " written";
  if (storage.free_gib < 1) {
    check.health = Health::kWarning;
    check.hint = "less than 1 GiB is free: checkpoints will not fit";
  } else if (storage.fsync_ms > 20) {
    check.health = Health::kWarning;
    check.hint = "each submit waits for an fsync: put the head's state_dir on a faster disk";
  }
  return check;
}

Check judge_gpu(const os::Gpu& gpu, const os::GpuState* state) {
  Check check{"nvml " + std::to_string(gpu.index),
              Health::kOk,
              gpu.name + ", " + amount_of(static_cast<double>(gpu.memory_bytes) / kGib, "GiB"),
              "",
              {{"memory_bytes", gpu.memory_bytes}}};
  if (state == nullptr) return check;
  if (state->sm_clock_mhz > 0)
    check.detail += ", " + std::to_string(state->sm_clock_mhz) + " of " +
                    std::to_string(state->sm_clock_max_mhz) + " MHz";
  if (state->temperature_c > 0) check.detail += ", " + std::to_string(state->temperature_c) + " C";
  check.figures["memory_used_bytes"] = state->memory_used_bytes;
  if (state->uncorrected_errors.value_or(0) > 0) {
    check.health = Health::kFailure;
    check.detail += ", " + std::to_string(*state->uncorrected_errors) + " uncorrected memory errors";
    check.hint = "the memory is broken: take the GPU out of service, then reset or replace it";
  } else if (!state->processes.empty()) {
    check.health = Health::kWarning;
    check.detail +=
        ", in use by process " + std::to_string(state->processes.front()) +
        (state->processes.size() > 1 ? " and " + std::to_string(state->processes.size() - 1) + " more" : "");
    check.hint = "a job that gets this GPU shares it with them";
  }
  return check;
}

}  // namespace

HostFacts look_at_host(const std::string& storage, const std::vector<PortFacts>& ports,
                       const std::vector<std::string>& programs) {
  HostFacts facts;
  facts.open_files = soft_limit(RLIMIT_NOFILE);
  facts.locked_memory_bytes = soft_limit(RLIMIT_MEMLOCK);
  facts.processes = soft_limit(RLIMIT_NPROC);
  struct statvfs shm {};
  facts.shm_free_mib = ::statvfs("/dev/shm", &shm) == 0
                           ? static_cast<double>(shm.f_bavail) * static_cast<double>(shm.f_frsize) / kMib
                           : -1;
  std::error_code none;
  facts.infiniband = fs::directory_iterator("/sys/class/infiniband", none) != fs::directory_iterator();
  if (!fs::exists("/sys/fs/cgroup/cgroup.controllers", none))
    facts.cgroups = "this machine has no control groups of version 2";
  facts.storage = look_at_storage(storage);
  facts.ports = ports;
  for (auto& port : facts.ports) port.problem = why_not_bound(port.port);
  for (const auto& program : programs)
    if (!fs::is_regular_file(program, none) || ::access(program.c_str(), X_OK) != 0)
      facts.programs_missing.push_back(program);
  facts.nvidia_devices = fs::exists("/dev/nvidia0", none);
  return facts;
}

std::vector<Check> judge(const HostFacts& facts) {
  std::vector<Check> checks;
  checks.push_back(judge_limit("open files", facts.open_files, 4096, "descriptors a process", "-n"));
  checks.push_back(judge_limit("processes", facts.processes, 4096, "processes of this user", "-u"));
  auto& memory =
      checks.emplace_back(Check{"locked memory",
                                Health::kOk,
                                facts.locked_memory_bytes == UINT64_MAX
                                    ? "unlimited"
                                    : amount_of(static_cast<double>(facts.locked_memory_bytes) / kMib, "MiB"),
                                "",
                                {}});
  if (facts.infiniband && facts.locked_memory_bytes != UINT64_MAX) {
    memory.health = Health::kWarning;
    memory.hint =
        "InfiniBand registers memory: ulimit -l unlimited, LimitMEMLOCK=infinity in the service's unit";
  }
  auto& shm = checks.emplace_back(Check{"/dev/shm",
                                        Health::kOk,
                                        amount_of(facts.shm_free_mib, "MiB") + " free",
                                        "",
                                        {{"free_mib", facts.shm_free_mib}}});
  if (facts.shm_free_mib < 0)
    shm = {"/dev/shm",
           Health::kFailure,
           "is not there",
           "NCCL's ranks on one machine share memory through it: mount a tmpfs",
           {}};
  else if (facts.shm_free_mib < 256)
    shm.health = Health::kWarning,
    shm.hint =
        "NCCL's ranks on one machine share memory through it; a container gets more with --shm-size=1g";
  checks.push_back(facts.cgroups.empty()
                       ? Check{"control groups", Health::kOk, "version 2", "", {}}
                       : Check{"control groups",
                               Health::kWarning,
                               facts.cgroups,
                               "ranks are identified by session, and memory limits are not enforced",
                               {}});
  checks.push_back(judge_storage(facts.storage));
  for (const auto& port : facts.ports)
    checks.push_back(
        {"port " + std::to_string(port.port),
         Health::kOk,
         port.problem.empty() ? "free for " + port.what : port.what + ": " + port.problem,
         port.problem.empty()
             ? ""
             : "fine when the head itself has it; else choose another with --listen or --api-listen",
         {}});
  for (const auto& program : facts.programs_missing)
    checks.push_back({"programs",
                      Health::kFailure,
                      program + " is not there, or not executable",
                      "rtrain starts it from its own folder: unpack or install rtrain as a whole",
                      {}});
  return checks;
}

std::vector<Check> judge_gpus(const HostFacts& facts) {
  if (!facts.nvml.problem.empty())
    return {{"gpus",
             Health::kFailure,
             facts.nvml.problem,
             "dmesg says what the driver met (NVRM, Xid); load it anew or reboot, and see whether nvidia-smi "
             "answers",
             {}}};
  std::vector<Check> checks;
  for (const auto& gpu : facts.nvml.gpus.gpus) {
    const auto state = std::ranges::find(facts.nvml.states, gpu.index, &os::GpuState::index);
    checks.push_back(judge_gpu(gpu, state == facts.nvml.states.end() ? nullptr : &*state));
  }
  return checks;
}

std::optional<Check> read_check(const std::string& line) {
  const auto json = proto::parse_json(line);
  if (!json) return std::nullopt;
  try {
    auto check = json->get<Check>();
    if (check.name.empty() || !check.figures.is_object()) return std::nullopt;
    return check;
  } catch (const proto::Json::exception&) {
    return std::nullopt;
  }
}

int whole_figure(const Check& check, const std::string& name, int otherwise) {
  const auto found = check.figures.find(name);
  return found != check.figures.end() && found->is_number_integer() ? found->get<int>() : otherwise;
}

std::vector<Check> judge_cuda(const HostFacts& facts, int libtorch_cuda, int libtorch_gpus) {
  if (!facts.nvml.problem.empty()) return {};  // judge_gpus() has said it
  const int gpus = static_cast<int>(facts.nvml.gpus.gpus.size()), driver = facts.nvml.gpus.cuda_version;
  const std::string counts =
      "NVML sees " + std::to_string(gpus) + ", LibTorch " + std::to_string(libtorch_gpus);
  if (gpus == 0 && libtorch_gpus == 0 && !facts.nvidia_devices)
    return {{"gpus", Health::kOk, "none: jobs train on the CPU", "", {{"gpus", 0}}}};
  if (gpus == 0 && facts.nvidia_devices)
    return {{"gpus",
             Health::kFailure,
             "/dev/nvidia0 is there, NVML (libnvidia-ml.so.1) is not, or does not start",
             "install the driver's libraries; in a container, the NVIDIA runtime",
             {}}};
  if (libtorch_cuda == 0)
    return {{"gpus",
             Health::kFailure,
             counts + ": this LibTorch has no CUDA",
             "take a CUDA build of LibTorch",
             {{"gpus", gpus}}}};
  if (driver > 0 && driver / 1000 < libtorch_cuda / 1000)
    return {{"gpus",
             Health::kFailure,
             "driver " + facts.nvml.gpus.driver_version + " serves CUDA " + cuda_text(driver) +
                 ", LibTorch needs " + cuda_text(libtorch_cuda),
             "install a newer driver, or a LibTorch for CUDA " + cuda_text(driver),
             {{"gpus", gpus}}}};
  if (gpus != libtorch_gpus)
    return {{"gpus",
             libtorch_gpus == 0 ? Health::kFailure : Health::kWarning,
             counts,
             "CUDA_VISIBLE_DEVICES hides GPUs; dmesg says whether one fell off the bus",
             {{"gpus", gpus}}}};
  return {
      {"gpus",
       Health::kOk,
       std::to_string(gpus) + ", driver " + facts.nvml.gpus.driver_version + " for CUDA " + cuda_text(driver),
       "",
       {{"gpus", gpus}}}};
}

}  // namespace rtrain::cli
