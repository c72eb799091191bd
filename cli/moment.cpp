#include "cli/moment.h"

#include "proto/jobspec/scheduling.h"

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
      {{"second", 1000}, {"minute", 60'000}, {"hour", 3'600'000}, {"day", 86'400'000}, {"week", 7 * 86'400'000}}};
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

}  // namespace

Result<std::int64_t> parse_moment(const std::string& text, std::int64_t now_ms) {
  if (text == "now") return now_ms;
  if (text.starts_with("now+")) {
    if (const auto ms = with_word(std::string_view(text).substr(4))) return now_ms + *ms;
    auto seconds = proto::parse_time_limit(text.substr(4));
    if (!seconds) return seconds.error();
    return now_ms + static_cast<std::int64_t>(*seconds * 1000);
  }
  if (const auto at = time_of_day(text, now_ms)) return *at;
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
  return fail(Errc::kInvalidArgument,
              "'" + text + "' is not a time: use now, now+30m, now+1hour, 18:30 (the next one), 2026-11-26T08:00 (local time) or 2026-11-26T08:00:00Z");
}

}  // namespace rtrain::cli
