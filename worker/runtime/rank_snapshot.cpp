#include "worker/runtime/rank_snapshot.h"

#include "worker/runtime/block_signals.h"
#include "worker/runtime/flight_recorder.h"
#include "worker/runtime/pulse.h"
#include "worker/runtime/stack_sample.h"

#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace rtrain::runtime {
namespace {

constexpr std::size_t kFlightsTold = 48;
constexpr std::chrono::milliseconds kSignalLimit{500};

}  // namespace

proto::RankSnapshot rank_snapshot() {
  proto::RankSnapshot snapshot;
  const auto now = FlightRecorder::Clock::now();
  const auto reading = pulse().read();
  snapshot.stage = reading.stage;
  snapshot.epoch = reading.epoch;
  snapshot.step = reading.step;
  snapshot.idle_s = std::chrono::duration<double>(now - reading.last).count();
  FlightPlace::read(snapshot, now);
  if (reading.loading) snapshot.place = "its training library to load";
  if (reading.report > 0)
    snapshot.place = "the other ranks in report() number " + std::to_string(reading.report);
  flight_recorder().read(snapshot, kFlightsTold, now);
  return snapshot;
}

struct DebugAnswers::Shared {
  std::mutex mutex;
  std::function<void()> ready;  ///< empty: nobody takes answers any more
  std::vector<std::pair<proto::RankKey, std::int64_t>> asked;
  std::vector<proto::RankDebug> answers;
  bool answering = false;
};

DebugAnswers::DebugAnswers(std::function<void()> ready) : shared_(std::make_shared<Shared>()) {
  shared_->ready = std::move(ready);
}

DebugAnswers::~DebugAnswers() {
  const std::lock_guard lock(shared_->mutex);
  shared_->ready = nullptr;
}

void DebugAnswers::ask(const proto::RankKey& key, std::int64_t request) {
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->asked.emplace_back(key, request);
    if (std::exchange(shared_->answering, true)) return;
  }
  const auto answer = [shared = shared_] {
    block_signals();
    auto snapshot = rank_snapshot();
    const auto stack = sample_main_thread(kSignalLimit);
    snapshot.stack = stack_words(stack.frames);
    snapshot.stack_error = stack.error;
    const std::lock_guard lock(shared->mutex);
    shared->answering = false;
    for (const auto& [of, number] : std::exchange(shared->asked, {}))
      shared->answers.push_back({of, number, snapshot, {}});
    if (shared->ready) shared->ready();
  };
  try {
    std::thread(answer).detach();
  } catch (const std::system_error& error) {
    const std::lock_guard lock(shared_->mutex);
    shared_->answering = false;
    for (const auto& [of, number] : std::exchange(shared_->asked, {}))
      shared_->answers.push_back(
          {of, number, {}, std::string("the rank could not start a thread: ") + error.what()});
  }
}

std::vector<proto::RankDebug> DebugAnswers::take() {
  const std::lock_guard lock(shared_->mutex);
  return std::exchange(shared_->answers, {});
}

}  // namespace rtrain::runtime
