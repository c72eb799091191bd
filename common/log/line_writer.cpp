#include "common/log/line_writer.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rtrain::log {
namespace {

/// So long a process that ends waits for the reader of its last lines.
constexpr std::chrono::milliseconds kEndWait{200};

}  // namespace

LineWriter::LineWriter(int fd) : fd_(fd) { look(); }

void LineWriter::look() {
  struct stat info {};
  if (::fstat(fd_, &info) != 0) return;
  if (file_ == std::pair(info.st_dev, info.st_ino)) return;
  file_ = {info.st_dev, info.st_ino};
  if (own_ >= 0) ::close(own_);
  own_ = -1;
  socket_ = S_ISSOCK(info.st_mode);
  blocking_ = false;
  if (!S_ISFIFO(info.st_mode) && !S_ISCHR(info.st_mode)) return;
  const auto path = "/proc/self/fd/" + std::to_string(fd_);
  own_ = ::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  blocking_ = own_ < 0;
}

void LineWriter::unlock_in_child() {
  if (own_ >= 0) ::close(own_);  // before the child closes what it does not know
  own_ = -1;
  file_ = {};
  waiting_.clear();
  unreported_ = 0;
  mutex_.unlock();
}

LineWriter::~LineWriter() {
  settle();
  if (own_ >= 0) ::close(own_);
}

void LineWriter::settle() {
  const std::lock_guard lock(mutex_);
  for (const auto until = std::chrono::steady_clock::now() + kEndWait;
       !waiting_.empty() && std::chrono::steady_clock::now() < until;) {
    pollfd ready{own_ >= 0 ? own_ : fd_, POLLOUT, 0};
    if (::poll(&ready, 1, 20) < 0 || (ready.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) break;
    drain_locked();
  }
}

std::size_t LineWriter::put(std::string_view text) {
  std::size_t taken = 0;
  while (taken < text.size()) {
    auto size = text.size() - taken;
    // a pipe that is ready takes this much at least; another writer may be faster, which is rare
    if (blocking_) {
      pollfd ready{fd_, POLLOUT, 0};
      if (::poll(&ready, 1, 0) <= 0 || (ready.revents & POLLOUT) == 0) break;
      size = std::min<std::size_t>(size, PIPE_BUF);
    }
    const ssize_t n = socket_ ? ::send(fd_, text.data() + taken, size, MSG_DONTWAIT | MSG_NOSIGNAL)
                              : ::write(own_ >= 0 ? own_ : fd_, text.data() + taken, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    taken += static_cast<std::size_t>(n);
  }
  return taken;
}

void LineWriter::drain_locked() {
  if (waiting_.empty() && unreported_ == 0) return;
  waiting_.erase(0, put(waiting_));
  if (!waiting_.empty() || unreported_ == 0) return;
  waiting_ = "[" + std::to_string(unreported_) +
             (unreported_ == 1 ? " line of this log was dropped" : " lines of this log were dropped") +
             " here: its reader did not keep up]\n";
  unreported_ = 0;
  waiting_.erase(0, put(waiting_));
}

void LineWriter::write(std::string_view line) {
  const std::lock_guard lock(mutex_);
  look();
  drain_locked();
  if (waiting_.empty() && unreported_ == 0) line.remove_prefix(put(line));
  if (line.empty()) return;
  // A line of which a part went out is completed whatever waits.
  if (unreported_ == 0 && (waiting_.empty() || waiting_.size() + line.size() <= kWaitingMax)) {
    waiting_ += line;
  } else {
    ++dropped_;
    ++unreported_;
  }
}

void LineWriter::drain() {
  const std::lock_guard lock(mutex_);
  drain_locked();
}

std::int64_t LineWriter::dropped() const {
  const std::lock_guard lock(mutex_);
  return dropped_;
}

}  // namespace rtrain::log
