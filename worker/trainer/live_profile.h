// A profile of a running job: `rtrain profile`.
#pragma once

#include "worker/profilers/recording.h"
#include "worker/run/live_profiling.h"
#include "worker/run/run_context.h"

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace rtrain {

/// Records a number of training batches with Kineto, beside the profiler that the run has. A step goes from
/// one boundary between batches to the next: the wait for the loader, the batch, and the validation that
/// follows it, if one does.
class LiveProfile final : public Profiler, public LiveProfiling {
 public:
  struct Outcome {
    std::int64_t request = 0, steps = 0;
    std::filesystem::path trace{};  ///< empty: there is none
    std::string error{};
  };
  /// @param new_trace where the trace that begins at this global_step goes; its file does not exist.
  /// @param answer is called once a request.
  LiveProfile(RunContext& run, std::function<std::filesystem::path(std::int64_t)> new_trace,
              std::function<void(const Outcome&)> answer)
      : run_(run), new_trace_(std::move(new_trace)), answer_(std::move(answer)) {}

  void start(const std::string& action) override;
  void stop(const std::string& action) override;
  void between_batches() noexcept override;
  void end() noexcept override;

 private:
  void take();
  void begin();
  /// The recording ends, and what there is of it is written.
  void finish(const std::string& why_short);
  void tell(Outcome outcome);
  template <class Body>
  void guarded(Body body) noexcept;

  RunContext& run_;
  std::function<std::filesystem::path(std::int64_t)> new_trace_;
  std::function<void(const Outcome&)> answer_;
  std::optional<runtime::ProfilePoint::Request> request_;
  std::optional<profilers::Recording> recording_;
  Profiler* beside_ = nullptr;  ///< the run's own, while this one is in its place
  std::int64_t recorded_ = 0;   ///< steps
  std::int64_t begun_at_ = 0;   ///< global_step
};

/// With the job's session and the run's folder behind it; null: this process is no rank of a job.
[[nodiscard]] std::unique_ptr<LiveProfiling> live_profile_of_job(RunContext& run);

}  // namespace rtrain
