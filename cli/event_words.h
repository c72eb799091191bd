// An event of a job's life as a sentence.
#pragma once

#include "proto/event/event.h"

namespace rtrain::cli {

/// "2 ranks on a, b", "rank 1 was killed by signal 9 (Killed)", ...
[[nodiscard]] std::string event_words(const proto::JobEvent& event);
/// The attempt that it belongs to; 0: none.
[[nodiscard]] std::int64_t attempt_of(const proto::JobEvent& event);

}  // namespace rtrain::cli
