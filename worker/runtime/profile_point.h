// How a request for a profile gets from the session's thread to the training thread, without waiting.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

namespace rtrain::runtime {

/// One request at a time. The training thread takes it at the next boundary between two batches of a fit, and
/// says when it is done. A request that nobody takes is given back with the reason. Pure: the times come in.
class ProfilePoint {
 public:
  using Clock = std::chrono::steady_clock;
  /// How long a process that is in no fit may take to begin one.
  static constexpr std::chrono::seconds kFitWait{10};

  struct Request {
    std::int64_t number = 0;    ///< of the answer
    std::int64_t steps = 0;     ///< training batches to record
    Clock::time_point until{};  ///< then what was recorded is enough
  };
  struct Refusal {
    std::int64_t number = 0;
    std::string why;
  };

  // ---- the session's thread ----------------------------------------------------------------------
  /// @return why not; nothing: it is accepted.
  [[nodiscard]] std::optional<Refusal> ask(const Request& request, Clock::time_point now);
  /// To ask some times a second. The request that nobody has taken in time, if there is one: it is withdrawn.
  [[nodiscard]] std::optional<Refusal> expire(Clock::time_point now);

  // ---- the training thread -----------------------------------------------------------------------
  /// A fit whose boundaries between batches are looked at begins, or has ended.
  void in_fit(bool begins);
  /// A request waits, or is being served. One load; to ask before each batch.
  [[nodiscard]] bool asked() const noexcept { return asked_.load(std::memory_order_relaxed); }
  /// The request, once: it is being served from here to done().
  [[nodiscard]] std::optional<Request> take();
  void done();

 private:
  std::atomic<bool> asked_{false};
  std::mutex mutex_;
  std::optional<Request> waiting_;
  Clock::time_point asked_at_{};
  bool in_fit_ = false, serving_ = false;
};

/// Of this process.
[[nodiscard]] ProfilePoint& profile_point();

}  // namespace rtrain::runtime
