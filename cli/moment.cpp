#include "cli/moment.h"

#include "common/base/clip.h"
#include "common/base/duration.h"
#include "proto/jobspec/scheduling.h"
#include "proto/json.h"

#include <array>
#include <charconv>
#include <cstdlib>
#include <ctime>
#include <optional>

namespace rtrain::cli {

namespace {

constexpr std::int64_t kFarthestMs = std::int64_t{30} * 365 * 86'400'000;

/// "1hour", "30 minutes" as Slurm writes them; milliseconds. Nothing: it is written in another way.
std::optional<std::int64_t> with_word(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, std::int64_t>, 5> kWords{
      {{"second", 1000},
       {"minute", 60'000},
       {"hour", 3'600'000},
       {"day", 86'400'000},
       {"week", 7 * 86'400'000}}};
  std::int64_t count = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (ec != std::errc{} || count < 0) return std::nullopt;
  auto word = text.substr(static_cast<std::size_t>(end - text.data()));
  if (word.ends_with('s')) word.remove_suffix(1);
  for (const auto& [name, ms] : kWords)
    if (word == name && count <= kFarthestMs / ms) return count * ms;
  return std::nullopt;
}

/// The next time that a clock on the wall shows it.
std::optional<std::int64_t> time_of_day(const std::string& text, std::int64_t now_ms) {
  for (const char* form : {"%H:%M:%S", "%H:%M"}) {
    std::tm clock{};
    const char* end = ::strptime(text.c_str(), form, &clock);
    if (end == nullptr || *end != '\0') continue;
    const std::time_t now = static_cast<std::time_t>(now_ms / 1000);
    std::tm day{};
    ::localtime_r(&now, &day);
    day.tm_hour = clock.tm_hour;
    day.tm_min = clock.tm_min;
    day.tm_sec = clock.tm_sec;
    day.tm_isdst = -1;
    std::tm today = day;
    if (const auto at = static_cast<std::int64_t>(std::mktime(&today)) * 1000; at >= now_ms) return at;
    ++day.tm_mday;
    return static_cast<std::int64_t>(std::mktime(&day)) * 1000;
  }
  return std::nullopt;
}

/// "2026-11-26T08:00[:00]" by the clock of this machine. Nothing: it is written in another way.
std::optional<Result<std::int64_t>> local_time(const std::string& text) {
  for (const char* form : {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"}) {
    std::tm parts{};
    const char* end = ::strptime(text.c_str(), form, &parts);
    if (end == nullptr || *end != '\0') continue;
    // mktime() makes 2 March of 30 February.
    if (const auto in_utc = proto::parse_rfc3339(text + (text.size() == 16 ? ":00Z" : "Z")); !in_utc)
      return in_utc.error();
    parts.tm_isdst = -1;
    if (const std::time_t seconds = std::mktime(&parts); seconds > 0)
      return static_cast<std::int64_t>(seconds) * 1000;
  }
  return std::nullopt;
}

}  // namespace

Result<std::int64_t> parse_moment(const std::string& text, std::int64_t now_ms) {
  if (text == "now") return now_ms;
  if (text.starts_with("now+")) {
    if (const auto ms = with_word(std::string_view(text).substr(4))) return now_ms + *ms;
    auto seconds = proto::parse_time_limit(text.substr(4));
    if (!seconds) return seconds.error();
    return now_ms + to_milliseconds(*seconds).count();
  }
  if (const auto at = time_of_day(text, now_ms)) return *at;
  if (auto at = local_time(text)) return *at;
  const bool is_date = text.size() >= 10 && text[4] == '-' && text[7] == '-';
  const bool no_seconds = text.size() == 17 && text.ends_with('Z');
  auto at = proto::parse_rfc3339(no_seconds ? text.substr(0, 16) + ":00Z" : text);
  if (at && *at > 0) return *at;
  if (is_date && !at) return at.error();
  return fail(Errc::kInvalidArgument, "'" + clipped(text, 64) +
                                          "' is not a time: use now, now+30m, now+1hour, 18:30 (the next "
                                          "one), 2026-11-26T08:00 (local time), "
                                          "2026-11-26T08:00:00Z or 2026-11-26T09:00:00+01:00");
}

}  // namespace rtrain::cli
