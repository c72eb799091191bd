#include "daemon/agent/old_jobs.h"

#include "common/log/log.h"
#include "daemon/agent/attempt_record.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <sys/stat.h>

namespace rtrain::agent {
namespace fs = std::filesystem;
namespace {

std::int64_t newest_write_ms(const fs::path& folder) {
  struct stat own {};
  std::int64_t newest = ::lstat(folder.c_str(), &own) == 0 ? own.st_mtim.tv_sec * 1000LL : 0;
  std::error_code ec;
  for (auto it = fs::recursive_directory_iterator(folder, ec);
       !ec && it != fs::recursive_directory_iterator(); it.increment(ec)) {
    struct stat info {};
    if (::lstat(it->path().c_str(), &info) == 0)
      newest = std::max<std::int64_t>(newest, info.st_mtim.tv_sec * 1000LL);
  }
  return newest;
}

}  // namespace

void OldJobs::step(std::chrono::steady_clock::time_point now, std::int64_t now_ms) {
  if (left_.empty()) {
    if (now < next_look_) return;
    next_look_ = now + kLookEach;
    std::error_code ec;
    for (auto it = fs::directory_iterator(jobs_dir_, ec); !ec && it != fs::directory_iterator();
         it.increment(ec))
      left_.push_back(it->path().string());
  }
  for (int looked = 0; looked < kFoldersAtOnce && !left_.empty(); ++looked) {
    look_at(left_.back(), now_ms);
    left_.pop_back();
  }
  if (!left_.empty() || removed_ == 0) return;
  log::info("folders of old jobs are removed",
            {{"folder", jobs_dir_}, {"jobs", std::to_string(std::exchange(removed_, 0))}});
}

void OldJobs::look_at(const std::string& folder, std::int64_t now_ms) {
  if (has_live_attempt(folder)) return;
  constexpr std::int64_t kKeepMs = std::chrono::milliseconds(kKeep).count();
  if (now_ms - newest_write_ms(folder) < kKeepMs) return;
  std::error_code failed;
  fs::remove_all(folder, failed);
  if (failed)
    log::warn("an old job's folder cannot be removed", {{"folder", folder}, {"cause", failed.message()}});
  else
    ++removed_;
}

}  // namespace rtrain::agent
