#include "worker/runtime/outbox_file.h"

#include "common/os/file.h"
#include "proto/record/rank_files.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace rtrain::runtime {

OutboxFile::OutboxFile(const std::string& rank_dir)
    : path_(proto::outbox_path(rank_dir)),
      fd_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {
  if (fd_ < 0) give_up(std::strerror(errno));
}

OutboxFile::~OutboxFile() {
  if (fd_ >= 0) ::close(fd_);
}

void OutboxFile::append(const std::string& json) {
  if (ok()) write(json + "\n");
}

void OutboxFile::rewrite(const std::string& lines) {
  if (auto replaced = os::replace_file(path_, lines, 0600); !replaced)
    return give_up(replaced.error().message());
  const int fd = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (fd < 0) return give_up(std::strerror(errno));
  ::close(std::exchange(fd_, fd));
  size_ = lines.size();
}

void OutboxFile::write(const std::string& text) {
  for (std::size_t done = 0; done < text.size();) {
    const auto n = ::write(fd_, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return give_up(std::strerror(n < 0 ? errno : ENOSPC));
    done += static_cast<std::size_t>(n);
  }
  size_ += text.size();
}

void OutboxFile::give_up(const std::string& what) {
  std::fprintf(stderr, "rtrain: %s: %s; reports are durable only once the agent has received them\n",
               path_.c_str(), what.c_str());
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

}  // namespace rtrain::runtime
