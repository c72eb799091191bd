// Where a rank is, for whoever asks while its training thread is stuck: the last step, the last collective.
#pragma once

#include "proto/message/message.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

namespace rtrain::runtime {

/// Written by the training thread with a few stores a step, read by the session's.
class Pulse {
 public:
  using Clock = std::chrono::steady_clock;
  /// A step was finished. `stage`: as in RankProgress, a literal.
  void step(const char* stage, std::int64_t epoch, std::int64_t step) noexcept;
  /// Something else that shows life: a report.
  void beat() noexcept;

  /// Whether silence means anything: not before the training function is entered, and not when it has
  /// returned and waits for the others.
  void watch(bool on) noexcept;

  /// The training library is being loaded: a silence then means that its file, or code that runs at load,
  /// hangs.
  void load(bool on) noexcept;

  /// Around every wait for the other ranks. `name`: a literal. Also from threads of autograd; they do not
  /// nest.
  class InCollective {
   public:
    InCollective(Pulse& pulse, const char* name) noexcept : InCollective(pulse, name, pulse.next_seq()) {}
    /// A part of one that was numbered before: its start, or the wait for it.
    InCollective(Pulse& pulse, const char* name, std::int64_t seq) noexcept : pulse_(pulse) {
      pulse_.enter(name, seq);
    }
    ~InCollective() { pulse_.leave(); }
    InCollective(const InCollective&) = delete;
    InCollective& operator=(const InCollective&) = delete;

   private:
    Pulse& pulse_;
  };

  /// The number of the next collective: all ranks start them in the same order, and wait for several that are
  /// under way in the same order.
  [[nodiscard]] std::int64_t next_seq() noexcept {
    return numbered_.fetch_add(1, std::memory_order_relaxed) + 1;
  }

  /// Around the wait for the other ranks in report() number n. It is no collective: ranks without a
  /// checkpoint do not wait there.
  class InReport {
   public:
    InReport(Pulse& pulse, std::int64_t n) noexcept : pulse_(pulse) {
      pulse_.report_.store(n, std::memory_order_release);
    }
    ~InReport() { pulse_.report_.store(0, std::memory_order_release); }
    InReport(const InReport&) = delete;
    InReport& operator=(const InReport&) = delete;

   private:
    Pulse& pulse_;
  };

  struct Reading {
    Clock::time_point last;  ///< when it last showed life
    bool watched = true, has_beaten = false;
    const char* stage = "";
    std::int64_t epoch = 0, step = 0;
    const char* collective = "";
    std::int64_t collective_seq = 0;
    bool in_collective = false;
    bool loading = false;
    std::int64_t report = 0;  ///< the number of the report() that it waits in; 0: in none
  };
  [[nodiscard]] Reading read() const noexcept;

 private:
  void enter(const char* name, std::int64_t seq) noexcept;
  void leave() noexcept;
  std::atomic<Clock::rep> last_{Clock::now().time_since_epoch().count()};
  std::atomic<bool> watched_{true}, has_beaten_{false}, in_collective_{false}, loading_{false};
  std::atomic<const char*> stage_{""}, collective_{""};
  std::atomic<std::int64_t> epoch_{0}, step_{0}, collective_seq_{0}, numbered_{0}, report_{0};
};

/// Of this process.
[[nodiscard]] Pulse& pulse();

/// Says once a silence that a rank makes no step. Pure: the times come in.
class HangWatch {
 public:
  using Clock = Pulse::Clock;
  /// `from_the_start`: also a rank that has never shown life is silent. Else such a one is only when it waits
  /// in a collective: a function that reports nothing may compute as long as it likes.
  HangWatch(Clock::time_point now, std::chrono::milliseconds timeout, bool from_the_start)
      : timeout_(timeout), from_the_start_(from_the_start), looked_(now), begun_(now) {}
  /// To ask several times a timeout. The answer has no key. A process that was itself asleep was not silent
  /// meanwhile.
  [[nodiscard]] std::optional<proto::RankDiagnosis> look(const Pulse::Reading& reading,
                                                         Clock::time_point now);

 private:
  std::chrono::milliseconds timeout_;
  bool from_the_start_;
  Clock::time_point looked_, begun_;
  Clock::time_point told_of_{};       ///< the last sign of life before the silence that was told
  Clock::duration asleep_{};          ///< of this process, since the last sign of life
  Clock::time_point asleep_since_{};  ///< that sign of life
};

}  // namespace rtrain::runtime
