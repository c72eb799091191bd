#include "common/os/new_file.h"

#include "common/os/file.h"
#include "common/os/interruptible.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>

namespace rtrain::os {
namespace {

/// rename() that fails with EEXIST rather than to replace. File systems without it (NFS) have link(); where
/// there is neither (object stores in FUSE), what is there is looked for just before.
int rename_new(const char* from, const char* to) {
  if (::renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return -1;
  if (::link(from, to) == 0) {
    ::unlink(from);
    return 0;
  }
  if (errno == EEXIST) return -1;
  if (::faccessat(AT_FDCWD, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
    errno = EEXIST;
    return -1;
  }
  return ::rename(from, to);
}

}  // namespace

Result<std::unique_ptr<NewFile>> NewFile::create(const std::string& path, unsigned mode) {
  static std::atomic<unsigned> counter{0};
  // One of that name may be left of a process that was killed: in containers numbers of processes repeat.
  for (int tries = 0;; ++tries) {
    std::string temporary = path + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
    const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd >= 0) return std::make_unique<NewFile>(fd, path, std::move(temporary));
    if (errno != EEXIST || tries == 1000) return fail_errno("create " + temporary, errno);
  }
}

NewFile::NewFile(int fd, std::string path, std::string temporary)
    : fd_(fd), path_(std::move(path)), temporary_(std::move(temporary)) {}

NewFile::~NewFile() {
  ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Result<Done> NewFile::write(std::string_view bytes) {
  const auto at = size_;
  size_ += bytes.size();
  return overwrite(at, bytes);
}

Result<Done> NewFile::overwrite(std::uint64_t at, std::string_view bytes) {
  while (!bytes.empty()) {
    if (Interruptible::signal() != 0) return fail(Errc::kIo, path_ + ": interrupted");
    const auto wrote =
        ::pwrite(fd_, bytes.data(), std::min<std::size_t>(bytes.size(), 1u << 30), static_cast<off_t>(at));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return fail_errno("write " + path_, errno);
    bytes.remove_prefix(static_cast<std::size_t>(wrote));
    at += static_cast<std::uint64_t>(wrote);
  }
  return ok();
}

Result<Done> NewFile::commit() {
  if (::fsync(fd_) != 0) return fail_errno("fsync " + path_, errno);
  if (rename_new(temporary_.c_str(), path_.c_str()) != 0) {
    if (errno == EEXIST)
      return fail(Errc::kConflict, path_ + ": appeared while its content was written, and is left alone");
    return fail_errno("rename to " + path_, errno);
  }
  temporary_.clear();
  const auto folder = std::filesystem::path(path_).parent_path().string();
  return fsync_path(folder.empty() ? "." : folder);
}

}  // namespace rtrain::os
