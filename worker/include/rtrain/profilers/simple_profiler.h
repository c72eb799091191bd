// How often each action ran, and for how long: Lightning's SimpleProfiler.
#pragma once

#include <rtrain/profiler.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace rtrain {

/// Lightning's arguments and defaults.
struct RTRAIN_API SimpleProfilerOptions {
  std::filesystem::path dirpath{};
  std::string filename{};
  bool extended = true;  ///< columns for the number of calls and the percentage of the whole time
};

/// Registered as "simple". Reads the clock once at each end of an action; work that a GPU does later is not
/// in the action that started it.
class RTRAIN_API SimpleProfiler : public Profiler {
 public:
  explicit SimpleProfiler(SimpleProfilerOptions options = {});

  /// How often an action ran, and for how long together.
  struct Durations {
    std::int64_t calls = 0;
    std::chrono::steady_clock::duration total{};
  };
  /// Of all runs since it was made, by action.
  [[nodiscard]] const std::map<std::string, Durations>& recorded_durations() const { return durations_; }

  void start(const std::string& action) override;
  /// An action that was not started is left out.
  void stop(const std::string& action) override;
  [[nodiscard]] std::string summary() const override;

 private:
  bool extended_;
  std::chrono::steady_clock::time_point made_ = std::chrono::steady_clock::now();
  std::vector<std::pair<std::string, std::chrono::steady_clock::time_point>> running_;
  std::map<std::string, Durations> durations_;
};

}  // namespace rtrain
