#include "common/os/open_file.h"

#include "common/os/interruptible.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace rtrain::os {

Result<std::shared_ptr<const OpenFile>> OpenFile::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a FIFO does not block
  if (fd < 0 && errno == ENOENT) return fail(Errc::kNotFound, path + ": no such file");
  if (fd < 0) return fail_errno("open " + path, errno);
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    return fail(Errc::kIo, path + ": not a regular file");
  }
  return std::make_shared<const OpenFile>(fd, path, static_cast<std::uint64_t>(info.st_size));
}

OpenFile::OpenFile(int fd, std::string path, std::uint64_t size)
    : fd_(fd), path_(std::move(path)), size_(size) {}

OpenFile::~OpenFile() { ::close(fd_); }

Result<Done> OpenFile::read(std::uint64_t at, std::span<char> into) const {
  if (at > size_ || into.size() > size_ - at) return fail(Errc::kIo, path_ + ": the file ends too early");
  while (!into.empty()) {
    if (Interruptible::signal() != 0) return fail(Errc::kIo, path_ + ": interrupted");
    const auto got =
        ::pread(fd_, into.data(), std::min<std::size_t>(into.size(), 1u << 30), static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("read " + path_, errno);
    if (got == 0) return fail(Errc::kIo, path_ + ": the file got shorter while it was read");
    into = into.subspan(static_cast<std::size_t>(got));
    at += static_cast<std::uint64_t>(got);
  }
  return ok();
}

Result<std::string> OpenFile::text(std::uint64_t at, std::uint64_t size) const {
  if (at > size_ || size > size_ - at) return fail(Errc::kIo, path_ + ": the file ends too early");
  std::string text(size, '\0');
  if (auto done = read(at, text); !done) return done.error();
  return text;
}

Result<std::string> read_regular_file(const std::string& path, std::uint64_t bytes_max) {
  const auto file = OpenFile::open(path);
  if (!file) return file.error();
  if ((*file)->size() > bytes_max)
    return fail(Errc::kLimit, path + ": larger than " + std::to_string(bytes_max) + " bytes");
  return (*file)->text(0, (*file)->size());
}

}  // namespace rtrain::os
