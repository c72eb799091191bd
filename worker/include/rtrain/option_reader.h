// Options of a class from a JSON object: what a registry (names.h) builds callbacks and loggers with.
#pragma once

#include <rtrain/config.h>
#include <rtrain/export.h>

#include <nlohmann/json.hpp>

#include <string>
#include <utility>
#include <vector>

namespace rtrain {

/// Reads a class's options by name and collects every problem. Types are as strict as Config's: no integer
/// from 1.7 or true.
/// @thread one. @lifetime a copy of the object.
class RTRAIN_API OptionReader {
 public:
  /// @param type for the errors: "CSVLogger". @param options an object, or null for none.
  OptionReader(std::string type, nlohmann::json options);
  /// Reads the option `key` if it is there; else `option` keeps its default.
  template <class T>
  void read(const std::string& key, T& option) {
    const auto* found = take(key);
    if (found == nullptr) return;
    try {
      option = detail::read_config_value<T>(key, *found);
    } catch (const ConfigError& error) {
      add_problem(error.what());
    }
  }
  /// Called once all options are read.
  /// @throws std::invalid_argument lists all problems: options that nobody read, with the nearest one that
  ///        was, and values of the wrong type.
  void finish() const;

 private:
  [[nodiscard]] const nlohmann::json* take(const std::string& key);
  void add_problem(std::string text);
  std::string type_;
  nlohmann::json options_;
  std::vector<std::string> known_, problems_;
};

}  // namespace rtrain

// RTRAIN_READ_OPTIONS(reader, options, a, b) is reader.read("a", options.a); reader.read("b", options.b);
#define RTRAIN_OPTIONS_PARENS_ ()
#define RTRAIN_OPTIONS_EXPAND_(...) RTRAIN_OPTIONS_EXPAND1_(RTRAIN_OPTIONS_EXPAND1_(__VA_ARGS__))
#define RTRAIN_OPTIONS_EXPAND1_(...) RTRAIN_OPTIONS_EXPAND2_(RTRAIN_OPTIONS_EXPAND2_(__VA_ARGS__))
#define RTRAIN_OPTIONS_EXPAND2_(...) RTRAIN_OPTIONS_EXPAND3_(RTRAIN_OPTIONS_EXPAND3_(__VA_ARGS__))
#define RTRAIN_OPTIONS_EXPAND3_(...) RTRAIN_OPTIONS_EXPAND4_(RTRAIN_OPTIONS_EXPAND4_(__VA_ARGS__))
#define RTRAIN_OPTIONS_EXPAND4_(...) RTRAIN_OPTIONS_EXPAND5_(RTRAIN_OPTIONS_EXPAND5_(__VA_ARGS__))
#define RTRAIN_OPTIONS_EXPAND5_(...) __VA_ARGS__
#define RTRAIN_OPTIONS_AGAIN_() RTRAIN_OPTIONS_ONE_
#define RTRAIN_OPTIONS_ONE_(reader, options, field, ...) \
  (reader).read(#field, (options).field);                \
  __VA_OPT__(RTRAIN_OPTIONS_AGAIN_ RTRAIN_OPTIONS_PARENS_(reader, options, __VA_ARGS__))
#define RTRAIN_READ_OPTIONS(reader, options, ...) \
  RTRAIN_OPTIONS_EXPAND_(RTRAIN_OPTIONS_ONE_(reader, options, __VA_ARGS__))
