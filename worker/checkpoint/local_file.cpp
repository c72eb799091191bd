#include "worker/checkpoint/local_file.h"

#include "common/os/fd.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace rtrain::files {
namespace {

using os::Fd;

[[noreturn]] void fail_at(const std::filesystem::path& path, const std::string& why) {
  throw std::runtime_error(path.string() + ": " + why);
}
[[noreturn]] void fail_by_errno(const std::filesystem::path& path, const std::string& what) {
  const int error = errno;
  fail_at(path, what + ": " + std::strerror(error));
}

class LocalFile final : public CheckpointFile {
 public:
  LocalFile(Fd fd, std::filesystem::path path, std::uint64_t size)
      : fd_(std::move(fd)), path_(std::move(path)), size_(size) {}
  [[nodiscard]] std::uint64_t size() const override { return size_; }
  void read(std::uint64_t at, void* into, std::size_t size) override {
    auto* next = static_cast<char*>(into);
    while (size > 0) {
      const auto got = ::pread(fd_.get(), next, size, static_cast<off_t>(at));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail_by_errno(path_, "could not read");
      if (got == 0) fail_at(path_, "the file got shorter while it was read");
      next += got;
      at += static_cast<std::uint64_t>(got);
      size -= static_cast<std::size_t>(got);
    }
  }

 private:
  Fd fd_;
  std::filesystem::path path_;
  std::uint64_t size_;
};

void write_bytes(int fd, std::string_view bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const auto wrote = ::write(fd, bytes.data(), bytes.size());
    if (wrote < 0) {
      if (errno == EINTR) continue;
      fail_by_errno(path, "could not write");
    }
    bytes.remove_prefix(static_cast<std::size_t>(wrote));
  }
}

}  // namespace

std::unique_ptr<CheckpointFile> open_local(const std::filesystem::path& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.is_open()) fail_by_errno(path, "could not open");
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) fail_by_errno(path, "could not read");
  if (!S_ISREG(status.st_mode)) fail_at(path, "not a regular file");
  return std::make_unique<LocalFile>(std::move(fd), path, static_cast<std::uint64_t>(status.st_size));
}

void write_local(const std::filesystem::path& path, const CheckpointDraft::Content& content) {
  const auto folder = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  auto beside = path;
  beside += ".tmp-" + std::to_string(::getpid());
  try {
    const Fd file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!file.is_open()) fail_by_errno(path, "could not create");
    content([&](std::string_view bytes) { write_bytes(file.get(), bytes, path); });
    if (::fsync(file.get()) != 0) fail_by_errno(path, "could not write");
    if (::rename(beside.c_str(), path.c_str()) != 0) fail_by_errno(path, "could not rename into place");
  } catch (...) {
    ::unlink(beside.c_str());
    throw;
  }
  const Fd dir(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir.is_open() || ::fsync(dir.get()) != 0) fail_by_errno(path, "could not make the new file durable");
}

void write_local_ranges(const std::filesystem::path& path, std::uint64_t size,
                        const CheckpointDraft::Ranges& ranges) {
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  if (!file.is_open()) fail_by_errno(path, "could not create");
  if (::ftruncate(file.get(), static_cast<off_t>(size)) != 0) fail_by_errno(path, "could not write");
  ranges([&](std::uint64_t at, std::string_view bytes) {
    if (at > size || bytes.size() > size - at) fail_at(path, "bytes beyond the end of the file");
    while (!bytes.empty()) {
      const auto wrote = ::pwrite(file.get(), bytes.data(), bytes.size(), static_cast<off_t>(at));
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0) fail_by_errno(path, "could not write");
      bytes.remove_prefix(static_cast<std::size_t>(wrote));
      at += static_cast<std::uint64_t>(wrote);
    }
  });
  if (::fsync(file.get()) != 0) fail_by_errno(path, "could not write");
}

}  // namespace rtrain::files
