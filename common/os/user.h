// Users of this machine by name.
#pragma once

#include <sys/types.h>

#include <string>

namespace rtrain::os {

/// The login name of a user; the number as text when the system knows no name for it.
[[nodiscard]] std::string user_name(uid_t uid);
/// Of the effective user of this process.
[[nodiscard]] std::string user_name();

}  // namespace rtrain::os
