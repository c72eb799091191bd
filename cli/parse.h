// From the command line to a verb and its arguments. Pure.
#pragma once

#include "cli/verb.h"

namespace rtrain::cli {

struct Command {
  const Verb* verb = nullptr;  ///< nullptr: `rtrain` alone or `rtrain --help`
  Arguments args;
  bool help = false;     ///< -h or --help was among the arguments
  bool version = false;  ///< --version in place of a verb
};

/// Global options may stand before or after the verb. kInvalidArgument for an unknown verb or option (with
/// the nearest known one), a missing value, too few or too many arguments. Options are never guessed from a
/// prefix.
[[nodiscard]] Result<Command> parse_command(const std::vector<std::string>& args);

/// "table", "json", "name" as far as the verb has them; kInvalidArgument names the choices.
[[nodiscard]] Result<std::string> output_format(const Verb& verb, const Arguments& args);
[[nodiscard]] Result<ColourChoice> colour_choice(const Arguments& args);

/// A job's number from the command line.
[[nodiscard]] Result<std::int64_t> parse_job_id(const std::string& text);

}  // namespace rtrain::cli
