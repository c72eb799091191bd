// Structured log lines to stderr: time, level, component, message, key=value fields. Control characters of
// remote text are escaped.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace rtrain::log {

enum class Level { kTrace, kDebug, kInfo, kWarn, kError, kOff };
[[nodiscard]] Level level_from_string(std::string_view name);  ///< unknown names give kInfo

/// A field: `{"job", to_string(id)}`.
struct Field {
  std::string_view key;
  std::string value;
};

/// Sets up the process's logger (spdlog, stderr). Before it nothing is printed below kWarn. Call once, before
/// threads.
void init(std::string_view component, Level level);
/// The line without time, level and component: `message key=value key="two words"`, control characters
/// escaped.
[[nodiscard]] std::string format_line(std::string_view message, std::initializer_list<Field> fields);
void write(Level level, std::string_view message, std::initializer_list<Field> fields = {});

inline void debug(std::string_view m, std::initializer_list<Field> f = {}) { write(Level::kDebug, m, f); }
inline void info(std::string_view m, std::initializer_list<Field> f = {}) { write(Level::kInfo, m, f); }
inline void warn(std::string_view m, std::initializer_list<Field> f = {}) { write(Level::kWarn, m, f); }
inline void error(std::string_view m, std::initializer_list<Field> f = {}) { write(Level::kError, m, f); }

}  // namespace rtrain::log
