#include "proto/json_parser.h"

#include <charconv>

namespace rtrain::proto {
namespace {

/// Recursive descent; the depth is bounded by the caller.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text), at_(text.data()), end_(text.data() + text.size()) {}

  [[nodiscard]] bool document(Json& out, int depth) {
    if (!value(out, depth)) return false;
    skip_blanks();
    return at_ == end_;
  }

 private:
  [[nodiscard]] bool value(Json& out, int depth) {
    skip_blanks();
    if (at_ == end_) return false;
    switch (*at_) {
      case '{': return depth > 0 && object(out, depth - 1);
      case '[': return depth > 0 && array(out, depth - 1);
      case '"': {
        std::string text;
        if (!string(text)) return false;
        out = std::move(text);
        return true;
      }
      case 't': out = true; return word("true");
      case 'f': out = false; return word("false");
      case 'n': out = nullptr; return word("null");
      default: return number(out);
    }
  }

  [[nodiscard]] bool object(Json& out, int depth) {
    ++at_;
    out = Json::object();
    auto& members = out.get_ref<Json::object_t&>();
    if (next_is('}')) return true;
    std::string key;
    do {
      skip_blanks();
      key.clear();
      if (at_ == end_ || *at_ != '"' || !string(key) || !next_is(':')) return false;
      const auto before = members.size();
      const auto member = members.emplace_hint(members.end(), std::move(key), nullptr);
      if (members.size() == before || !value(member->second, depth)) return false;
    } while (next_is(','));
    return next_is('}');
  }

  [[nodiscard]] bool array(Json& out, int depth) {
    ++at_;
    out = Json::array();
    auto& elements = out.get_ref<Json::array_t&>();
    if (next_is(']')) return true;
    do {
      if (!value(elements.emplace_back(), depth)) return false;
    } while (next_is(','));
    return next_is(']');
  }

  [[nodiscard]] bool number(Json& out) {
    const char* const begin = at_;
    const auto digits = [this] {
      const char* const first = at_;
      while (at_ != end_ && *at_ >= '0' && *at_ <= '9') ++at_;
      return at_ - first;
    };
    const bool negative = *at_ == '-';
    if (negative) ++at_;
    const char* const first = at_;
    const auto leading = digits();
    if (leading == 0 || (leading > 1 && *first == '0')) return false;
    bool whole = true;
    if (at_ != end_ && *at_ == '.') {
      ++at_;
      whole = false;
      if (digits() == 0) return false;
    }
    if (at_ != end_ && (*at_ == 'e' || *at_ == 'E')) {
      ++at_;
      whole = false;
      if (at_ != end_ && (*at_ == '+' || *at_ == '-')) ++at_;
      if (digits() == 0) return false;
    }
    if (whole) {
      if (negative) {
        std::int64_t value = 0;
        if (std::from_chars(begin, at_, value).ec == std::errc{}) return out = value, true;
      } else {
        std::uint64_t value = 0;
        if (std::from_chars(begin, at_, value).ec == std::errc{}) return out = value, true;
      }
    }
    double value = 0;
    if (std::from_chars(begin, at_, value).ec != std::errc{}) return false;
    out = value;
    return true;
  }

  /// At the opening quote.
  [[nodiscard]] bool string(std::string& out) {
    ++at_;
    for (;;) {
      const char* const begin = at_;
      while (at_ != end_ && static_cast<unsigned char>(*at_) < 0x80 && *at_ != '"' && *at_ != '\\' &&
             static_cast<unsigned char>(*at_) >= 0x20)
        ++at_;
      out.append(begin, at_);
      if (at_ == end_ || static_cast<unsigned char>(*at_) < 0x20) return false;
      if (*at_ == '"') return ++at_, true;
      if (*at_ == '\\') {
        if (!escape(out)) return false;
        continue;
      }
      const auto size = utf8_character_at(text_, static_cast<std::size_t>(at_ - text_.data()));
      if (size == 0) return false;
      out.append(at_, size);
      at_ += size;
    }
  }

  [[nodiscard]] bool escape(std::string& out) {
    constexpr std::string_view kLetters = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
    if (++at_ == end_) return false;
    const char letter = *at_++;
    if (const auto known = kLetters.find(letter); known != std::string_view::npos)
      return out += kMeanings[known], true;
    unsigned code = 0, low = 0;
    if (letter != 'u' || !four_digits(code)) return false;
    if (code >= 0xDC00 && code <= 0xDFFF) return false;
    if (code >= 0xD800 && code <= 0xDBFF) {
      if (end_ - at_ < 2 || at_[0] != '\\' || at_[1] != 'u') return false;
      at_ += 2;
      if (!four_digits(low) || low < 0xDC00 || low > 0xDFFF) return false;
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    append_utf8(out, code);
    return true;
  }

  [[nodiscard]] bool four_digits(unsigned& code) {
    if (end_ - at_ < 4) return false;
    const auto [stop, error] = std::from_chars(at_, at_ + 4, code, 16);
    if (error != std::errc{} || stop != at_ + 4) return false;
    at_ += 4;
    return true;
  }

  static void append_utf8(std::string& out, unsigned code) {
    const auto byte = [&](unsigned value) { out += static_cast<char>(value); };
    if (code < 0x80) return byte(code);
    if (code < 0x800) return byte(0xC0 | code >> 6), byte(0x80 | (code & 0x3F));
    if (code < 0x10000)
      return byte(0xE0 | code >> 12), byte(0x80 | (code >> 6 & 0x3F)), byte(0x80 | (code & 0x3F));
    byte(0xF0 | code >> 18), byte(0x80 | (code >> 12 & 0x3F)), byte(0x80 | (code >> 6 & 0x3F)),
        byte(0x80 | (code & 0x3F));
  }

  [[nodiscard]] bool word(std::string_view expected) {
    if (!std::string_view(at_, static_cast<std::size_t>(end_ - at_)).starts_with(expected)) return false;
    at_ += expected.size();
    return true;
  }

  void skip_blanks() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
  }

  [[nodiscard]] bool next_is(char wanted) {
    skip_blanks();
    if (at_ == end_ || *at_ != wanted) return false;
    ++at_;
    return true;
  }

  std::string_view text_;
  const char* at_;
  const char* end_;
};

}  // namespace

bool read_valid_json(std::string_view text, int depth_max, Json& out) {
  return Parser(text).document(out, depth_max);
}

std::size_t utf8_character_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const unsigned first = byte(at);
  if (first < 0x80) return 1;
  if (first < 0xC2 || first > 0xF4) return 0;
  const std::size_t size = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  for (std::size_t i = 1; i < size; ++i)
    if ((byte(at + i) & 0xC0) != 0x80) return 0;
  const unsigned second = byte(at + 1);  // overlong forms, surrogates, beyond U+10FFFF
  const bool wrong = (first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ||
                     (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F);
  return wrong ? 0 : size;
}

}  // namespace rtrain::proto
