#include "proto/api/stream_position.h"

#include <charconv>

namespace rtrain::proto {
namespace {

/// Takes a number that is not negative from the front.
template <class Number>
bool take_number(std::string_view& text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || number < 0) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

bool take(std::string_view& text, std::string_view word) {
  if (!text.starts_with(word)) return false;
  text.remove_prefix(word.size());
  return true;
}

bool take_field(std::string_view& text, StreamPosition& position) {
  if (take(text, "metrics=")) return take_number(text, position.metrics);
  if (take(text, "attempt=")) return take_number(text, position.attempt);
  std::int64_t attempt = 0, offset = 0;
  int rank = 0;
  if (!take_number(text, attempt) || !take(text, ".") || !take_number(text, rank) || !take(text, "=") ||
      !take_number(text, offset))
    return false;
  position.logs[{attempt, rank}] = offset;
  return true;
}

}  // namespace

std::string to_string(const StreamPosition& position) {
  std::string text = "metrics=" + std::to_string(position.metrics);
  if (position.attempt > 0) text += ",attempt=" + std::to_string(position.attempt);
  const auto without_logs = text.size();
  for (const auto& [key, offset] : position.logs) {
    if (offset == 0 || key.first < position.attempt) continue;
    text += "," + std::to_string(key.first) + "." + std::to_string(key.second) + "=" + std::to_string(offset);
    if (text.size() <= kStreamPositionBytesMax) continue;
    text.resize(without_logs);
    break;
  }
  return text;
}

Result<StreamPosition> parse_stream_position(std::string_view text) {
  StreamPosition position;
  std::string_view rest = text;
  bool good = text.size() <= kStreamPositionBytesMax;
  while (good && !rest.empty())
    good = take_field(rest, position) && (rest.empty() || (take(rest, ",") && !rest.empty()));
  if (good) return position;
  return fail(Errc::kInvalidArgument,
              "\"" + std::string(text.substr(0, 100)) + "\" is no position in a stream",
              "send back the id of the last event that came, as it was");
}

}  // namespace rtrain::proto
