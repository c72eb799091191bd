// The cluster's token: the secret that a head, its agents and its users share, in a file that only its owner
// can read.
#pragma once

#include "common/base/result.h"

#include <functional>
#include <string>
#include <string_view>

namespace rtrain::os {

/// The environment as a function; null when a variable is not set.
using Getenv = std::function<const char*(const char*)>;

/// $XDG_STATE_HOME/rtrain, by default ~/.local/state/rtrain. Without HOME the home directory is the one of
/// the user database.
[[nodiscard]] std::string state_home(const Getenv& getenv);
/// state_home()/token: where a head without a token_file keeps its token, and where programs of the same user
/// look for it.
[[nodiscard]] std::string own_token_path(const Getenv& getenv);

/// read_token_file() of a file that is made first when there is none: 256 random bits as hex, mode 0600,
/// durable. Programs that make it at the same time get the same token. Errors: those of read_token_file(),
/// kIo.
[[nodiscard]] Result<std::string> read_or_make_token_file(const std::string& path);

/// Whether a peer showed the token. Takes the same time wherever two tokens differ. No text matches an empty
/// token.
[[nodiscard]] bool is_token(std::string_view shown, std::string_view token);

}  // namespace rtrain::os
