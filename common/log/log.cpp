#include "common/log/log.h"

#include "common/log/delivery.h"
#include "common/log/line_writer.h"

#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include <array>
#include <cstdlib>
#include <mutex>

#include <pthread.h>
#include <unistd.h>

namespace rtrain::log {
namespace {

constexpr std::array<std::pair<std::string_view, Level>, 6> kLevels{{{"trace", Level::kTrace},
                                                                     {"debug", Level::kDebug},
                                                                     {"info", Level::kInfo},
                                                                     {"warn", Level::kWarn},
                                                                     {"error", Level::kError},
                                                                     {"off", Level::kOff}}};

spdlog::level::level_enum spdlog_level(Level level) {
  switch (level) {
    case Level::kTrace: return spdlog::level::trace;
    case Level::kDebug: return spdlog::level::debug;
    case Level::kInfo: return spdlog::level::info;
    case Level::kWarn: return spdlog::level::warn;
    case Level::kError: return spdlog::level::err;
    case Level::kOff: return spdlog::level::off;
  }
  return spdlog::level::info;
}

/// Of the process. Never destroyed: threads may log while it ends.
LineWriter& standard_error() {
  static LineWriter& writer = []() -> LineWriter& {
    static LineWriter& made = *new LineWriter(STDERR_FILENO);
    ::pthread_atfork([] { made.lock(); }, [] { made.unlock(); }, [] { made.unlock_in_child(); });
    std::atexit([] { made.settle(); });
    return made;
  }();
  return writer;
}

class StandardError final : public spdlog::sinks::base_sink<std::mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t text;
    formatter_->format(message, text);
    standard_error().write({text.data(), text.size()});
  }
  void flush_() override {}
};

std::shared_ptr<spdlog::logger> make_logger(std::string_view component, Level level) {
  auto logger = std::make_shared<spdlog::logger>(std::string(component), std::make_shared<StandardError>());
  logger->set_error_handler([](const std::string&) {});  // its own writes to stderr, and waits
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %n: %v", spdlog::pattern_time_type::utc);
  logger->set_level(spdlog_level(level));
  return logger;
}

std::shared_ptr<spdlog::logger>& logger() {
  static std::shared_ptr<spdlog::logger> instance = make_logger("rtrain", Level::kWarn);
  return instance;
}

/// A peer chooses parts of what is logged: it must not be able to forge a line or drive the terminal.
void append_escaped(std::string& out, std::string_view text, bool quote) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else if (byte < 0x20 || byte == 0x7f) {
      out += "\\x";
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    } else if (quote && (c == '"' || c == '\\')) {
      out += '\\';
      out += c;
    } else
      out += c;
  }
}

}  // namespace

Level level_from_string(std::string_view name) {
  for (const auto& [text, level] : kLevels)
    if (text == name) return level;
  return Level::kInfo;
}

void drain() {
  standard_error().drain();
  RateLimited::report_all();
}

std::int64_t dropped_lines() { return standard_error().dropped(); }

void init(std::string_view component, Level level) { logger() = make_logger(component, level); }

std::string format_line(std::string_view message, std::initializer_list<Field> fields) {
  std::string line;
  append_escaped(line, message, false);
  for (const auto& [key, value] : fields) {
    line += ' ';
    line += key;
    line += '=';
    const bool quote = value.empty() || value.find_first_of(" \"=\n\t") != std::string::npos;
    if (quote) line += '"';
    append_escaped(line, value, quote);
    if (quote) line += '"';
  }
  return line;
}

void write(Level level, std::string_view message, std::initializer_list<Field> fields) {
  const auto& out = logger();
  const auto wanted = spdlog_level(level);
  if (out->should_log(wanted)) out->log(wanted, spdlog::string_view_t(format_line(message, fields)));
}

}  // namespace rtrain::log
