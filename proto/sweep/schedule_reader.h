// The parts "search", "schedule" and "limits" of a sweep file. Private to proto/sweep.
#pragma once

#include "proto/jobspec/object_reader.h"
#include "proto/sweep/sweep_spec.h"

namespace rtrain::proto {

void read_search(ObjectReader& top, SearchConfig& search);
void read_schedule(ObjectReader& top, ScheduleConfig& schedule);
void read_limits(ObjectReader& top, SweepLimits& limits);
[[nodiscard]] Json search_json(const SearchConfig& search);
[[nodiscard]] Json schedule_json(const ScheduleConfig& schedule);
[[nodiscard]] Json limits_json(const SweepLimits& limits);

}  // namespace rtrain::proto
