#include <rtrain/duration.h>

#include "worker/runtime/json.h"

#include <cmath>
#include <regex>
#include <stdexcept>

namespace rtrain {

Duration::Duration(Seconds, double seconds) : seconds_(seconds) {
  if (!std::isfinite(seconds) || seconds < 0)
    throw std::invalid_argument("a length of time is " + runtime::dump_json(seconds) +
                                " s, expected 0 or more");
}

Duration::Duration(const std::string& text) {
  static const std::regex lightning(R"((\d{1,6}):(\d{1,2}):(\d{1,2}):(\d{1,2}))");
  static const std::regex units(R"((\d{1,9}d)?(\d{1,9}h)?(\d{1,9}m)?(\d{1,9}(?:\.\d{1,9})?s)?)");
  std::smatch match;
  if (std::regex_match(text, match, lightning)) {
    const auto part = [&](std::size_t i) { return std::stod(match[i].str()); };
    seconds_ = ((part(1) * 24 + part(2)) * 60 + part(3)) * 60 + part(4);
    return;
  }
  if (!text.empty() && std::regex_match(text, match, units)) {
    const auto part = [&](std::size_t i) { return match[i].matched ? std::stod(match[i].str()) : 0.0; };
    seconds_ = ((part(1) * 24 + part(2)) * 60 + part(3)) * 60 + part(4);
    return;
  }
  throw std::invalid_argument("the length of time \"" + text +
                              "\" is not one: expected a number with a unit, such as \"90m\", \"2h\" or "
                              "\"1h30m\", or \"DD:HH:MM:SS\"");
}

std::string Duration::text() const { return runtime::dump_json(seconds_) + "s"; }

}  // namespace rtrain
