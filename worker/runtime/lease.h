// When a rank has lost its right to run. Pure: the times come in.
#pragma once

#include <chrono>

namespace rtrain::runtime {

class Lease {
 public:
  using Time = std::chrono::steady_clock::time_point;
  Lease(Time now, std::chrono::milliseconds length) : length_(length), heard_(now), checked_(now) {}

  [[nodiscard]] std::chrono::milliseconds length() const { return length_; }
  /// The agent said for how long from now.
  void renew(Time now, std::chrono::milliseconds length) {
    heard_ = now;
    length_ = length;
  }
  /// To ask several times within a lease, each time after what has arrived was read. A process that was
  /// itself asleep (stopped, or its machine was) gets one more look: what the agent said meanwhile is still
  /// on its way through the socket.
  [[nodiscard]] bool expired(Time now) {
    const bool slept = now - checked_ > length_ / 2;
    checked_ = now;
    return !slept && now - heard_ > length_;
  }

 private:
  std::chrono::milliseconds length_;
  Time heard_, checked_;
};

}  // namespace rtrain::runtime
