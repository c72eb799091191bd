// train_loop_config as the training function sees it.
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

/// A wrong or missing value in train_loop_config: "train_loop_config.optimizer.lr: expected a number, found a
/// string".
class RTRAIN_API ConfigError : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

/// Readers of one JSON value. `path` names it in the error. @throws ConfigError
namespace detail {
RTRAIN_API bool read_boolean(const std::string& path, const nlohmann::json& found);
RTRAIN_API std::int64_t read_whole(const std::string& path, const nlohmann::json& found, std::int64_t lowest,
                                   std::int64_t highest);
RTRAIN_API std::uint64_t read_whole_unsigned(const std::string& path, const nlohmann::json& found,
                                             std::uint64_t highest);
RTRAIN_API double read_number(const std::string& path, const nlohmann::json& found, double highest);
RTRAIN_API std::string read_string(const std::string& path, const nlohmann::json& found);
/// `size`: of a list that must have as many elements.
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

/// What JSON holds, and nothing else: no number from a boolean, no whole number from a fraction, nothing out
/// of range.
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

/// A JSON object, read by dotted paths: config.value("optimizer.lr", 1e-3). Types are strict: an integer is
/// read from a whole number in its range (1.7, 1.0 and true are refused), a floating-point type from any
/// number in its range, a bool from true and false, a string from a string. Lists, arrays, maps with string
/// keys and optionals hold the same for each element.
/// @thread any. Copies share the record of what was read.
class RTRAIN_API Config {
 public:
  Config();
  explicit Config(nlohmann::json json);

  /// The value at `path`, or `fallback` when it is absent or null. @throws ConfigError when it has another
  /// type.
  template <class T>
  [[nodiscard]] T value(const std::string& path, T fallback) const {
    const auto* found = look_up(path);
    return found == nullptr || found->is_null() ? std::move(fallback)
                                                : detail::read_config_value<T>(path, *found);
  }
  [[nodiscard]] std::string value(const std::string& path, const char* fallback) const {
    return value<std::string>(path, fallback);
  }
  /// The value at `path`. @throws ConfigError when it is absent (names the nearest key that is there) or has
  /// another type.
  template <class T>
  [[nodiscard]] T at(const std::string& path) const {
    const auto* found = look_up(path);
    if (found == nullptr) fail_missing(path);
    return detail::read_config_value<T>(path, *found);
  }
  [[nodiscard]] bool contains(const std::string& path) const { return look_up(path) != nullptr; }
  /// The whole of it; all of it counts as read.
  [[nodiscard]] const nlohmann::json& json() const;

  struct Unread {
    std::string path;     ///< "optimizer.lrr"
    std::string nearest;  ///< the path that was asked for and is most like it; "" when none is
  };
  /// Values that value(), at(), contains() and json() have not looked at, in the order of their paths. rtrain
  /// calls it when the training function has returned, and warns on rank 0: a misspelt key is a fallback that
  /// was taken silently.
  [[nodiscard]] std::vector<Unread> unread() const;

 private:
  struct Document;  // the values, and which of them were looked at
  /// The value at `path`, or null; counts as read.
  [[nodiscard]] const nlohmann::json* look_up(const std::string& path) const;
  [[noreturn]] void fail_missing(const std::string& path) const;
  std::shared_ptr<Document> document_;
};

}  // namespace rtrain
