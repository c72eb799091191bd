#include "common/os/token.h"

#include "common/os/file.h"

#include <algorithm>
#include <cerrno>
#include <vector>

#include <pwd.h>
#include <unistd.h>

namespace rtrain::os {
namespace {

constexpr int kTokenBytes = 32;

std::string home_of_user() {
  std::vector<char> room(16 * 1024);
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(::geteuid(), &entry, room.data(), room.size(), &found) == 0 && found != nullptr)
    return entry.pw_dir;
  return {};
}

/// Beside the file and then linked to its name, which fails when there is one: nobody ever reads half a
/// token, and none is replaced.
Result<Done> make_token_file(const std::string& path) {
  const auto slash = path.rfind('/');
  const std::string folder =
      slash == std::string::npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1));
  if (auto made = make_dirs(folder, 0700); !made) return made;
  const std::string draft = path + "." + random_hex(8);
  if (auto written = write_file_atomic(draft, random_hex(kTokenBytes) + "\n", 0600); !written) return written;
  const int linked = ::link(draft.c_str(), path.c_str()) == 0 ? 0 : errno;
  ::unlink(draft.c_str());
  if (linked != 0 && linked != EEXIST) return fail_errno("make the token file " + path, linked);
  return fsync_path(folder);
}

}  // namespace

std::string state_home(const Getenv& getenv) {
  const auto value = [&](const char* name) {
    const char* text = getenv(name);
    return std::string(text == nullptr ? "" : text);
  };
  if (const auto given = value("XDG_STATE_HOME"); !given.empty()) return given + "/rtrain";
  const auto home = value("HOME");
  return (home.empty() ? home_of_user() : home) + "/.local/state/rtrain";
}

std::string own_token_path(const Getenv& getenv) { return state_home(getenv) + "/token"; }

Result<std::string> read_or_make_token_file(const std::string& path) {
  auto token = read_token_file(path);
  if (token || token.error().code() != Errc::kNotFound) return token;
  if (auto made = make_token_file(path); !made) return made.error();
  return read_token_file(path);
}

bool is_token(std::string_view shown, std::string_view token) {
  if (token.empty()) return false;
  unsigned difference = shown.size() == token.size() ? 0 : 1;
  for (std::size_t i = 0; i < shown.size(); ++i)
    difference |= static_cast<unsigned char>(shown[i]) ^ static_cast<unsigned char>(token[i % token.size()]);
  return difference == 0;
}

}  // namespace rtrain::os
