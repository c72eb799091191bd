#include "daemon/store/ballast.h"

#include <cerrno>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace rtrain::store {
namespace {

/// Beyond the ballast so much must be free: taking it again must not fill the disk.
constexpr std::int64_t kMargin = 8 << 20;

/// Real blocks, not a hole. Where the file system cannot reserve, zeros are written.
bool reserve(int fd, std::int64_t bytes) {
  if (::fallocate(fd, 0, 0, static_cast<off_t>(bytes)) == 0) return true;
  if (errno != EOPNOTSUPP) return false;
  const std::vector<char> zeros(1 << 20);
  for (std::int64_t at = 0; at < bytes;) {
    const ssize_t n =
        ::pwrite(fd, zeros.data(), static_cast<std::size_t>(std::min<std::int64_t>(bytes - at, 1 << 20)),
                 static_cast<off_t>(at));
    if (n <= 0) return false;
    at += n;
  }
  return true;
}

}  // namespace

std::string no_space_in(const std::string& state_dir) {
  struct statvfs space {};
  if (::statvfs(state_dir.c_str(), &space) != 0) return "no space left in " + state_dir;
  std::string words = std::to_string((space.f_bavail * space.f_frsize) >> 20) + " MiB free";
  rlimit limit{};
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    words += "; no file may be larger than " + std::to_string(limit.rlim_cur >> 10) +
             " KiB, the limit of this process (ulimit -f)";
  return "no space left in " + state_dir + " (" + words + ")";
}

Ballast::Ballast(std::string state_dir, std::int64_t bytes)
    : path_(state_dir + "/ballast"), state_dir_(std::move(state_dir)), bytes_(bytes), there_(bytes == 0) {
  struct stat status {};
  if (bytes_ > 0 && ::stat(path_.c_str(), &status) == 0)
    there_ = static_cast<std::int64_t>(status.st_blocks) * 512 >= bytes_;
}

bool Ballast::free() {
  if (bytes_ == 0 || !there_) return false;
  there_ = false;
  return ::unlink(path_.c_str()) == 0;
}

bool Ballast::fill(std::string& why) {
  if (there_) return true;
  struct statvfs space {};
  if (::statvfs(state_dir_.c_str(), &space) != 0)
    return why = "look at the space in " + state_dir_ + ": " + std::strerror(errno), false;
  const auto room = static_cast<std::int64_t>(space.f_bavail) * static_cast<std::int64_t>(space.f_frsize);
  why = no_space_in(state_dir_) + "; the head wants " + std::to_string((bytes_ + kMargin) >> 20) +
        " MiB in reserve";
  if (room < bytes_ + kMargin) return false;
  const int fd = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  there_ = reserve(fd, bytes_);
  ::close(fd);
  if (!there_) ::unlink(path_.c_str());
  return there_;
}

}  // namespace rtrain::store
