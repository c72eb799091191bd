// train_loop_config as the training function sees it.
#pragma once

#include <rtrain/export.h>

#include <nlohmann/json.hpp>

#include <stdexcept>
#include <string>

namespace rtrain {

/// A wrong or missing value in train_loop_config: "train_loop_config.optimizer.lr: expected a number, found string".
class RTRAIN_API ConfigError : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

/// A JSON object, read by dotted paths: config.value("optimizer.lr", 1e-3).
class RTRAIN_API Config {
 public:
  Config() : json_(nlohmann::json::object()) {}
  explicit Config(nlohmann::json json) : json_(std::move(json)) {}

  /// The value at `path`, or `fallback` when it is absent or null. @throws ConfigError when it has another type.
  template <class T>
  [[nodiscard]] T value(const std::string& path, T fallback) const {
    const auto* found = find(path);
    return found == nullptr || found->is_null() ? std::move(fallback) : read<T>(path, *found);
  }
  [[nodiscard]] std::string value(const std::string& path, const char* fallback) const {
    return value<std::string>(path, fallback);
  }
  /// The value at `path`. @throws ConfigError when it is absent or has another type.
  template <class T>
  [[nodiscard]] T at(const std::string& path) const {
    const auto* found = find(path);
    if (found == nullptr) fail_missing(path);
    return read<T>(path, *found);
  }
  [[nodiscard]] bool contains(const std::string& path) const { return find(path) != nullptr; }
  [[nodiscard]] const nlohmann::json& json() const { return json_; }

 private:
  [[nodiscard]] const nlohmann::json* find(const std::string& path) const;
  [[noreturn]] static void fail_missing(const std::string& path);
  [[noreturn]] static void fail_type(const std::string& path, const nlohmann::json& found, const std::string& why);
  template <class T>
  static T read(const std::string& path, const nlohmann::json& found) {
    try {
      return found.get<T>();
    } catch (const nlohmann::json::exception& e) {
      fail_type(path, found, e.what());
    }
  }
  nlohmann::json json_;
};

}  // namespace rtrain
