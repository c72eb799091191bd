// Decides for each step whether it warms up, is captured, is replayed, or runs eagerly.
#pragma once

#include <rtrain/export.h>

#include <cstdint>
#include <string>
#include <utility>

namespace rtrain {

enum class StepMode {
  kWarmup,   ///< eager, and watched
  kCapture,  ///< recorded, then replayed
  kReplay,
  kEager,  ///< neither, for the reason that reason() gives
};

/// Pure: what it decides depends on the calls alone.
class RTRAIN_API StepCapture {
 public:
  struct Limits {
    std::int64_t warmup = 3;    ///< eager steps before a capture
    std::int64_t captures = 8;  ///< that are kept
    std::int64_t restarts = 8;  ///< of a fit
  };
  explicit StepCapture(const Limits& limits) : limits_(limits) {}

  /// Of the next step. @param has_graph there is a graph for its batch.
  [[nodiscard]] StepMode next(bool has_graph);
  /// All graphs are gone, because `what` has changed: the steps warm up again, or, too often, run eagerly.
  void restart(const std::string& what);
  /// From the next step on every step is eager. The first reason stays.
  void refuse(std::string reason);

  /// Why steps without a graph run eagerly; empty: they do not.
  [[nodiscard]] const std::string& reason() const { return reason_; }
  /// Every step is eager, those with a graph, too.
  [[nodiscard]] bool is_refused() const { return refused_; }

 private:
  Limits limits_;
  std::int64_t warmed_ = 0, captures_ = 0, restarts_ = 0;
  bool refused_ = false;
  std::string reason_;
};

}  // namespace rtrain
