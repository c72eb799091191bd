// The names of checkpoints, from templates such as "{epoch}-{val_loss:.2f}".
#include "common/base/nan.h"

#include <rtrain/callbacks/model_checkpoint.h>

#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <regex>
#include <stdexcept>
#include <string>

namespace rtrain {
namespace {

/// As printf of the C locale, whatever the program's own.
std::string formatted(double value, const std::string& format, const std::string& name_template) {
  static const std::regex allowed(R"((0?)(\d{0,3})(?:\.(\d{1,3}))?([dfeg]?))");
  std::smatch match;
  if (!std::regex_match(format, match, allowed)) {
    throw std::invalid_argument("checkpoint name \"" + name_template + "\": the format \":" + format +
                                "\" is not of the form [0][width][.digits][d|f|e|g]");
  }
  const auto kind = match[4].str();
  const bool whole =
      kind == "d" || (kind.empty() && std::nearbyint(value) == value && std::abs(value) < 1e15);
  const auto how = whole || kind == "f" ? std::chars_format::fixed
                   : kind == "e"        ? std::chars_format::scientific
                                        : std::chars_format::general;
  const int digits = whole ? 0 : match[3].matched ? std::stoi(match[3].str()) : 6;
  value = unsigned_nan(value);
  std::array<char, 1536> room{};  // 309 digits, a point, 999 digits
  const auto end = std::to_chars(room.data(), room.data() + room.size(),
                                 whole ? std::trunc(value) + 0.0 : value, how, digits)
                       .ptr;
  std::string text(room.data(), end);
  const auto width = match[2].length() > 0 ? std::stoul(match[2].str()) : 0;
  if (text.size() >= width) return text;
  const bool zeros = match[1].length() > 0;
  text.insert(zeros && text.front() == '-' ? 1 : 0, width - text.size(), zeros ? '0' : ' ');
  return text;
}

}  // namespace

std::string format_checkpoint_name(const std::string& name_template,
                                   const std::map<std::string, double>& values,
                                   bool auto_insert_metric_name) {
  std::string result;
  for (std::size_t at = 0; at < name_template.size();) {
    if (name_template[at] != '{') {
      result += name_template[at++];
      continue;
    }
    const auto end = name_template.find('}', at);
    if (end == std::string::npos)
      throw std::invalid_argument("checkpoint name \"" + name_template + "\": a \"{\" is not closed");
    const auto field = name_template.substr(at + 1, end - at - 1);
    const auto colon = field.find(':');
    const auto name = field.substr(0, colon);
    if (name.empty())
      throw std::invalid_argument("checkpoint name \"" + name_template +
                                  "\": a field has no name, expected one like {epoch}");
    const auto found = values.find(name);
    if (auto_insert_metric_name) result += name + "=";
    result += formatted(found == values.end() ? 0 : found->second,
                        colon == std::string::npos ? "" : field.substr(colon + 1), name_template);
    at = end + 1;
  }
  return result;
}

}  // namespace rtrain
