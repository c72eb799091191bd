// When a job may start, before whom, and for how long: the `scheduling` object of a job file. Words and
// syntax are Slurm's where Slurm has them.
#pragma once

#include "common/base/id.h"
#include "common/base/result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rtrain::proto {

/// On what end of another job this one waits.
enum class DependencyKind {
  kAfter,     ///< it has started, or ended without
  kAfterAny,  ///< it has ended, however
  kAfterOk,   ///< it has succeeded; when it ends otherwise, this job can never start
};

struct Dependency {
  DependencyKind kind = DependencyKind::kAfterOk;
  JobId job;
  friend bool operator==(const Dependency&, const Dependency&) = default;
};

/// Many jobs from one file: each index is a job of its own.
struct ArraySpec {
  std::vector<int> indices;        ///< ascending, each once, 1..kArrayMax of them
  int step = 1;                    ///< of a single range; 1 for a list
  std::optional<int> max_running;  ///< "%10"; absent: all at once
  friend bool operator==(const ArraySpec&, const ArraySpec&) = default;
};
inline constexpr int kArrayMax = 100'000;
inline constexpr int kArrayIndexMax = 999'999'999;
inline constexpr std::size_t kDependenciesMax = 10'000;  ///< of one job

enum class TopologyLevel { kNode, kRack };
enum class TopologyMode { kPreferred, kRequired };

/// The workers of the job stay together below one switch.
struct TopologyConfig {
  TopologyLevel level = TopologyLevel::kNode;
  TopologyMode mode = TopologyMode::kPreferred;  ///< required: the job waits until it fits so
  friend bool operator==(const TopologyConfig&, const TopologyConfig&) = default;
};

struct SchedulingConfig {
  std::string queue = "default";
  int priority = 0;                    ///< -1000..1000; higher starts first
  std::optional<double> time_limit_s;  ///< of an attempt, > 0; absent: the queue's, else none
  std::vector<Dependency> depends_on;  ///< all must hold; each once
  std::optional<ArraySpec> array;
  std::int64_t begin_at_ms = 0;  ///< does not start before, milliseconds since 1970; 0: at once
  bool hold = false;             ///< does not start before `rtrain release`
  std::string reservation;       ///< runs on what is reserved under this name; "" none
  bool preemptible = true;       ///< a job of higher priority may take its place
  double preempt_grace_s = 60;   ///< to write a checkpoint in when it is preempted; 0..86400
  std::optional<TopologyConfig> topology;
  friend bool operator==(const SchedulingConfig&, const SchedulingConfig&) = default;
};

inline constexpr int kPriorityMax = 1000;
inline constexpr double kPreemptGraceMaxS = 86'400;

/// Seconds of "90m", "1h30m", "45s", "2d", "MM:SS", "HH:MM:SS", "DD-HH", "DD-HH:MM", "DD-HH:MM:SS". A number
/// without a unit is refused: Slurm would read minutes, a job file seconds.
[[nodiscard]] Result<double> parse_time_limit(std::string_view text);
/// "afterok:12", "after:3:4" (as in Slurm, one for each job); at most kDependenciesMax.
[[nodiscard]] Result<std::vector<Dependency>> parse_dependency(std::string_view text);
/// "0-99%10", "0-15:4%4", "1,3,7", "1-3,10-12".
[[nodiscard]] Result<ArraySpec> parse_array(std::string_view text);

/// "afterok:12"
[[nodiscard]] std::string to_string(const Dependency& dependency);
/// The shortest text that reads as the same array.
[[nodiscard]] std::string to_string(const ArraySpec& array);
[[nodiscard]] std::string_view to_string(DependencyKind kind);
[[nodiscard]] std::string_view to_string(TopologyLevel level);
[[nodiscard]] std::string_view to_string(TopologyMode mode);

}  // namespace rtrain::proto
