#include "common/os/user.h"

#include <charconv>
#include <vector>

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

namespace rtrain::os {

std::string user_name(uid_t uid) {
  std::vector<char> room(16 * 1024);
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(uid, &entry, room.data(), room.size(), &found) == 0 && found != nullptr)
    return entry.pw_name;
  return std::to_string(uid);
}

std::string user_name() { return user_name(::geteuid()); }

std::optional<gid_t> group_id(const std::string& name) {
  gid_t number = 0;
  const auto [end, wrong] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (!name.empty() && wrong == std::errc{} && end == name.data() + name.size()) return number;
  std::vector<char> room(64 * 1024);
  group entry{};
  group* found = nullptr;
  if (::getgrnam_r(name.c_str(), &entry, room.data(), room.size(), &found) == 0 && found != nullptr)
    return entry.gr_gid;
  return std::nullopt;
}

}  // namespace rtrain::os
