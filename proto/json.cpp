#include "proto/json.h"

#include "common/base/clip.h"
#include "proto/json_parser.h"
#include "proto/text_places.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <deque>
#include <limits>
#include <map>
#include <optional>

namespace rtrain::proto {
namespace {

/// Builds the value of a text that is not right from the events of nlohmann's parser, which can say what is
/// wrong.
class Builder final : public nlohmann::json_sax<Json> {
 public:
  Builder(std::string_view text, JsonLimits limits)
      : text_(text), depth_max_(static_cast<std::size_t>(limits.depth_max)) {}

  Json value;
  bool repeats = false;   ///< some key is given twice
  bool too_deep = false;  ///< ended the reading
  std::optional<TextProblem> syntax;

  bool null() override { return put(nullptr); }
  bool boolean(bool v) override { return put(v); }
  bool number_integer(number_integer_t v) override { return put(v); }
  bool number_unsigned(number_unsigned_t v) override { return put(v); }
  bool number_float(number_float_t v, const string_t&) override { return put(v); }
  bool string(string_t& v) override { return put(std::move(v)); }
  bool binary(binary_t&) override { return false; }  // not in JSON text
  bool start_object(std::size_t) override { return open(Json::value_t::object); }
  bool start_array(std::size_t) override { return open(Json::value_t::array); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    auto& object = levels_.back()->get_ref<Json::object_t&>();
    const auto [member, is_new] = object.emplace(std::move(name), nullptr);
    repeats = repeats || !is_new;
    member_ = is_new ? &member->second : &dropped_.emplace_back();
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    const bool blank = text_.find_first_not_of(" \t\r\n") == std::string_view::npos;
    syntax = TextProblem{"", blank ? "the text is empty" : plain_words(error.what(), position),
                         place_at(text_, position == 0 ? 0 : position - 1)};
    return false;
  }

 private:
  /// "[json.exception.parse_error.101] parse error at line 3, column 5: syntax error while parsing object key
  /// - unexpected '}'; last read: '...'; expected string literal" -> "not valid JSON: unexpected '}';
  /// expected string literal".
  [[nodiscard]] std::string plain_words(std::string message, std::size_t position) const {
    if (position > 0 && position <= text_.size() &&
        (text_[position - 1] == '/' || text_[position - 1] == '#'))
      return "not valid JSON: comments are not part of it";
    if (const auto dash = message.find(" - "); dash != std::string::npos)
      message.erase(0, dash + 3);
    else if (const auto bracket = message.find("] "); bracket != std::string::npos)
      message.erase(0, bracket + 2);
    if (const auto last = message.find("; last read: '"); last != std::string::npos) {
      const auto end = message.rfind("'; expected ");
      message.erase(last, end != std::string::npos && end > last ? end + 1 - last : std::string::npos);
    }
    if (const auto quoted = message.find("string literal"); quoted != std::string::npos)
      message.replace(quoted, 14, "a string in double quotes");
    return clipped("not valid JSON: " + message, 300);
  }

  bool open(Json::value_t kind) {
    if (levels_.size() >= depth_max_) {
      too_deep = true;
      return false;
    }
    Json& opened = next();
    opened = Json(kind);
    levels_.push_back(&opened);
    return true;
  }

  bool close() {
    levels_.pop_back();
    return true;
  }

  template <class T>
  bool put(T&& scalar) {
    next() = Json(std::forward<T>(scalar));
    return true;
  }

  /// Where the value that begins goes. Pointers to values stay good: only the innermost level grows.
  Json& next() {
    if (levels_.empty()) return value;
    if (levels_.back()->is_array()) return levels_.back()->get_ref<Json::array_t&>().emplace_back();
    return *member_;
  }

  std::string_view text_;
  std::size_t depth_max_;
  std::vector<Json*> levels_;
  Json* member_ = nullptr;    ///< of the member whose key was read
  std::deque<Json> dropped_;  ///< values of repeated keys
};

constexpr const char* kTooDeep = "(nested too deeply)";

bool is_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const auto size = utf8_character_at(text, at);
    if (size == 0) return false;
    at += size;
  }
  return true;
}

/// What is no UTF-8 becomes U+FFFD.
std::string as_utf8(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const auto size = utf8_character_at(text, at);
    if (size == 0)
      out += "\xEF\xBF\xBD";
    else
      out += text.substr(at, size);
    at += std::max<std::size_t>(size, 1);
  }
  return out;
}

/// dump() writes it as it is, and the parser reads that. `depth`: levels around the value.
bool is_plain(const Json& value, int depth) {
  if (value.is_number_float()) return std::isfinite(value.get<double>());
  if (!value.is_structured()) return !value.is_binary();
  if (depth >= kJsonDepthMax) return false;
  if (value.is_array())
    return std::ranges::all_of(value, [depth](const Json& child) { return is_plain(child, depth + 1); });
  return std::ranges::all_of(value.get_ref<const Json::object_t&>(), [depth](const auto& member) {
    return is_utf8(member.first) && is_plain(member.second, depth + 1);
  });
}

Json plain_copy(const Json& value, int depth) {
  if (value.is_number_float()) {
    const double number = value.get<double>();
    if (std::isfinite(number)) return value;
    return std::isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity";
  }
  if (value.is_binary()) return nullptr;
  if (!value.is_structured()) return value;
  if (depth >= kJsonDepthMax) return kTooDeep;
  if (value.is_array()) {
    Json copy = Json::array();
    for (const Json& child : value) copy.push_back(plain_copy(child, depth + 1));
    return copy;
  }
  Json copy = Json::object();
  const auto& members = value.get_ref<const Json::object_t&>();
  for (const auto& [key, child] : members)
    if (is_utf8(key)) copy.emplace(key, plain_copy(child, depth + 1));
  // keys that read alike once their bytes are replaced stay keys of their own
  std::map<std::string, int> same;
  for (const auto& [key, child] : members) {
    if (is_utf8(key)) continue;
    const std::string repaired = as_utf8(key);
    std::string name = repaired;
    for (int& n = same[repaired]; copy.contains(name);)
      name = repaired + " (" + std::to_string(++n + 1) + ")";
    copy.emplace(std::move(name), plain_copy(child, depth + 1));
  }
  return copy;
}

std::string dump(const Json& value, int indent) {
  if (!is_plain(value, 0))
    return plain_copy(value, 0).dump(indent, ' ', false, Json::error_handler_t::replace);
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

JsonText read_json_text(std::string_view text, JsonLimits limits) {
  JsonText read;
  if (text.size() > limits.bytes_max) {
    read.problems.push_back({"",
                             "the text has " + std::to_string(text.size()) + " bytes; at most " +
                                 std::to_string(limits.bytes_max) + " are read",
                             {1, 1}});
    return read;
  }
  if (read_valid_json(text, limits.depth_max, read.value)) return read;
  Builder builder(text, limits);
  Json::sax_parse(text.data(), text.data() + text.size(), &builder);
  read.value = std::move(builder.value);
  if (builder.repeats || builder.too_deep) {
    TextSurvey found = survey(text, limits, {});
    read.problems = std::move(found.problems);
    read.more = found.more;
  }
  if (builder.syntax) read.problems.push_back(std::move(*builder.syntax));
  // nlohmann's parser takes a NUL for the end of the text; read_valid_json() has seen what follows.
  if (read.problems.empty())
    read.problems.push_back({"", "not valid JSON: a NUL byte in the text", place_at(text, text.find('\0'))});
  return read;
}

Result<Json> parse_json(std::string_view text, JsonLimits limits) {
  JsonText read = read_json_text(text, limits);
  if (read.problems.empty()) return std::move(read.value);
  const TextProblem& problem = read.problems.front();
  const std::string place = std::to_string(problem.at.line) + ":" + std::to_string(problem.at.column) + ": ";
  return fail(Errc::kInvalidArgument,
              place + (problem.path.empty() ? "" : problem.path + ": ") + problem.message);
}

int depth_of(const Json& value, int most) {
  if (!value.is_structured()) return 0;
  if (most < 0) return 1;
  int deepest = 0;
  for (const Json& child : value) {
    deepest = std::max(deepest, depth_of(child, most - 1));
    if (deepest > most) break;
  }
  return deepest + 1;
}

std::string dump_json(const Json& value) { return dump(value, -1); }
std::string dump_json_pretty(const Json& value) { return dump(value, 2); }

bool json_number(const Json& value, double& out) {
  if (value.is_number()) {
    out = value.get<double>();
    return true;
  }
  if (const auto* text = value.get_ptr<const std::string*>()) {
    if (*text == "NaN") return out = std::numeric_limits<double>::quiet_NaN(), true;
    if (*text == "Infinity") return out = std::numeric_limits<double>::infinity(), true;
    if (*text == "-Infinity") return out = -std::numeric_limits<double>::infinity(), true;
  }
  out = std::numeric_limits<double>::quiet_NaN();
  return false;
}

namespace {
constexpr std::int64_t kTimeFirstMs = -62'167'219'200'000;  // 0000-01-01T00:00:00.000Z
constexpr std::int64_t kTimeLastMs = 253'402'300'799'999;   // 9999-12-31T23:59:59.999Z
}  // namespace

std::string number_text(double value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

std::string rfc3339(std::int64_t unix_ms) {
  using namespace std::chrono;
  const sys_time<milliseconds> time{milliseconds(std::clamp(unix_ms, kTimeFirstMs, kTimeLastMs))};
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const hh_mm_ss clock(time - day);
  std::array<char, 48> text;
  std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ",
                static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                static_cast<unsigned>(date.day()), static_cast<int>(clock.hours().count()),
                static_cast<int>(clock.minutes().count()), static_cast<int>(clock.seconds().count()),
                static_cast<int>(clock.subseconds().count()));
  return text.data();
}

namespace {

/// Takes the digits and signs of a time from its front.
class TimeText {
 public:
  explicit TimeText(std::string_view text) : rest_(text) {}
  /// Exactly so many digits.
  [[nodiscard]] std::optional<int> digits(std::size_t count) {
    int value = 0;
    for (std::size_t i = 0; i < count; ++i, rest_.remove_prefix(1)) {
      if (rest_.empty() || rest_.front() < '0' || rest_.front() > '9') return std::nullopt;
      value = value * 10 + (rest_.front() - '0');
    }
    return value;
  }
  [[nodiscard]] bool take(std::string_view any_of) {
    if (rest_.empty() || any_of.find(rest_.front()) == std::string_view::npos) return false;
    taken_ = rest_.front();
    rest_.remove_prefix(1);
    return true;
  }
  [[nodiscard]] char taken() const { return taken_; }
  [[nodiscard]] bool done() const { return rest_.empty(); }

 private:
  std::string_view rest_;
  char taken_ = 0;
};

}  // namespace

Result<std::int64_t> parse_rfc3339(std::string_view text) {
  using namespace std::chrono;
  const auto wrong = [&](const std::string& why) {
    return fail(Errc::kInvalidArgument, "\"" + clipped(text, 64) + "\" " + why);
  };
  const auto no_form = [&] {
    return wrong("is no time; write it like \"2026-11-26T08:00:00Z\" or \"2026-11-26T09:00:00+01:00\"");
  };
  TimeText rest(text);
  const auto read_part = [&](std::size_t count, std::string_view before, std::optional<int>& part) {
    return (before.empty() || rest.take(before)) && (part = rest.digits(count)).has_value();
  };
  std::optional<int> y, mo, d, h, mi, s, offset_h, offset_m;
  if (!read_part(4, "", y) || !read_part(2, "-", mo) || !read_part(2, "-", d) || !read_part(2, "Tt", h) ||
      !read_part(2, ":", mi) || !read_part(2, ":", s))
    return no_form();
  int ms = 0;
  if (rest.take(".")) {
    int unit = 100;
    std::optional<int> digit = rest.digits(1);
    if (!digit) return no_form();
    // beyond milliseconds the unit is 0
    for (; digit; digit = rest.digits(1), unit /= 10) ms += *digit * unit;
  }
  minutes offset{0};
  if (rest.take("+-")) {
    const int sign = rest.taken() == '-' ? -1 : 1;
    if (!read_part(2, "", offset_h) || !read_part(2, ":", offset_m)) return no_form();
    if (*offset_h > 23 || *offset_m > 59) return wrong("has an offset that does not exist");
    offset = sign * (hours(*offset_h) + minutes(*offset_m));
  } else if (!rest.take("Zz")) {
    return rest.done() ? wrong("has no time zone; add Z for UTC, or an offset such as +01:00") : no_form();
  }
  if (!rest.done()) return no_form();
  const year_month_day date{year(*y), month(static_cast<unsigned>(*mo)), day(static_cast<unsigned>(*d))};
  if (!date.ok()) return wrong("is a date that does not exist");
  if (*h > 23 || *mi > 59 || *s > 60) return wrong("is an hour that does not exist");
  if (*s == 60)
    return wrong("names a leap second, which this machine's clock does not count; write the second after it");
  const auto time = sys_days(date) + hours(*h) + minutes(*mi) + seconds(*s) + milliseconds(ms) - offset;
  const std::int64_t unix_ms = duration_cast<milliseconds>(time.time_since_epoch()).count();
  if (unix_ms < kTimeFirstMs || unix_ms > kTimeLastMs)
    return wrong("is not within the years 0000 to 9999 in UTC");
  return unix_ms;
}

bool unix_ms_from_rfc3339(std::string_view text, std::int64_t& out) {
  const auto read = parse_rfc3339(text);
  if (read) out = *read;
  return read.has_value();
}

}  // namespace rtrain::proto
