#include "worker/runtime/pulse.h"

#include "proto/record/places.h"

#include <algorithm>

namespace rtrain::runtime {

using std::memory_order_relaxed;

void Pulse::step(const char* stage, std::int64_t epoch, std::int64_t step) noexcept {
  stage_.store(stage, memory_order_relaxed);
  epoch_.store(epoch, memory_order_relaxed);
  step_.store(step, memory_order_relaxed);
  beat();
}

void Pulse::beat() noexcept {
  last_.store(Clock::now().time_since_epoch().count(), memory_order_relaxed);
  has_beaten_.store(true, memory_order_relaxed);
}

void Pulse::watch(bool on) noexcept {
  last_.store(Clock::now().time_since_epoch().count(), memory_order_relaxed);
  watched_.store(on, std::memory_order_release);
}

void Pulse::load(bool on) noexcept {
  loading_.store(on, memory_order_relaxed);
  watch(on);
}

void Pulse::enter(const char* name, std::int64_t seq) noexcept {
  collective_.store(name, memory_order_relaxed);
  collective_seq_.store(seq, memory_order_relaxed);
  in_collective_.store(true, std::memory_order_release);
}

void Pulse::leave() noexcept { in_collective_.store(false, std::memory_order_release); }

Pulse::Reading Pulse::read() const noexcept {
  Reading reading;
  reading.watched = watched_.load(std::memory_order_acquire);
  reading.in_collective = in_collective_.load(std::memory_order_acquire);
  reading.last = Clock::time_point(Clock::duration(last_.load(memory_order_relaxed)));
  reading.has_beaten = has_beaten_.load(memory_order_relaxed);
  reading.stage = stage_.load(memory_order_relaxed);
  reading.epoch = epoch_.load(memory_order_relaxed);
  reading.step = step_.load(memory_order_relaxed);
  reading.collective = collective_.load(memory_order_relaxed);
  reading.collective_seq = collective_seq_.load(memory_order_relaxed);
  reading.loading = loading_.load(memory_order_relaxed);
  reading.report = report_.load(std::memory_order_acquire);
  return reading;
}

Pulse& pulse() {
  static auto* const the_pulse = new Pulse;
  return *the_pulse;
}

std::optional<proto::RankDiagnosis> HangWatch::look(const Pulse::Reading& reading, Clock::time_point now) {
  const auto last = std::max(reading.last, begun_);
  if (last != asleep_since_) {
    asleep_since_ = last;
    asleep_ = {};
  }
  // Looks come several times a timeout; one that comes much later was held up, and the training thread with
  // it.
  if (const auto gap = now - looked_; gap > timeout_ / 2 + std::chrono::seconds(1)) asleep_ += gap;
  looked_ = now;
  const auto silent = now - last - asleep_;
  if (!reading.watched || silent < timeout_ || told_of_ == last) return std::nullopt;
  if (!reading.has_beaten && !from_the_start_ && !reading.in_collective && !reading.loading &&
      reading.report == 0)
    return std::nullopt;
  told_of_ = last;
  proto::RankDiagnosis word;
  word.stage = reading.loading ? proto::kLoadStage : reading.stage;
  word.epoch = reading.epoch;
  word.step = reading.step;
  word.silent_s = std::chrono::duration<double>(silent).count();
  word.collective = reading.collective;
  word.collective_seq = reading.collective_seq;
  word.in_collective = reading.in_collective;
  if (reading.report > 0) {
    word.collective = proto::kReportAsPlace;
    word.collective_seq = reading.report;
    word.in_collective = true;
  }
  return word;
}

}  // namespace rtrain::runtime
