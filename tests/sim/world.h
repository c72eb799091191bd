// Virtual time: what happens when, in one order that depends on nothing but the seed. And the trace of what
// happened.
#pragma once

#include "tests/sim/random.h"

#include <chrono>
#include <concepts>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace rtrain::sim {

/// Microseconds since the run began.
using Time = std::int64_t;
[[nodiscard]] constexpr Time seconds(double s) { return static_cast<Time>(s * 1e6); }
/// "12.345678"
[[nodiscard]] std::string to_text(Time time);

class World {
 public:
  /// @param tracing keeps the words of the trace; its hash is there in any case.
  World(std::uint64_t seed, bool tracing) : random_(seed), tracing_(tracing) {}

  [[nodiscard]] Time now() const { return now_; }
  [[nodiscard]] std::chrono::steady_clock::time_point steady_now() const {
    return std::chrono::steady_clock::time_point(std::chrono::microseconds(now_));
  }
  [[nodiscard]] std::int64_t wall_ms() const { return 1'700'000'000'000 + now_ / 1000; }
  Random& random() { return random_; }

  void at(Time when, std::function<void()> act);
  void after(Time delay, std::function<void()> act) { at(now_ + delay, std::move(act)); }
  /// Lets the next thing happen. False: nothing is due before `limit`.
  bool step(Time limit);
  [[nodiscard]] std::int64_t events() const { return events_; }

  /// One line of the trace: what happened, and to whom.
  template <class... Parts>
  void note(std::string_view what, const Parts&... parts) {
    mix(static_cast<std::uint64_t>(now_));
    mix(what);
    (mix(parts), ...);
    if (!tracing_) return;
    std::string line = to_text(now_) + " " + std::string(what);
    ((line += " ", line += text(parts)), ...);
    keep(std::move(line));
  }
  [[nodiscard]] bool tracing() const { return tracing_; }
  [[nodiscard]] std::uint64_t trace_hash() const { return hash_; }
  [[nodiscard]] const std::deque<std::string>& last_lines() const { return lines_; }
  /// Prints each line as it comes.
  void print_trace() { printing_ = true; }

  static constexpr std::size_t kLinesKept = 50;

 private:
  struct Event {
    Time when;
    std::int64_t number;
    std::function<void()> act;
  };
  static bool later(const Event& a, const Event& b) {
    return a.when != b.when ? a.when > b.when : a.number > b.number;
  }
  void mix(std::uint64_t value) { hash_ = (hash_ ^ value) * 0x100000001b3ULL; }
  void mix(std::string_view word) {
    for (const char c : word) mix(static_cast<std::uint64_t>(static_cast<unsigned char>(c)));
  }
  template <std::integral T>
  void mix(T value) {
    mix(static_cast<std::uint64_t>(value));
  }
  template <class T>
    requires requires(const T& id) { id.value(); }
  void mix(const T& id) {
    mix(static_cast<std::uint64_t>(id.value()));
  }
  static std::string text(std::string_view word) { return std::string(word); }
  template <std::integral T>
  static std::string text(T value) {
    return std::to_string(value);
  }
  template <class T>
    requires requires(const T& id) { id.value(); }
  static std::string text(const T& id) {
    return std::to_string(id.value());
  }
  void keep(std::string line);

  Random random_;
  bool tracing_, printing_ = false;
  Time now_ = 0;
  std::int64_t last_number_ = 0, events_ = 0;
  std::vector<Event> heap_;
  std::uint64_t hash_ = 0xcbf29ce484222325ULL;
  std::deque<std::string> lines_;
};

}  // namespace rtrain::sim
