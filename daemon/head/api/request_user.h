// Who sends a request of the user API.
#pragma once

#include "daemon/head/api/http.h"

#include <sys/types.h>

namespace rtrain::head {

/// What a client over TCP says of itself. Whoever has the token may say what it likes: the name tells people
/// apart, it keeps nobody out.
inline constexpr const char* kUserHeader = "Rtrain-User";

/// Replaces what the request says by the name of the user at the other end of a Unix socket.
void name_peer(HttpRequest& request, uid_t uid);
/// "" when the request does not say. kInvalidArgument: more than 64 characters, or blanks and control
/// characters.
[[nodiscard]] Result<std::string> user_of(const HttpRequest& request);

}  // namespace rtrain::head
