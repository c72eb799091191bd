// A time as a user writes it. Pure, but for the time zone of the machine.
#pragma once

#include "common/base/result.h"

#include <cstdint>
#include <string>

namespace rtrain::cli {

/// "now", "now+30m", "now+1hour" (as Slurm writes it), "18:30[:00]" (the next one), "2026-11-26T08:00[:00]"
/// in local time, "2026-11-26T08:00[:00]Z" in UTC, any other RFC 3339 time such as
/// "2026-11-26T09:00:00+01:00"; milliseconds since 1970. kInvalidArgument shows the forms.
[[nodiscard]] Result<std::int64_t> parse_moment(const std::string& text, std::int64_t now_ms);

}  // namespace rtrain::cli
