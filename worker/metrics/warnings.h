// Warnings of data that gives a metric no real value.
#pragma once

#include <string>

namespace rtrain::metrics {

/// On rank 0's log, each text once a process: a metric is computed every epoch.
void warn_once(const std::string& text);

}  // namespace rtrain::metrics
