#include "proto/frame/blocking.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace rtrain::proto {
namespace {

using Clock = std::chrono::steady_clock;

Error broken(int error_number) {
  return fail(Errc::kUnavailable, std::string("the connection broke: ") + std::strerror(error_number));
}

Result<Done> wait_for(int fd, short events, Clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd wanted{fd, events, 0};
    const int ready = ::poll(&wanted, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, 1 << 30)));
    if (ready > 0) return ok();  // an error or a hang-up shows in the call that follows
    if (ready == 0 && Clock::now() >= deadline)
      return fail(Errc::kTimeout, "the peer did not move a whole frame in time");
    if (ready < 0 && errno != EINTR) return broken(errno);
  }
}

/// Both directions: `move(data, size)` is one recv or send that does not block.
template <class Move>
Result<Done> move_all(int fd, short events, std::size_t size, Clock::time_point deadline, Move move) {
  for (std::size_t done = 0; done < size;) {
    const ssize_t n = move(done, size - done);
    if (n > 0) {
      done += static_cast<std::size_t>(n);
    } else if (n == 0) {
      return fail(Errc::kUnavailable, "the peer closed the connection");
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      auto ready = wait_for(fd, events, deadline);
      if (!ready) return ready;
    } else if (errno != EINTR) {
      return broken(errno);
    }
  }
  return ok();
}

Result<Done> read_exactly(int fd, char* out, std::size_t size, Clock::time_point deadline) {
  return move_all(fd, POLLIN, size, deadline, [=](std::size_t done, std::size_t left) {
    return ::recv(fd, out + done, left, MSG_DONTWAIT);
  });
}

}  // namespace

Result<Frame> read_frame(int fd, const FrameLimits& limits, std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  std::array<char, kFrameHeaderBytes> bytes;
  auto read = read_exactly(fd, bytes.data(), bytes.size(), deadline);
  if (!read) return read.error();
  const auto header = decode_frame_header({bytes.data(), bytes.size()}, limits);
  if (!header) return header.error();
  Frame frame{std::string(header->json_bytes, '\0'), std::string(header->body_bytes, '\0')};
  read = read_exactly(fd, frame.json.data(), frame.json.size(), deadline);
  if (!read) return read.error();
  read = read_exactly(fd, frame.body.data(), frame.body.size(), deadline);
  if (!read) return read.error();
  return frame;
}

Result<Done> write_frame(int fd, const Frame& frame, std::chrono::milliseconds timeout) {
  const std::string bytes = encode_frame(frame);
  return move_all(fd, POLLOUT, bytes.size(), Clock::now() + timeout, [&](std::size_t done, std::size_t left) {
    return ::send(fd, bytes.data() + done, left, MSG_DONTWAIT | MSG_NOSIGNAL);
  });
}

}  // namespace rtrain::proto
