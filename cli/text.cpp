#include "cli/text.h"

#include <array>
#include <cmath>
#include <cstdio>

namespace rtrain::cli {

namespace {

struct Decoded {
  char32_t code = 0;
  std::size_t length = 1;
};

/// One character at the start of `text`; an invalid byte is itself, of length 1.
Decoded decode(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  std::size_t length = first < 0x80           ? 1
                       : (first >> 5) == 0x6  ? 2
                       : (first >> 4) == 0xe  ? 3
                       : (first >> 3) == 0x1e ? 4
                                              : 0;
  if (length <= 1 || length > text.size()) return {first, 1};
  char32_t code = first & (0x7f >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {first, 1};
    code = (code << 6) | (byte(i) & 0x3f);
  }
  return {code, length};
}

struct Span {
  char32_t first, last;
};

bool within(char32_t code, const Span* begin, const Span* end) {
  for (; begin != end; ++begin)
    if (code >= begin->first && code <= begin->last) return true;
  return false;
}

int width_of(char32_t code) {
  static constexpr std::array kZero = {Span{0x300, 0x36f},   Span{0x483, 0x489},   Span{0x591, 0x5bd},
                                       Span{0x610, 0x61a},   Span{0x64b, 0x65f},   Span{0x1ab0, 0x1aff},
                                       Span{0x1dc0, 0x1dff}, Span{0x200b, 0x200f}, Span{0x202a, 0x202e},
                                       Span{0x2060, 0x2064}, Span{0x20d0, 0x20ff}, Span{0xfe00, 0xfe0f},
                                       Span{0xfe20, 0xfe2f}, Span{0xfeff, 0xfeff}};
  static constexpr std::array kWide = {
      Span{0x1100, 0x115f},   Span{0x2e80, 0x303e},   Span{0x3041, 0x33ff},  Span{0x3400, 0x4dbf},
      Span{0x4e00, 0x9fff},   Span{0xa000, 0xa4cf},   Span{0xac00, 0xd7a3},  Span{0xf900, 0xfaff},
      Span{0xfe30, 0xfe6f},   Span{0xff00, 0xff60},   Span{0xffe0, 0xffe6},  Span{0x1f300, 0x1f64f},
      Span{0x1f680, 0x1f6ff}, Span{0x1f900, 0x1f9ff}, Span{0x20000, 0x3fffd}};
  if (code < 0x20 || code == 0x7f) return 0;
  if (code < 0x300) return 1;
  if (within(code, kZero.data(), kZero.data() + kZero.size())) return 0;
  return within(code, kWide.data(), kWide.data() + kWide.size()) ? 2 : 1;
}

/// Length of the escape sequence at the start of `text` (which begins with ESC); `sgr` tells whether it only
/// sets colours.
std::size_t escape_length(std::string_view text, bool& sgr) {
  sgr = false;
  if (text.size() < 2) return text.size();
  if (text[1] == '[') {  // CSI: parameters, intermediates, one final byte
    std::size_t i = 2;
    bool plain = true;
    while (i < text.size() && text[i] >= 0x20 && text[i] < 0x40) {
      plain = plain && ((text[i] >= '0' && text[i] <= '9') || text[i] == ';' || text[i] == ':');
      ++i;
    }
    if (i == text.size()) return i;
    sgr = plain && text[i] == 'm';
    return i + 1;
  }
  // string, until BEL or ST
  if (text[1] == ']' || text[1] == 'P' || text[1] == '_' || text[1] == '^' || text[1] == 'X') {
    for (std::size_t i = 2; i < text.size(); ++i) {
      if (text[i] == '\a') return i + 1;
      if (text[i] == '\x1b' && i + 1 < text.size() && text[i + 1] == '\\') return i + 2;
    }
    return text.size();
  }
  std::size_t i = 1;
  while (i < text.size() && text[i] >= 0x20 && text[i] < 0x30) ++i;  // intermediates, as in "ESC ( B"
  return i < text.size() ? i + 1 : i;
}

template <class... Args>
std::string format(const char* pattern, Args... args) {
  std::array<char, 64> buffer{};
  const int length = std::snprintf(buffer.data(), buffer.size(), pattern, args...);
  return {buffer.data(), static_cast<std::size_t>(std::max(0, std::min<int>(length, buffer.size() - 1)))};
}

}  // namespace

int display_width(std::string_view text) {
  int width = 0;
  while (!text.empty()) {
    if (text.front() == '\x1b') {
      bool sgr = false;
      text.remove_prefix(escape_length(text, sgr));
      continue;
    }
    const Decoded next = decode(text);
    width += width_of(next.code);
    text.remove_prefix(next.length);
  }
  return width;
}

std::string fit(std::string_view text, int columns) {
  if (display_width(text) <= columns) return std::string(text);
  if (columns <= 0) return {};
  std::string out;
  int width = 0;
  bool coloured = false;
  while (!text.empty()) {
    if (text.front() == '\x1b') {
      bool sgr = false;
      const std::size_t length = escape_length(text, sgr);
      out += text.substr(0, length);
      text.remove_prefix(length);
      coloured = true;
      continue;
    }
    const Decoded next = decode(text);
    if (width + width_of(next.code) > columns - 1) break;
    width += width_of(next.code);
    out += text.substr(0, next.length);
    text.remove_prefix(next.length);
  }
  return out + (coloured ? "…\x1b[0m" : "…");
}

std::string printable(std::string_view line, bool keep_colour) {
  std::string out;
  bool coloured = false;
  while (!line.empty()) {
    if (line.front() == '\x1b') {
      bool sgr = false;
      const std::size_t length = escape_length(line, sgr);
      if (sgr && keep_colour) {
        out += line.substr(0, length);
        coloured = true;
      }
      line.remove_prefix(length);
      continue;
    }
    const Decoded next = decode(line);
    if (next.length == 1 && next.code >= 0x80) {
      out += "\xef\xbf\xbd";  // an invalid byte must not eat what follows it
    } else if (next.code == '\n') {
      out += ' ';
    } else if (next.code == '\t' ||
               (next.code >= 0x20 && next.code != 0x7f && (next.code < 0x80 || next.code > 0x9f))) {
      out += line.substr(0, next.length);
    }
    line.remove_prefix(next.length);
  }
  if (coloured) out += "\x1b[0m";
  return out;
}

std::string printable_lines(std::string_view text, std::string_view indent) {
  while (text.ends_with('\n')) text.remove_suffix(1);
  std::string out;
  for (;;) {
    const std::size_t end = text.find('\n');
    out += printable(text.substr(0, end), false);
    if (end == std::string_view::npos) return out;
    out += "\n" + std::string(indent);
    text.remove_prefix(end + 1);
  }
}

std::string duration(double seconds) {
  if (!(seconds >= 0)) seconds = 0;
  if (seconds < 9.95) return format("%.1fs", seconds);
  const auto s = static_cast<long long>(seconds);
  if (s < 60) return format("%llds", s);
  if (s < 3600) return format("%lldm %02llds", s / 60, s % 60);
  if (s < 86400) return format("%lldh %02lldm", s / 3600, s / 60 % 60);
  return format("%lldd %02lldh", s / 86400, s / 3600 % 24);
}

std::string clock_time(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) return "?";
  const auto s = static_cast<long long>(seconds);
  return s < 3600 ? format("%02lld:%02lld", s / 60, s % 60)
                  : format("%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
}

std::string ago(std::int64_t unix_ms, std::int64_t now_ms) {
  if (unix_ms == 0) return "-";
  const std::int64_t seconds = (now_ms - unix_ms) / 1000;
  if (seconds < 1) return "just now";
  if (seconds < 60) return format("%llds ago", static_cast<long long>(seconds));
  if (seconds < 3600) return format("%lldm ago", static_cast<long long>(seconds / 60));
  if (seconds < 86400) return format("%lldh ago", static_cast<long long>(seconds / 3600));
  return format("%lldd ago", static_cast<long long>(seconds / 86400));
}

std::string bytes(double count) {
  static constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  std::size_t unit = 0;
  while (count >= 1024 && unit + 1 < kUnits.size()) {
    count /= 1024;
    ++unit;
  }
  return (unit == 0 || count >= 100 ? format("%.0f", count) : format("%.1f", count)) + " " + kUnits[unit];
}

std::string number(double value, int digits) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return format("%.*g", digits, value);
}

std::string metric_value(const proto::Json& value, int digits) {
  if (value.is_number_integer()) return proto::dump_json(value);
  double number_value = 0;
  if (proto::json_number(value, number_value)) return number(number_value, digits);
  if (value.is_string()) return value.get<std::string>();
  return proto::dump_json(value);
}

namespace {

bool repeats(const proto::Json& metrics, std::string_view name, const proto::Json& value) {
  for (const std::string_view suffix : {"_step", "_epoch"}) {
    if (!name.ends_with(suffix)) continue;
    const auto plain = metrics.find(std::string(name.substr(0, name.size() - suffix.size())));
    if (plain != metrics.end() && *plain == value) return true;
  }
  return false;
}

}  // namespace

std::string metrics_line(const proto::Json& metrics, int digits) {
  std::string out;
  if (!metrics.is_object()) return out;
  for (const auto& [name, value] : metrics.items()) {
    if (repeats(metrics, name, value)) continue;
    if (!out.empty()) out += ", ";
    out += name + "=" + metric_value(value, digits);
  }
  return printable(out, false);
}

std::string amount(double value) {
  return value == std::floor(value) && std::fabs(value) < 1e15 ? format("%.0f", value) : number(value, 6);
}

}  // namespace rtrain::cli
