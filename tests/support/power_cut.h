// A disk that remembers what was forced to it: what a power cut would leave.
#pragma once

#include "daemon/store/disk_sync.h"

#include <filesystem>
#include <map>
#include <set>
#include <string>

#include <sys/stat.h>

namespace rtrain::test {

class PowerCut final : public store::DiskSync {
 public:
  explicit PowerCut(std::string root) : root_(std::move(root)) {}

  /// So many bytes of a file are there after a power cut; 0 also where one of the folders above it has no
  /// entry for it.
  [[nodiscard]] std::int64_t bytes_left(const std::string& path) const {
    const auto file = files_.find(path);
    if (file == files_.end()) return 0;
    for (std::filesystem::path entry = path; entry != root_; entry = entry.parent_path()) {
      const auto folder = entries_.find(entry.parent_path().string());
      if (folder == entries_.end() || !folder->second.contains(entry.filename().string())) return 0;
    }
    return file->second;
  }
  bool out_of_files = false;  ///< a folder cannot be opened, and so not be synced

 private:
  Result<Done> file(int fd, const std::string& path) override {
    struct stat info {};
    if (::fstat(fd, &info) != 0) return fail_errno("fstat " + path, errno);
    files_[path] = info.st_size;
    return ok();
  }
  Result<Done> folder(const std::string& path) override {
    if (out_of_files) return fail(Errc::kLimit, "open " + path + ": too many open files");
    auto& names = entries_[path];
    names.clear();
    for (const auto& entry : std::filesystem::directory_iterator(path))
      names.insert(entry.path().filename().string());
    return ok();
  }
  Result<Done> file_system(const std::string& path) override {
    if (auto done = folder(path); !done) return done;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
      if (entry.is_directory())
        static_cast<void>(folder(entry.path().string()));
      else
        files_[entry.path().string()] = static_cast<std::int64_t>(entry.file_size());
    }
    return ok();
  }

  std::string root_;
  std::map<std::string, std::int64_t> files_;
  std::map<std::string, std::set<std::string>> entries_;
};

}  // namespace rtrain::test
