// A TCP port that stays ours without being listened on.
#pragma once

#include "common/base/result.h"

#include <utility>

namespace rtrain::agent {

/// Bound with SO_REUSEADDR, never listening. Linux gives such a port to nobody who asks for any free one, and
/// lets a server that also sets SO_REUSEADDR (c10d's TCPStore, Python's torch.distributed) bind it. Held
/// until destruction.
class PortReservation {
 public:
  /// `port` 0: any free one. kIo: there is none, or this one is taken.
  [[nodiscard]] static Result<PortReservation> take(int port = 0);
  PortReservation(PortReservation&& other) noexcept : fd_(std::exchange(other.fd_, -1)), port_(other.port_) {}
  PortReservation& operator=(PortReservation&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(port_, other.port_);
    return *this;
  }
  ~PortReservation();
  [[nodiscard]] int port() const { return port_; }

 private:
  PortReservation(int fd, int port) : fd_(fd), port_(port) {}
  int fd_, port_;
};

}  // namespace rtrain::agent
