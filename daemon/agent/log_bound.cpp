#include "daemon/agent/log_bound.h"

#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rtrain::agent {
namespace {

// what is left of a block that is cut in part would be zeros in the log
constexpr std::int64_t kBlock = 4096;

}  // namespace

std::int64_t log_begin(int fd) {
  const auto begin = ::lseek(fd, 0, SEEK_DATA);
  if (begin >= 0) return begin;
  struct stat info {};
  return errno == ENXIO && ::fstat(fd, &info) == 0 ? info.st_size : 0;  // else a file system without holes
}

Result<std::int64_t> bound_log(const std::string& path, std::int64_t bytes_max) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0)
    return errno == ENOENT ? Result<std::int64_t>(fail(Errc::kNotFound, path + ": no such file"))
                           : fail_errno("stat " + path, errno);
  if (info.st_size <= bytes_max) return 0;
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return fail_errno("open " + path, errno);
  const auto begin = log_begin(fd);
  const auto cut_to = (info.st_size - bytes_max / 8 * 7) / kBlock * kBlock;
  const bool over = info.st_size - begin > bytes_max && cut_to > begin;
  const int error =
      over && ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, cut_to) != 0 ? errno : 0;
  ::close(fd);
  if (error != 0) return fail_errno("cut " + path, error);
  return over ? cut_to - begin : 0;
}

}  // namespace rtrain::agent
