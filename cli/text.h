// Text for people: widths, times, sizes. Pure.
#pragma once

#include "proto/json.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace rtrain::cli {

/// Columns that UTF-8 text takes on a terminal: wide East Asian characters and emoji take 2, combining marks
/// and control sequences 0. Invalid bytes count as 1.
[[nodiscard]] int display_width(std::string_view text);
/// At most `columns` wide; what was cut ends in "…". Never splits a character.
[[nodiscard]] std::string fit(std::string_view text, int columns);
/// The line with control characters and escape sequences removed, so that remote text cannot steer the
/// terminal. SGR colours ("\x1b[31m") stay when `keep_colour`, closed by a reset. A line feed becomes a
/// space.
[[nodiscard]] std::string printable(std::string_view line, bool keep_colour);
/// printable() of each line of a longer text; the lines after the first begin with `indent`.
[[nodiscard]] std::string printable_lines(std::string_view text, std::string_view indent);

/// "0.8s", "12s", "3m 12s", "5h 03m", "2d 04h".
[[nodiscard]] std::string duration(double seconds);
/// tqdm's clock: "00:12", "1:02:03".
[[nodiscard]] std::string clock_time(double seconds);
/// "12s ago"; "just now" under a second; "-" for 0.
[[nodiscard]] std::string ago(std::int64_t unix_ms, std::int64_t now_ms);
/// "512 B", "1.5 GiB".
[[nodiscard]] std::string bytes(double count);
/// Up to `digits` significant digits, no trailing zeros: "0.2134", "391", "1.2e-05".
[[nodiscard]] std::string number(double value, int digits = 4);
/// A metric's value on one line: numbers by number(), strings as they are, the rest as JSON.
[[nodiscard]] std::string metric_value(const proto::Json& value, int digits = 4);
/// "loss=0.21, accuracy=0.913"; "" for null or an empty object. A value that is there under several names is
/// shown once: "loss_step" and "loss_epoch" are left out where they equal "loss".
[[nodiscard]] std::string metrics_line(const proto::Json& metrics, int digits = 4);
/// "4" for 4.0, "0.5" for 0.5: an amount of a resource.
[[nodiscard]] std::string amount(double value);

}  // namespace rtrain::cli
