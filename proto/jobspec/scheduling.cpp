// The texts of the `scheduling` object.
#include "proto/jobspec/scheduling.h"

#include "common/base/clip.h"
#include "common/base/number.h"

#include <algorithm>
#include <array>
#include <utility>

namespace rtrain::proto {
namespace {

constexpr std::array<std::pair<DependencyKind, std::string_view>, 3> kKinds{
    {{DependencyKind::kAfter, "after"},
     {DependencyKind::kAfterAny, "afterany"},
     {DependencyKind::kAfterOk, "afterok"}}};
constexpr double kTimeLimitMaxS = 1e9;  // some 30 years

/// A whole number without a sign, nullopt for anything else.
template <class Number = std::int64_t>
std::optional<Number> whole(std::string_view text) {
  const auto value = whole_number(text);
  if (!value || text.starts_with('-') || !std::in_range<Number>(*value)) return std::nullopt;
  return static_cast<Number>(*value);
}

/// The text in an error.
std::string quoted(std::string_view text) { return "\"" + clipped(text, 64) + "\""; }

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

/// "1h30m": amounts with falling units.
std::optional<double> with_units(std::string_view text) {
  constexpr std::array<std::pair<char, double>, 4> kUnits{{{'d', 86'400}, {'h', 3'600}, {'m', 60}, {'s', 1}}};
  double total = 0;
  std::size_t next_unit = 0;
  while (!text.empty()) {
    const auto amount = take_number(text, false);
    if (!amount || text.empty()) return std::nullopt;
    while (next_unit < kUnits.size() && kUnits[next_unit].first != text.front()) ++next_unit;
    if (next_unit == kUnits.size()) return std::nullopt;
    total += *amount * kUnits[next_unit++].second;
    text.remove_prefix(1);
  }
  return total;
}

/// Slurm's forms with colons and days.
std::optional<double> with_colons(std::string_view text) {
  double days = 0;
  const auto dash = text.find('-');
  if (dash != std::string_view::npos) {
    const auto number = whole(text.substr(0, dash));
    if (!number) return std::nullopt;
    days = static_cast<double>(*number);
    text.remove_prefix(dash + 1);
  }
  const auto parts = split(text, ':');
  // Days begin with hours; without days the last part is the seconds.
  if (parts.size() > 3 || (dash == std::string_view::npos && parts.size() < 2)) return std::nullopt;
  double seconds = 0, unit = dash != std::string_view::npos ? 3600 : parts.size() == 2 ? 60 : 3600;
  for (const auto& part : parts) {
    const auto number = whole(part);
    if (!number) return std::nullopt;
    seconds += static_cast<double>(*number) * unit;
    unit /= 60;
  }
  return days * 86'400 + seconds;
}

Error bad_array(std::string_view text, const std::string& why) {
  return fail(Errc::kInvalidArgument,
              quoted(text) + " is no array: " + why + "; write \"0-99%10\", \"0-15:4\" or \"1,3,7\"");
}

}  // namespace

Result<double> parse_time_limit(std::string_view text) {
  if (finite_number(text) && text.size() <= 32 && !text.starts_with('-')) {
    const std::string number(text);
    return fail(Errc::kInvalidArgument, "\"" + number + "\" has no unit; write \"" + number +
                                            "m\" for minutes or \"" + number + "s\" for seconds");
  }
  auto seconds = with_units(text);
  if (!seconds) seconds = with_colons(text);
  if (!seconds || text.empty())
    return fail(Errc::kInvalidArgument,
                quoted(text) + " is no length of time; write \"90m\", \"1h30m\" or \"DD-HH:MM:SS\"");
  if (!(*seconds > 0 && *seconds <= kTimeLimitMaxS))
    return fail(Errc::kInvalidArgument,
                quoted(text) + " is out of range; a time limit is above 0 and below 30 years");
  return *seconds;
}

Result<std::vector<Dependency>> parse_dependency(std::string_view text) {
  const auto parts = split(text, ':');
  const auto kind = std::ranges::find(kKinds, parts[0], &std::pair<DependencyKind, std::string_view>::second);
  if (kind == kKinds.end() || parts.size() < 2)
    return fail(Errc::kInvalidArgument,
                quoted(text) + " is no dependency; write \"afterok:12\", \"afterany:12\" or \"after:12\"");
  if (parts.size() > kDependenciesMax + 1)
    return fail(Errc::kInvalidArgument, "names more than " + std::to_string(kDependenciesMax) + " jobs");
  std::vector<Dependency> found;
  for (auto part = parts.begin() + 1; part != parts.end(); ++part) {
    const auto id = whole(*part);
    if (!id || *id < 1) return fail(Errc::kInvalidArgument, quoted(*part) + " is no number of a job");
    found.push_back({kind->first, JobId(*id)});
  }
  return found;
}

Result<ArraySpec> parse_array(std::string_view text) {
  ArraySpec array;
  std::string_view ranges = text;
  if (const auto percent = text.find('%'); percent != std::string_view::npos) {
    array.max_running = whole<int>(text.substr(percent + 1));
    if (!array.max_running || *array.max_running < 1)
      return bad_array(text, "after % stands how many run at a time, at least 1");
    ranges = text.substr(0, percent);
  }
  const auto parts = split(ranges, ',');
  for (auto part : parts) {
    int step = 1;
    if (const auto colon = part.find(':'); colon != std::string_view::npos) {
      const auto given = whole<int>(part.substr(colon + 1));
      if (!given || *given < 1 || part.find('-') == std::string_view::npos)
        return bad_array(text, "after : stands the step of a range, at least 1");
      step = *given;
      part = part.substr(0, colon);
    }
    const auto dash = part.find('-');
    const auto first = whole<int>(part.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : whole<int>(part.substr(dash + 1));
    if (!first || !last || *last > kArrayIndexMax)
      return bad_array(text, "an index is a whole number from 0 to " + std::to_string(kArrayIndexMax));
    if (*last < *first) return bad_array(text, "the range " + clipped(part, 64) + " is empty");
    if ((*last - *first) / step >= kArrayMax)
      return bad_array(text, "it has more than " + std::to_string(kArrayMax) + " elements");
    for (std::int64_t index = *first; index <= *last; index += step)
      array.indices.push_back(static_cast<int>(index));
    if (array.indices.size() > kArrayMax)
      return bad_array(text, "it has more than " + std::to_string(kArrayMax) + " elements");
    if (parts.size() == 1 && array.indices.size() > 1) array.step = step;
  }
  std::ranges::sort(array.indices);
  if (std::ranges::adjacent_find(array.indices) != array.indices.end())
    return bad_array(text, "an index stands in it twice");
  return array;
}

std::string to_string(const Dependency& dependency) {
  return std::string(to_string(dependency.kind)) + ":" + to_string(dependency.job);
}

std::string to_string(const ArraySpec& array) {
  std::string text;
  const auto& indices = array.indices;
  const auto run_from = [&](std::size_t begin, int step) {
    std::size_t end = begin + 1;
    while (end < indices.size() && indices[end] - indices[end - 1] == step) ++end;
    return end;
  };
  if (array.step > 1) {
    text = std::to_string(indices.front()) + "-" + std::to_string(indices.back()) + ":" +
           std::to_string(array.step);
  } else {
    for (std::size_t begin = 0; begin < indices.size();) {
      const std::size_t end = run_from(begin, 1);
      text += (begin == 0 ? "" : ",") + std::to_string(indices[begin]) +
              (end - begin > 1 ? "-" + std::to_string(indices[end - 1]) : "");
      begin = end;
    }
  }
  return text + (array.max_running ? "%" + std::to_string(*array.max_running) : "");
}

std::string_view to_string(DependencyKind kind) {
  return std::ranges::find(kKinds, kind, &std::pair<DependencyKind, std::string_view>::first)->second;
}
std::string_view to_string(TopologyLevel level) { return level == TopologyLevel::kNode ? "node" : "rack"; }
std::string_view to_string(TopologyMode mode) {
  return mode == TopologyMode::kPreferred ? "preferred" : "required";
}

}  // namespace rtrain::proto
