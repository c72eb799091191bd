#include "worker/sharding/gather_schedule.h"

#include <algorithm>
#include <utility>

namespace rtrain::sharding {

GatherSchedule::GatherSchedule(std::vector<std::int64_t> numels, ScheduleOptions options)
    : numels_(std::move(numels)), options_(options), live_(numels_.size(), false) {}

void GatherSchedule::begin(Pass pass) {
  trace_ = pass == Pass::kTraining ? &training_ : &evaluation_;
  trace_->now.clear();
  predicts_ = !trace_->before.empty();
  in_backward_ = false;
}

void GatherSchedule::end() {
  trace_->before = std::move(trace_->now);
  trace_->now.clear();
  predicts_ = false;
}

/// The unit that is expected to be gathered next; the place in the prediction is the number of gathers.
int GatherSchedule::next() const {
  const auto at = trace_->now.size();
  if (!predicts_ || ahead_ != kNothing || at >= trace_->before.size()) return kNothing;
  const auto unit = trace_->before[at];
  return is_live(unit) ? kNothing : unit;
}

GatherSchedule::Actions GatherSchedule::use(std::span<const int> need) {
  Actions actions;
  for (const auto unit : need) {
    std::erase(recent_, unit);
    recent_.push_back(unit);
  }
  const auto is_needed = [&](int unit) { return std::find(need.begin(), need.end(), unit) != need.end(); };
  std::int64_t kept = 0;
  for (const auto unit : recent_)
    if (!is_needed(unit)) kept += numels_[static_cast<std::size_t>(unit)];
  while (kept > options_.live_max) {
    const auto oldest = recent_.front();  // not needed: those stand at the end
    recent_.erase(recent_.begin());
    kept -= numels_[static_cast<std::size_t>(oldest)];
    live_[static_cast<std::size_t>(oldest)] = false;
    actions.drop.push_back(oldest);
  }
  for (const auto unit : need) {
    // One that was gathered ahead is in the trace as one that is gathered now.
    const bool was_ahead = std::exchange(ahead_, ahead_ == unit ? kNothing : ahead_) == unit;
    if (is_live(unit) && !was_ahead) continue;
    if (predicts_ &&
        (trace_->now.size() >= trace_->before.size() || trace_->before[trace_->now.size()] != unit))
      predicts_ = false;
    trace_->now.push_back(unit);
    if (!was_ahead) actions.gather.push_back(unit);
    live_[static_cast<std::size_t>(unit)] = true;
  }
  if ((in_backward_ ? options_.backward : options_.forward) == Prefetch::kAtUse) actions.ahead = next();
  return actions;
}

int GatherSchedule::reduced(int) {
  return in_backward_ && options_.backward == Prefetch::kAfterReduce ? next() : kNothing;
}

void GatherSchedule::dropped(int unit) {
  std::erase(recent_, unit);
  live_[static_cast<std::size_t>(unit)] = false;
  if (ahead_ == unit) ahead_ = kNothing;
}

void GatherSchedule::gathers_ahead(int unit) {
  ahead_ = unit;
  live_[static_cast<std::size_t>(unit)] = true;
}

}  // namespace rtrain::sharding
