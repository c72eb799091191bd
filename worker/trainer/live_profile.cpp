#include "worker/trainer/live_profile.h"

#include "worker/sdk/job.h"

#include <rtrain/profilers/pytorch_profiler.h>

#include <stdexcept>

namespace rtrain {

void LiveProfile::start(const std::string& action) {
  if (beside_ != nullptr) beside_->start(action);
  if (recording_) recording_->begin_range(action);
}

void LiveProfile::stop(const std::string& action) {
  if (recording_) recording_->end_range();
  if (beside_ != nullptr) beside_->stop(action);
}

template <class Body>
void LiveProfile::guarded(Body body) noexcept {
  std::string why;
  try {
    return body();
  } catch (const std::exception& error) {
    why = error.what();
  } catch (...) {
    why = "an exception of an unknown type";
  }
  try {
    if (run_.profiler == this) run_.profiler = beside_;
    recording_.reset();
    tell({.error = "the profiler failed: " + why});
  } catch (const std::exception& error) {
    warn(std::string("a profile could not be answered for: ") + error.what());
  }
}

void LiveProfile::between_batches() noexcept {
  guarded([&] {
    if (!request_) return take();
    if (!recording_->is_on()) return begin();
    recording_->end_step();
    ++recorded_;
    if (recorded_ >= request_->steps) return finish({});
    if (runtime::ProfilePoint::Clock::now() >= request_->until) return finish("the time for it was over");
    recording_->begin_step(recorded_);
  });
}

void LiveProfile::end() noexcept {
  if (!request_) return;
  guarded([&] {
    if (recording_->is_on()) {
      recording_->end_step();
      finish(++recorded_ >= request_->steps ? "" : "the fit ended");
    } else {
      recording_->drop_preparation();
      recording_.reset();
      tell({.error = "the fit ended before a batch was recorded"});
    }
  });
}

void LiveProfile::take() {
  request_ = runtime::profile_point().take();
  if (!request_) return;
  if (dynamic_cast<PyTorchProfiler*>(run_.profiler) != nullptr)
    return tell(
        {.error = "the Trainer has the profiler \"pytorch\", and only one can record: read its traces"});
  if (profilers::Recording::another_is_on())
    return tell({.error = "another profiler of LibTorch records in this rank, and only one can"});
  const bool uses_gpu = run_.placement.device.is_cuda();
  recorded_ = 0;
  recording_.emplace(profilers::RecordingOptions{.uses_gpu = uses_gpu});
  recording_->prepare();
  // CUPTI needs a step to warm up; a CPU's first step is as good as any.
  if (!uses_gpu) begin();
}

void LiveProfile::begin() {
  recording_->begin();
  beside_ = run_.profiler;
  run_.profiler = this;
  begun_at_ = run_.optimizer_steps;
  recording_->begin_step(0);
}

void LiveProfile::finish(const std::string& why_short) {
  // stop() that failed has taken it out of the run, with the profiler beside it
  if (run_.profiler == this) run_.profiler = beside_;
  beside_ = nullptr;
  const auto trace = recording_->end();
  recording_.reset();
  if (!trace) throw std::runtime_error("Kineto gave no trace");
  const auto path = new_trace_(begun_at_);
  if (const auto problem = trace->save(path)) return tell({.error = *problem});
  tell({.steps = recorded_, .trace = path, .error = why_short});
}

void LiveProfile::tell(Outcome outcome) {
  if (!request_) return;
  outcome.request = request_->number;
  request_.reset();
  runtime::profile_point().done();
  answer_(outcome);
}

std::unique_ptr<LiveProfiling> live_profile_of_job(RunContext& run) {
  auto& job = sdk::Job::current();
  if (!job.environment().in_job) return nullptr;
  const auto new_trace = [&job](std::int64_t begun_at) {
    const auto& environment = job.environment();
    const auto stem = std::filesystem::path(environment.launch.run_dir) / "profiles" /
                      ("attempt-" + std::to_string(environment.key.attempt.value()) + ".step-" +
                       std::to_string(begun_at) + ".rank-" + std::to_string(environment.rank));
    auto path = stem.string() + ".pt.trace.json";
    for (int again = 1; std::filesystem::exists(path); ++again)
      path = stem.string() + "." + std::to_string(again) + ".pt.trace.json";
    return std::filesystem::path(path);
  };
  return std::make_unique<LiveProfile>(run, new_trace, [&job](const LiveProfile::Outcome& outcome) {
    if (auto* session = job.session())
      session->send(proto::RankProfile{job.environment().key, outcome.request, outcome.steps,
                                       outcome.trace.string(), outcome.error});
  });
}

}  // namespace rtrain
