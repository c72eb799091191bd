// Events of a trace summed by name: torch.profiler's key_averages().
#pragma once

#include <rtrain/profilers/pytorch_profiler.h>

#include <cstdint>
#include <string>
#include <vector>

namespace rtrain::profilers {

/// What the sums need of one event, whoever recorded it.
struct TraceEvent {
  std::string name;
  std::uint64_t start_ns = 0, end_ns = 0;
  std::uint64_t thread = 0;       ///< of the start; events of one thread nest
  std::uint64_t correlation = 0;  ///< of an event on the CPU
  std::uint64_t started_by = 0;   ///< of a kernel: the correlation of the event that launched it; 0 unknown
  bool on_gpu = false;
  double flops = 0;
};

/// Kernels count for the innermost event on the CPU that launched them as "self", and for all those around
/// it.
[[nodiscard]] RTRAIN_API std::vector<KeyAverage> key_averages(std::vector<TraceEvent> events);

/// @param key as PyTorchProfilerOptions::sort_by_key, not empty.
RTRAIN_API void sort_by(std::vector<KeyAverage>& averages, const std::string& key);

/// @param rows -1: all.
[[nodiscard]] RTRAIN_API std::string table_of(const std::vector<KeyAverage>& averages, std::int64_t rows,
                                              bool with_gpu, bool with_flops);

}  // namespace rtrain::profilers
