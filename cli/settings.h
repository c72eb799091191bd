// Where the head is and what token to show it: flag, then RTRAIN_* variable, then config.json, then the
// default.
#pragma once

#include "cli/job_pages.h"
#include "cli/verb.h"

namespace rtrain::cli {

inline constexpr const char* kDefaultHead = "127.0.0.1:7338";
inline constexpr std::uint16_t kDefaultPort = 7338;

struct Settings {
  std::string head = kDefaultHead;
  std::string token_file;  ///< "": the token of this user, and only to a head on this machine
};

/// What $XDG_CONFIG_HOME/rtrain/config.json (default ~/.config) holds: {"head": ENDPOINT, "token_file":
/// PATH}. Unknown keys are errors. A file that is not there is fine.
[[nodiscard]] Result<Settings> read_config(const std::string& path);
[[nodiscard]] std::string config_path(const Getenv& getenv);
/// Where the API is, as a user writes it: an endpoint, a host alone, or "http://host[:port][/]".
[[nodiscard]] Result<net::Endpoint> parse_head(std::string_view text);
[[nodiscard]] Result<Settings> settings(const Arguments& args, const Getenv& getenv);
/// A client of the head that the call means; reads the token.
[[nodiscard]] Result<Client> client_of(const Call& call);
/// GETs of that head, for a verb that has no other use for it.
[[nodiscard]] Result<Get> get_of_head(const Call& call);

}  // namespace rtrain::cli
