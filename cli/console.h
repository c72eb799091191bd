// Where the program writes: data to stdout, everything else to stderr; colours and widths of the terminal
// behind them.
#pragma once

#include "cli/table.h"
#include "common/base/result.h"

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace rtrain::cli {

/// The environment as a function, so that nothing below main() reads it by itself.
using Getenv = std::function<const char*(const char*)>;
/// The value of a variable that is set and not empty.
[[nodiscard]] std::optional<std::string> variable(const Getenv& getenv, const char* name);

enum class ColourChoice { kAuto, kAlways, kNever };
/// --color wins; then NO_COLOR, CLICOLOR_FORCE, TERM=dumb, and whether the stream is a terminal. Pure.
[[nodiscard]] bool use_colour(ColourChoice choice, bool terminal, const Getenv& getenv);

class Console {
 public:
  Console(ColourChoice choice, const Getenv& getenv);

  /// Writes at once and whole; nothing is buffered, so that the two streams keep their order on a terminal.
  void out(std::string_view text) const;
  void err(std::string_view text) const;
  /// A line on stderr.
  void note(std::string_view line) const;
  /// "error: ..." and "hint: ..." on stderr.
  void error(const Error& error) const;
  void warn(std::string_view line) const;
  void print(const Table& table) const;
  /// The exit status of a program that wanted to end with `status`: not 0 when something could not be written
  /// to stdout, which is told.
  [[nodiscard]] int finish(int status) const;

  [[nodiscard]] bool out_terminal() const { return out_terminal_; }
  [[nodiscard]] bool err_terminal() const { return err_terminal_; }
  [[nodiscard]] bool out_colour() const { return out_colour_; }
  [[nodiscard]] bool err_colour() const { return err_colour_; }
  /// stderr is a terminal on which a line can be redrawn.
  [[nodiscard]] bool live() const { return live_; }
  /// Columns of the terminal; 80 when it does not say. Asked anew at each call.
  [[nodiscard]] int width() const;
  /// Columns to which tables on stdout are cut; 0 in a pipe: never.
  [[nodiscard]] int table_width() const { return out_terminal_ ? width() : 0; }
  /// Asks a yes/no question on the terminal; false where there is none, or on anything but y or yes.
  [[nodiscard]] bool confirm(std::string_view question) const;

 private:
  mutable int out_failure_ = 0;  ///< errno of the first write to stdout that failed
  bool out_terminal_ = false, err_terminal_ = false, out_colour_ = false, err_colour_ = false, live_ = false;
};

}  // namespace rtrain::cli
