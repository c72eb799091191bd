#include <rtrain/loggers/run_folder.h>

#include <rtrain/context.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <map>
#include <mutex>
#include <stdexcept>

namespace rtrain {
namespace {

namespace fs = std::filesystem;

/// version_N, above all that are there.
std::string next_version(const fs::path& parent) {
  std::int64_t next = 0;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(parent, ec)) {
    const auto name = entry.path().filename().string();
    std::int64_t number = 0;
    if (!name.starts_with("version_")) continue;
    const char* end = name.data() + name.size();
    if (std::from_chars(name.data() + 8, end, number).ptr == end) next = std::max(next, number + 1);
  }
  return "version_" + std::to_string(next);
}

/// The run's name; for the second one that asks in this process "<name>-1". Every attempt asks in the same
/// order.
std::string version_in_job(const fs::path& parent, const std::string& run) {
  static std::mutex mutex;
  static auto* const asked = new std::map<std::string, int>;
  const std::lock_guard lock(mutex);
  const int before = (*asked)[(parent / run).lexically_normal().string()]++;
  return before == 0 ? run : run + "-" + std::to_string(before);
}

}  // namespace

RunFolder::RunFolder(fs::path save_dir, std::string name, std::optional<std::string> version,
                     fs::path sub_dir)
    : save_dir_(std::move(save_dir)),
      name_(std::move(name)),
      version_(std::move(version)),
      sub_dir_(std::move(sub_dir)) {}

const std::string& RunFolder::version() const {
  if (!version_) {
    const auto parent = name_.empty() ? save_dir_ : save_dir_ / name_;
    const auto run = get_context().get_trial_name();
    version_ = run.empty() ? next_version(parent) : version_in_job(parent, run);
  }
  return *version_;
}

fs::path RunFolder::path() const {
  auto path = name_.empty() ? save_dir_ : save_dir_ / name_;
  path /= version();
  return sub_dir_.empty() ? path : path / sub_dir_;
}

fs::path RunFolder::create(const std::string& who) const {
  auto folder = path();
  std::error_code ec;
  fs::create_directories(folder, ec);
  if (ec) throw std::runtime_error(who + ": " + folder.string() + ": " + ec.message());
  return folder;
}

}  // namespace rtrain
