#include "daemon/store/state_lock.h"

#include <cerrno>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace rtrain::store {

Result<StateLock> StateLock::take(const std::string& state_dir) {
  const std::string path = state_dir + "/head.lock";
  StateLock lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (lock.fd_ < 0) return fail_errno("open " + path, errno);
  if (::flock(lock.fd_, LOCK_EX | LOCK_NB) != 0)
    return fail(Errc::kConflict, path + ": another head uses this state_dir",
                "stop it, or give this one its own state_dir");
  return lock;
}

StateLock::StateLock(StateLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

StateLock::~StateLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace rtrain::store
