// Where the head is and what token to show it: flag, then RTRAIN_* variable, then config.json, then the default.
#pragma once

#include "cli/client.h"
#include "cli/verb.h"

namespace rtrain::cli {

inline constexpr const char* kDefaultHead = "127.0.0.1:7338";

struct Settings {
  std::string head = kDefaultHead;
  std::string token_file;  ///< "": no token is sent
};

/// What $XDG_CONFIG_HOME/rtrain/config.json (default ~/.config) holds: {"head": ENDPOINT, "token_file": PATH}. Unknown keys
/// are errors. A file that is not there is fine.
[[nodiscard]] Result<Settings> read_config(const std::string& path);
[[nodiscard]] std::string config_path(const Getenv& getenv);
/// $XDG_STATE_HOME/rtrain, by default ~/.local/state/rtrain.
[[nodiscard]] std::string state_home(const Getenv& getenv);
[[nodiscard]] Result<Settings> settings(const Arguments& args, const Getenv& getenv);
/// A client of the head that the call means; reads the token.
[[nodiscard]] Result<Client> client_of(const Call& call);

}  // namespace rtrain::cli
