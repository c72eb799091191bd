// Which trial of a finished sweep is the best. Pure, and without LibTorch.
#pragma once

#include <rtrain/export.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace rtrain::sdk {

/// kBest: of those that came furthest. kLast, kAll: of all, whatever they came to; by the last value or by
/// the best of all reports.
enum class GridScope { kBest, kLast, kAll };
/// @throws std::invalid_argument another name than best, last and all.
[[nodiscard]] RTRAIN_API GridScope grid_scope(const std::string& name);
/// Whether `mode` is "max". @throws std::invalid_argument it is not "min", either.
[[nodiscard]] RTRAIN_API bool grid_maximizes(const std::string& mode);

/// What a trial has to say for itself.
struct GridEntry {
  bool counts = true;          ///< it has not failed, and its parameters can be trained
  std::int64_t rung = -1;      ///< the last that it came to; -1: none
  std::vector<double> values;  ///< of the metric, by report; what is no finite number does not count
};
/// The index of the best; of equals the first. std::nullopt: none has a value.
[[nodiscard]] RTRAIN_API std::optional<std::size_t> best_entry(std::span<const GridEntry> entries,
                                                               GridScope scope, bool maximize);

}  // namespace rtrain::sdk
