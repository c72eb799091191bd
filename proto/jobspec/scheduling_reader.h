// Reads and writes the `scheduling` object.
#pragma once

#include "proto/jobspec/object_reader.h"

namespace rtrain::proto {

void read_scheduling(ObjectReader& top, SchedulingConfig& scheduling);
/// Defaults filled in; what is absent stays out.
[[nodiscard]] Json scheduling_json(const SchedulingConfig& scheduling);

/// The name of a job, a queue or a reservation: 1 to 128 letters, digits, '.', '_', '-'; begins with a letter
/// or digit.
[[nodiscard]] bool is_name(const std::string& name);
/// What the error for anything else says.
inline constexpr const char* kNameRule =
    "must be 1 to 128 letters, digits, dots, underscores or dashes, and begin with a letter or digit";
/// 2 rather than 2.0 where nothing is lost: people read this form.
[[nodiscard]] Json plain_number(double value);

}  // namespace rtrain::proto
