// A length of time as options take it.
#pragma once

#include <rtrain/export.h>

#include <chrono>
#include <string>

namespace rtrain {

/// A length of time, 0 or more: a std::chrono duration, or a text such as "90m", "2h", "1h30m", "45s", "2d",
/// or Lightning's "DD:HH:MM:SS" ("00:12:00:00" is 12 hours).
class RTRAIN_API Duration {
 public:
  template <class Rep, class Period>
  Duration(std::chrono::duration<Rep, Period> length)  // NOLINT: implicit on purpose
      : Duration(Seconds{}, std::chrono::duration<double>(length).count()) {}
  /// @throws std::invalid_argument a text of another form.
  Duration(const std::string& text);                           // NOLINT: implicit on purpose
  Duration(const char* text) : Duration(std::string(text)) {}  // NOLINT: implicit on purpose
  [[nodiscard]] double seconds() const { return seconds_; }
  /// "5400s"
  [[nodiscard]] std::string text() const;

 private:
  struct Seconds {};
  /// @throws std::invalid_argument below 0, or not finite.
  Duration(Seconds, double seconds);
  double seconds_ = 0;
};

}  // namespace rtrain
