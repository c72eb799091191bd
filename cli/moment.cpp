#include "cli/moment.h"

#include "proto/jobspec/scheduling.h"

#include <cstdlib>
#include <ctime>

namespace rtrain::cli {

Result<std::int64_t> parse_moment(const std::string& text, std::int64_t now_ms) {
  if (text == "now") return now_ms;
  if (text.starts_with("now+")) {
    auto seconds = proto::parse_time_limit(text.substr(4));
    if (!seconds) return seconds.error();
    return now_ms + static_cast<std::int64_t>(*seconds * 1000);
  }
  const bool utc = text.ends_with('Z');
  const std::string body = utc ? text.substr(0, text.size() - 1) : text;
  for (const char* form : {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"}) {
    std::tm parts{};
    const char* end = ::strptime(body.c_str(), form, &parts);
    if (end == nullptr || *end != '\0') continue;
    parts.tm_isdst = -1;
    const std::time_t seconds = utc ? ::timegm(&parts) : std::mktime(&parts);
    if (seconds > 0) return static_cast<std::int64_t>(seconds) * 1000;
  }
  return fail(Errc::kInvalidArgument, "'" + text + "' is no time: write now, now+30m, 2026-11-26T08:00 (local time) or 2026-11-26T08:00:00Z");
}

}  // namespace rtrain::cli
