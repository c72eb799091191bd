#include "proto/text_places.h"

#include "common/base/clip.h"

#include <algorithm>
#include <iterator>
#include <map>

namespace rtrain::proto {
namespace {

constexpr std::size_t kPathShownMax = 200;

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

/// Places in a text that are asked for from its start to its end: each byte is looked at once.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text) {}
  [[nodiscard]] TextPosition place_of(std::size_t offset) {
    offset = std::min(offset, text_.size());
    for (; at_ < offset; ++at_)
      if (text_[at_] == '\n') ++line_, line_start_ = at_ + 1;
    return {line_, static_cast<int>(offset - line_start_) + 1};
  }

 private:
  std::string_view text_;
  std::size_t at_ = 0, line_start_ = 0;
  int line_ = 1;
};

class Surveyor final : public nlohmann::json_sax<Json> {
 public:
  Surveyor(std::string_view text, JsonLimits limits, const std::vector<std::string>& wanted)
      : text_(text), limits_(limits), wanted_(wanted), cursor_(text), best_(wanted.size(), 0) {
    result.places.resize(wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i)
      if (!wanted[i].empty()) all_.push_back({i, 0});
  }

  TextSurvey result;
  const char* consumed = nullptr;

  bool null() override { return scalar(); }
  bool boolean(bool) override { return scalar(); }
  bool number_integer(number_integer_t) override { return scalar(); }
  bool number_unsigned(number_unsigned_t) override { return scalar(); }
  bool number_float(number_float_t, const string_t&) override { return scalar(); }
  bool string(string_t&) override { return scalar(); }
  bool binary(binary_t&) override { return false; }  // not in JSON text
  bool start_object(std::size_t) override { return open(false); }
  bool start_array(std::size_t) override { return open(true); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

  bool key(string_t& name) override {
    Level& level = levels_.back();
    const auto at = cursor_.place_of(next_token());
    const auto [first, is_new] = level.keys.emplace(std::move(name), at);
    level.key = &first->first;
    level.matches.clear();
    for (const auto& match : level.wanted) {
      const auto rest = std::string_view(wanted_[match.path]).substr(match.length);
      if (!rest.starts_with(first->first)) continue;
      const auto after = rest.substr(first->first.size());
      if (after.empty() || after.front() == '.' || after.front() == '[')
        found(match.path, match.length + first->first.size(), at, level.matches);
    }
    if (!is_new) repeated(first->second, at);
    mark_end();
    return true;
  }

 private:
  /// A wanted path, and how much of it the way to here makes up.
  struct Match {
    std::size_t path, length;
  };
  struct Level {
    bool array = false;
    std::size_t next = 0;                      // element of an array
    std::map<std::string, TextPosition> keys;  // of an object, where each stands first
    const std::string* key = nullptr;
    std::vector<Match> wanted;   // what may be in here
    std::vector<Match> matches;  // what the current member or element is on the way to
  };

  void found(std::size_t path, std::size_t length, TextPosition at, std::vector<Match>& matches) {
    matches.push_back({path, length});
    if (length <= best_[path]) return;
    best_[path] = length;
    result.places[path] = at;
  }

  void repeated(TextPosition first, TextPosition at) {
    if (result.problems.size() >= kProblemsMax) {
      ++result.more;
      return;
    }
    result.problems.push_back(
        {path_here(), "this key is given twice; first in line " + std::to_string(first.line), at});
  }

  [[nodiscard]] std::string path_here() const {
    std::string path;
    for (const auto& level : levels_) {
      if (level.array)
        path += "[" + std::to_string(level.next - 1) + "]";
      else if (level.key != nullptr)
        path += (path.empty() ? "" : ".") + *level.key;
      if (path.size() > kPathShownMax) break;
    }
    return clipped(path, kPathShownMax);
  }

  /// A value begins. Elements of arrays have no key that would have been looked at.
  void note_element() {
    if (levels_.empty() || !levels_.back().array) return;
    Level& level = levels_.back();
    level.matches.clear();
    if (!level.wanted.empty()) {
      const std::string step = "[" + std::to_string(level.next) + "]";
      const auto at = cursor_.place_of(next_token());
      for (const auto& match : level.wanted)
        if (std::string_view(wanted_[match.path]).substr(match.length).starts_with(step))
          found(match.path, match.length + step.size(), at, level.matches);
    }
    ++level.next;
  }

  bool scalar() {
    note_element();
    mark_end();
    return true;
  }

  bool open(bool array) {
    if (levels_.size() >= static_cast<std::size_t>(limits_.depth_max)) {
      result.problems.push_back({"", "nested deeper than " + std::to_string(limits_.depth_max) + " levels",
                                 cursor_.place_of(next_token())});
      return false;
    }
    note_element();
    Level level;
    level.array = array;
    if (levels_.empty()) {
      level.wanted = all_;
    } else {
      const char step = array ? '[' : '.';
      for (const auto& match : levels_.back().matches)
        if (match.length < wanted_[match.path].size() && wanted_[match.path][match.length] == step)
          level.wanted.push_back({match.path, match.length + (array ? 0 : 1)});
    }
    levels_.push_back(std::move(level));
    mark_end();
    return true;
  }

  bool close() {
    levels_.pop_back();
    mark_end();
    return true;
  }

  void mark_end() { token_end_ = static_cast<std::size_t>(consumed - text_.data()); }

  /// Where the token that the parser has just read begins: after the previous one, blanks and a comma.
  [[nodiscard]] std::size_t next_token() const {
    const auto at = text_.find_first_not_of(" \t\r\n,", token_end_);
    return at == std::string_view::npos ? text_.size() : at;
  }

  std::string_view text_;
  JsonLimits limits_;
  const std::vector<std::string>& wanted_;
  Cursor cursor_;
  std::vector<Match> all_;
  std::vector<std::size_t> best_;
  std::vector<Level> levels_;
  std::size_t token_end_ = 0;
};

}  // namespace

TextSurvey survey(std::string_view text, JsonLimits limits, const std::vector<std::string>& wanted) {
  Surveyor surveyor(text, limits, wanted);
  surveyor.consumed = text.data();
  Json::sax_parse(CountingIterator(text.data(), &surveyor.consumed),
                  CountingIterator(text.data() + text.size(), nullptr), &surveyor);
  return std::move(surveyor.result);
}

TextPosition place_at(std::string_view text, std::size_t offset) { return Cursor(text).place_of(offset); }

std::vector<TextPosition> places_in(std::string_view text, JsonLimits limits,
                                    const std::vector<std::string>& paths) {
  if (text.size() > limits.bytes_max) return std::vector<TextPosition>(paths.size(), {1, 1});
  return survey(text, limits, paths).places;
}

}  // namespace rtrain::proto
