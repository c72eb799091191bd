#include "proto/json.h"

#include "proto/json_text.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <limits>

namespace rtrain::proto {
namespace {

/// Reads the text for nlohmann's parser and tells how far it has come.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, const char** consumed) : at_(at), consumed_(consumed) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    ++at_;
    if (consumed_ != nullptr) *consumed_ = at_;
    return *this;
  }
  CountingIterator operator++(int) {
    const auto before = *this;
    ++*this;
    return before;
  }
  friend bool operator==(const CountingIterator& a, const CountingIterator& b) { return a.at_ == b.at_; }
  friend bool operator!=(const CountingIterator& a, const CountingIterator& b) { return a.at_ != b.at_; }

 private:
  const char* at_;
  const char** consumed_;
};

/// Builds the value from the parser's events. A repeated key is noted and its value dropped.
class Builder final : public nlohmann::json_sax<Json> {
 public:
  Builder(std::string_view text, JsonLimits limits, bool with_places) : text_(text), limits_(limits), with_places_(with_places) {}

  JsonText result;
  const char* consumed = nullptr;

  bool null() override { return put(nullptr); }
  bool boolean(bool v) override { return put(v); }
  bool number_integer(number_integer_t v) override { return put(v); }
  bool number_unsigned(number_unsigned_t v) override { return put(v); }
  bool number_float(number_float_t v, const string_t&) override { return put(v); }
  bool string(string_t& v) override { return put(std::move(v)); }
  bool binary(binary_t&) override { return false; }  // not in JSON text
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    Level& level = levels_.back();
    level.key = std::move(name);
    const std::string where = child_path();
    const TextPosition at = place_of(next_token());
    level.repeated = level.value.contains(level.key);
    if (level.repeated) {
      const auto first = result.places.find(where);
      const std::string seen = first == result.places.end() ? "" : "; first in line " + std::to_string(first->second.line);
      result.problems.push_back({where, "this key is given twice" + seen, at});
    } else if (with_places_) {
      result.places.emplace(where, at);
    }
    mark_end();
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    const bool blank = text_.find_first_not_of(" \t\r\n") == std::string_view::npos;
    result.problems.push_back({"", blank ? "the text is empty" : plain_words(error.what(), position), place_of(position == 0 ? 0 : position - 1)});
    return false;
  }

 private:
  struct Level {
    Json value;
    std::string key;        // of the member being read
    bool repeated = false;  // its value is dropped
    std::string path;       // with a trailing dot for objects
  };

  /// "[json.exception.parse_error.101] parse error at line 3, column 5: syntax error while parsing object key - unexpected '}';
  /// last read: '...'; expected string literal" -> "not valid JSON: unexpected '}'; expected string literal".
  [[nodiscard]] std::string plain_words(std::string message, std::size_t position) const {
    if (position > 0 && position <= text_.size() && (text_[position - 1] == '/' || text_[position - 1] == '#'))
      return "not valid JSON: comments are not part of it";
    if (const auto dash = message.find(" - "); dash != std::string::npos) message.erase(0, dash + 3);
    else if (const auto bracket = message.find("] "); bracket != std::string::npos) message.erase(0, bracket + 2);
    if (const auto last = message.find("; last read: '"); last != std::string::npos) {
      const auto end = message.rfind("'; expected ");
      message.erase(last, end != std::string::npos && end > last ? end + 1 - last : std::string::npos);
    }
    if (const auto quoted = message.find("string literal"); quoted != std::string::npos) message.replace(quoted, 14, "a string in double quotes");
    return "not valid JSON: " + message;
  }

  bool open(Json empty) {
    if (levels_.size() >= static_cast<std::size_t>(limits_.depth_max)) {
      result.problems.push_back({"", "nested deeper than " + std::to_string(limits_.depth_max) + " levels", place_of(next_token())});
      return false;
    }
    std::string path;
    if (!levels_.empty() && with_places_) {
      note_element();
      path = child_path();
    }
    if (!path.empty() && empty.is_object()) path += '.';
    levels_.push_back({std::move(empty), {}, false, std::move(path)});
    mark_end();
    return true;
  }

  bool close() {
    Json value = std::move(levels_.back().value);
    levels_.pop_back();
    if (!levels_.empty()) return place(std::move(value));
    mark_end();
    result.value = std::move(value);
    return true;
  }

  template <class T>
  bool put(T&& scalar) {
    if (levels_.empty()) {
      result.value = std::forward<T>(scalar);
      return true;
    }
    note_element();
    return place(Json(std::forward<T>(scalar)));
  }

  bool place(Json value) {
    Level& level = levels_.back();
    if (level.value.is_array()) level.value.push_back(std::move(value));
    else if (!level.repeated) level.value.emplace(level.key, std::move(value));
    mark_end();
    return true;
  }

  void note_element() {
    if (with_places_ && levels_.back().value.is_array()) result.places.emplace(child_path(), place_of(next_token()));
  }

  [[nodiscard]] std::string child_path() const {
    const Level& level = levels_.back();
    return level.value.is_array() ? level.path + "[" + std::to_string(level.value.size()) + "]" : level.path + level.key;
  }

  void mark_end() { token_end_ = static_cast<std::size_t>(consumed - text_.data()); }

  /// Where the token that the parser has just read begins: after the previous one, blanks and a comma.
  [[nodiscard]] std::size_t next_token() const {
    const auto at = text_.find_first_not_of(" \t\r\n,", token_end_);
    return at == std::string_view::npos ? text_.size() : at;
  }

  [[nodiscard]] TextPosition place_of(std::size_t offset) {
    offset = std::min(offset, text_.size());
    if (offset < line_start_) line_ = 1, line_start_ = 0;
    for (auto end = text_.find('\n', line_start_); end < offset; end = text_.find('\n', line_start_)) {
      ++line_;
      line_start_ = end + 1;
    }
    return {line_, static_cast<int>(offset - line_start_) + 1};
  }

  std::string_view text_;
  JsonLimits limits_;
  bool with_places_;
  std::vector<Level> levels_;
  std::size_t token_end_ = 0;
  int line_ = 1;  // place_of() goes on from the last line it was asked for
  std::size_t line_start_ = 0;
};

constexpr int kDumpDepthMax = 256;  // dump() and copies of Json recurse
constexpr const char* kTooDeep = "(nested too deeply)";

bool is_plain(const Json& value, int depth) {
  if (value.is_number_float()) return std::isfinite(value.get<double>());
  if (!value.is_structured()) return !value.is_binary();
  if (depth >= kDumpDepthMax) return false;
  return std::all_of(value.begin(), value.end(), [depth](const Json& child) { return is_plain(child, depth + 1); });
}

Json plain_copy(const Json& value, int depth) {
  if (value.is_number_float()) {
    const double number = value.get<double>();
    if (std::isfinite(number)) return value;
    return std::isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity";
  }
  if (value.is_binary()) return nullptr;
  if (!value.is_structured()) return value;
  if (depth >= kDumpDepthMax) return kTooDeep;
  Json copy = value.is_array() ? Json::array() : Json::object();
  if (value.is_array())
    for (const Json& child : value) copy.push_back(plain_copy(child, depth + 1));
  else
    for (const auto& [key, child] : value.items()) copy.emplace(key, plain_copy(child, depth + 1));
  return copy;
}

std::string dump(const Json& value, int indent) {
  if (!is_plain(value, 0)) return plain_copy(value, 0).dump(indent, ' ', false, Json::error_handler_t::replace);
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

JsonText read_json_text(std::string_view text, JsonLimits limits, bool with_places) {
  if (text.size() > limits.bytes_max) {
    JsonText refused;
    refused.problems.push_back({"", "the text has " + std::to_string(text.size()) + " bytes; at most " + std::to_string(limits.bytes_max) + " are read", {1, 1}});
    return refused;
  }
  Builder builder(text, limits, with_places);
  builder.consumed = text.data();
  Json::sax_parse(CountingIterator(text.data(), &builder.consumed), CountingIterator(text.data() + text.size(), nullptr), &builder);
  return std::move(builder.result);
}

Result<Json> parse_json(std::string_view text, JsonLimits limits) {
  JsonText read = read_json_text(text, limits, false);
  if (read.problems.empty()) return std::move(read.value);
  const TextProblem& problem = read.problems.front();
  const std::string place = std::to_string(problem.at.line) + ":" + std::to_string(problem.at.column) + ": ";
  return fail(Errc::kInvalidArgument, place + (problem.path.empty() ? "" : problem.path + ": ") + problem.message);
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

std::string rfc3339(std::int64_t unix_ms) {
  using namespace std::chrono;
  const sys_time<milliseconds> time{milliseconds(unix_ms)};
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const hh_mm_ss clock(time - day);
  std::array<char, 48> text;
  std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                static_cast<unsigned>(date.day()), static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()), static_cast<int>(clock.subseconds().count()));
  return text.data();
}

bool unix_ms_from_rfc3339(std::string_view text, std::int64_t& out) {
  using namespace std::chrono;
  const std::string copy(text);
  int y = 0, mo = 0, d = 0, h = 0, mi = 0, s = 0, ms = 0, used = 0;
  const int size = static_cast<int>(copy.size());
  if (std::sscanf(copy.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &y, &mo, &d, &h, &mi, &s, &ms, &used) != 7 || used != size) {
    ms = used = 0;
    if (std::sscanf(copy.c_str(), "%4d-%2d-%2dT%2d:%2d:%2dZ%n", &y, &mo, &d, &h, &mi, &s, &used) != 6 || used != size) return false;
  }
  const year_month_day date{year(y), month(static_cast<unsigned>(mo)), day(static_cast<unsigned>(d))};
  if (!date.ok() || h < 0 || h > 23 || mi < 0 || mi > 59 || s < 0 || s > 59 || ms < 0) return false;
  const auto time = sys_days(date) + hours(h) + minutes(mi) + seconds(s) + milliseconds(ms);
  out = duration_cast<milliseconds>(time.time_since_epoch()).count();
  return true;
}

}  // namespace rtrain::proto
