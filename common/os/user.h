// Users of this machine by name.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

namespace rtrain::os {

/// The login name of a user; the number as text when the system knows no name for it.
[[nodiscard]] std::string user_name(uid_t uid);
/// Of the effective user of this process.
[[nodiscard]] std::string user_name();
/// The number of a group by its name, or by its number as text. Nothing when there is no such group.
[[nodiscard]] std::optional<gid_t> group_id(const std::string& name);

}  // namespace rtrain::os
