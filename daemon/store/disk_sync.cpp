#include "daemon/store/disk_sync.h"

#include "daemon/store/disk_error.h"

#include <fcntl.h>
#include <unistd.h>

namespace rtrain::store {
namespace {

/// The system may have dropped what could not be forced to the disk: this never passes, whatever it was that
/// lacked.
Error sync_error(const std::string& what, int error_number) {
  return fail(Errc::kIo, fail_errno(what, error_number).message());
}

class Forced final : public DiskSync {
  Result<Done> file(int fd, const std::string& path) override {
    if (::fdatasync(fd) != 0) return sync_error("fdatasync " + path, errno);
    return ok();
  }
  Result<Done> folder(const std::string& path) override { return opened(path, ::fsync, "fsync "); }
  Result<Done> file_system(const std::string& path) override { return opened(path, ::syncfs, "syncfs "); }

  static Result<Done> opened(const std::string& path, int (*sync)(int), const char* name) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return disk_error("open " + path, errno);
    const int failed = sync(fd) != 0 ? errno : 0;
    ::close(fd);
    if (failed != 0) return sync_error(name + path, failed);
    return ok();
  }
};

class NotForced final : public DiskSync {
  Result<Done> file(int, const std::string&) override { return ok(); }
  Result<Done> folder(const std::string&) override { return ok(); }
  Result<Done> file_system(const std::string&) override { return ok(); }
};

}  // namespace

DiskSync& forced_to_disk() {
  static Forced disk;
  return disk;
}

DiskSync& left_to_the_system() {
  static NotForced disk;
  return disk;
}

}  // namespace rtrain::store
