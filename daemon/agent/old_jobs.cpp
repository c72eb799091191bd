#include "daemon/agent/old_jobs.h"

#include "common/log/log.h"
#include "daemon/agent/attempt_record.h"

#include <algorithm>
#include <filesystem>

#include <sys/stat.h>

namespace rtrain::agent {
namespace fs = std::filesystem;
namespace {

constexpr std::int64_t kKeepMs = 7LL * 24 * 3600 * 1000;

std::int64_t newest_write_ms(const fs::path& folder) {
  std::int64_t newest = 0;
  std::error_code ec;
  for (auto it = fs::recursive_directory_iterator(folder, ec); !ec && it != fs::recursive_directory_iterator(); it.increment(ec)) {
    struct stat info {};
    if (::lstat(it->path().c_str(), &info) == 0) newest = std::max<std::int64_t>(newest, info.st_mtim.tv_sec * 1000LL);
  }
  return newest;
}

}  // namespace

void remove_old_jobs(const std::string& state_dir, std::int64_t now_ms) {
  std::error_code ec;
  for (const auto& job : fs::directory_iterator(state_dir + "/jobs", ec)) {
    if (has_live_attempt(job.path())) continue;  // a rank may be silent for as long as it likes
    if (now_ms - newest_write_ms(job.path()) < kKeepMs) continue;
    std::error_code removed;
    fs::remove_all(job.path(), removed);
    log::info("an old job's folder is removed", {{"folder", job.path().string()}});
  }
}

}  // namespace rtrain::agent
