// Decides which units are whole when: what to gather, what to drop, what to gather ahead. Knows no tensors.
#pragma once

#include <rtrain/export.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace rtrain::sharding {

/// When a unit is gathered ahead of its use.
enum class Prefetch : std::uint8_t {
  kNone,
  kAtUse,        ///< as soon as the unit before it is in use
  kAfterReduce,  ///< once the gradients of the unit before it are on their way
};

struct ScheduleOptions {
  /// Elements that may stay whole beside the units in use. 0: a unit is dropped when the next one is used.
  std::int64_t live_max = 0;
  Prefetch forward = Prefetch::kNone, backward = Prefetch::kAtUse;
};

/// A pass is a forward with, in training, its backward. The order of the gathers of a pass predicts that of
/// the next one of its kind; the first difference ends the prediction for this pass.
class RTRAIN_API GatherSchedule {
 public:
  enum class Pass : std::uint8_t { kTraining, kEvaluation };
  static constexpr int kNothing = -1;

  /// @param numels of each unit; units are numbered in this order.
  GatherSchedule(std::vector<std::int64_t> numels, ScheduleOptions options);

  void begin(Pass pass);
  /// From here on the pass is in its backward.
  void begin_backward() { in_backward_ = true; }
  /// The pass is over: its order is the prediction for the next one.
  void end();

  /// What a use of units needs, in this order: drop, gather, and then, once the gathered ones are whole,
  /// gather `ahead`.
  struct Actions {
    std::vector<int> drop, gather;
    int ahead = kNothing;
  };
  /// The units of `need` are about to be read. Each is whole or being gathered when the actions are done.
  [[nodiscard]] Actions use(std::span<const int> need);
  /// The gradients of `unit` are on their way. @return the unit to gather ahead.
  [[nodiscard]] int reduced(int unit);
  /// The caller dropped a unit for a reason of its own.
  void dropped(int unit);
  /// The caller began to gather what use() or reduced() called `ahead`.
  void gathers_ahead(int unit);

  /// Nothing has to be done to read these: the usual case, and it costs no more than a look.
  [[nodiscard]] bool is_latest(int unit) const { return !recent_.empty() && recent_.back() == unit; }

 private:
  [[nodiscard]] bool is_live(int unit) const { return live_[static_cast<std::size_t>(unit)]; }
  [[nodiscard]] int next() const;

  std::vector<std::int64_t> numels_;
  ScheduleOptions options_;
  std::vector<bool> live_;
  std::vector<int> recent_;  ///< the live ones, by their latest use
  struct Trace {
    std::vector<int> before, now;
  } training_, evaluation_;
  Trace* trace_ = &training_;
  bool predicts_ = false, in_backward_ = false;
  int ahead_ = kNothing;  ///< gathered ahead and not used yet; not among recent_
};

}  // namespace rtrain::sharding
