#pragma once

#include <cstdint>
#include <string>

namespace rtrain::agent {

/// Removes the folders of jobs under <state_dir>/jobs that nothing was written to for 7 days: their logs have served.
void remove_old_jobs(const std::string& state_dir, std::int64_t now_ms);

}  // namespace rtrain::agent
