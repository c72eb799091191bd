// The configuration of a training function: train_loop_config with typed, checked access.
#pragma once

#include <rtrain/export.h>

#include <nlohmann/json.hpp>

#include <array>
#include <concepts>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace rtrain {

/// Thrown for a wrong or missing value in train_loop_config: "train_loop_config.optimizer.lr: expected a
/// number, found a string".
class RTRAIN_API ConfigError : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

/// Each reads one JSON value; `path` names it in the error. @throws ConfigError
namespace detail {
RTRAIN_API bool read_boolean(const std::string& path, const nlohmann::json& found);
RTRAIN_API std::int64_t read_whole(const std::string& path, const nlohmann::json& found, std::int64_t lowest,
                                   std::int64_t highest);
RTRAIN_API std::uint64_t read_whole_unsigned(const std::string& path, const nlohmann::json& found,
                                             std::uint64_t highest);
RTRAIN_API double read_number(const std::string& path, const nlohmann::json& found, double highest);
RTRAIN_API std::string read_string(const std::string& path, const nlohmann::json& found);
/// `size`: the number of elements the list must have.
RTRAIN_API void require_list(const std::string& path, const nlohmann::json& found,
                             std::optional<std::size_t> size = std::nullopt);
RTRAIN_API void require_object(const std::string& path, const nlohmann::json& found);
[[noreturn]] RTRAIN_API void fail_type(const std::string& path, const nlohmann::json& found,
                                       const std::string& why);

template <class T>
inline constexpr bool kIsOptional = false;
template <class T>
inline constexpr bool kIsOptional<std::optional<T>> = true;
template <class T>
inline constexpr bool kIsVector = false;
template <class T, class A>
inline constexpr bool kIsVector<std::vector<T, A>> = true;
template <class T>
inline constexpr bool kIsArray = false;
template <class T, std::size_t N>
inline constexpr bool kIsArray<std::array<T, N>> = true;
template <class T>
inline constexpr bool kIsMap = false;
template <class T>
inline constexpr bool kIsMap<std::map<std::string, T>> = true;

/// Converts strictly: no number from a boolean, no integer from a fraction, nothing out of range.
template <class T>
T read_config_value(const std::string& path, const nlohmann::json& found) {
  if constexpr (std::same_as<T, nlohmann::json>) {
    return found;
  } else if constexpr (std::same_as<T, bool>) {
    return read_boolean(path, found);
  } else if constexpr (std::signed_integral<T>) {
    return static_cast<T>(
        read_whole(path, found, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
  } else if constexpr (std::unsigned_integral<T>) {
    return static_cast<T>(read_whole_unsigned(path, found, std::numeric_limits<T>::max()));
  } else if constexpr (std::floating_point<T>) {
    return static_cast<T>(read_number(path, found, static_cast<double>(std::numeric_limits<T>::max())));
  } else if constexpr (std::same_as<T, std::string>) {
    return read_string(path, found);
  } else if constexpr (kIsOptional<T>) {
    if (found.is_null()) return std::nullopt;
    return read_config_value<typename T::value_type>(path, found);
  } else if constexpr (kIsVector<T>) {
    require_list(path, found);
    T values;
    for (std::size_t i = 0; i < found.size(); ++i)
      values.push_back(
          read_config_value<typename T::value_type>(path + "[" + std::to_string(i) + "]", found[i]));
    return values;
  } else if constexpr (kIsArray<T>) {
    T values{};
    require_list(path, found, values.size());
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = read_config_value<typename T::value_type>(path + "[" + std::to_string(i) + "]", found[i]);
    return values;
  } else if constexpr (kIsMap<T>) {
    require_object(path, found);
    T values;
    for (const auto& [key, value] : found.items())
      values.emplace(key, read_config_value<typename T::mapped_type>(path + "." + key, value));
    return values;
  } else {
    try {  // a type with a from_json() of its own
      return found.get<T>();
    } catch (const nlohmann::json::exception& e) {
      fail_type(path, found, e.what());
    }
  }
}
}  // namespace detail

/// A JSON object that is read by dotted paths: config.value("optimizer.lr", 1e-3). Types are strict: an
/// integer is read only from a whole number in its range (1.7, 1.0 and true are refused), a floating-point
/// type from any number in its range, a bool from true or false, a string from a string. Vectors, arrays,
/// maps with string keys and optionals apply the same rule to each element.
/// @thread any. Copies share the record of which values were read.
class RTRAIN_API Config {
 public:
  Config();
  explicit Config(nlohmann::json json);

  /// The value at `path`, or `fallback` if it is absent or null. @throws ConfigError if it has another type.
  template <class T>
  [[nodiscard]] T value(const std::string& path, T fallback) const {
    const auto* found = look_up(path);
    return found == nullptr || found->is_null() ? std::move(fallback)
                                                : detail::read_config_value<T>(path, *found);
  }
  [[nodiscard]] std::string value(const std::string& path, const char* fallback) const {
    return value<std::string>(path, fallback);
  }
  /// The value at `path`. @throws ConfigError if it is absent (names the nearest existing key) or has another
  /// type.
  template <class T>
  [[nodiscard]] T at(const std::string& path) const {
    const auto* found = look_up(path);
    if (found == nullptr) fail_missing(path);
    return detail::read_config_value<T>(path, *found);
  }
  [[nodiscard]] bool contains(const std::string& path) const { return look_up(path) != nullptr; }
  /// The whole object; marks all of it as read.
  [[nodiscard]] const nlohmann::json& json() const;

  struct Unread {
    std::string path;     ///< "optimizer.lrr"
    std::string nearest;  ///< the most similar path that was read; "" if there is none
  };
  /// Values that value(), at(), contains() and json() have not read, sorted by path. rtrain calls this after
  /// the training function returns and warns on rank 0, because a misspelt key silently falls back to the
  /// default.
  [[nodiscard]] std::vector<Unread> unread() const;

 private:
  struct Document;  // the values, and which of them were read
  /// The value at `path`, or null; marks it as read.
  [[nodiscard]] const nlohmann::json* look_up(const std::string& path) const;
  [[noreturn]] void fail_missing(const std::string& path) const;
  std::shared_ptr<Document> document_;
};

}  // namespace rtrain
