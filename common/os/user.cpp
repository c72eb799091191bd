#include "common/os/user.h"

#include <vector>

#include <pwd.h>
#include <unistd.h>

namespace rtrain::os {

std::string user_name(uid_t uid) {
  std::vector<char> room(16 * 1024);
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(uid, &entry, room.data(), room.size(), &found) == 0 && found != nullptr) return entry.pw_name;
  return std::to_string(uid);
}

std::string user_name() { return user_name(::geteuid()); }

}  // namespace rtrain::os
