#include "daemon/head/api/request_user.h"

#include "common/os/user.h"

#include <algorithm>

namespace rtrain::head {

void name_peer(HttpRequest& request, uid_t uid) { request.set(kUserHeader, os::user_name(uid)); }

Result<std::string> user_of(const HttpRequest& request) {
  constexpr std::size_t kMax = 64;
  const auto header = request[kUserHeader];
  std::string user(header.data(), header.size());
  const auto printable = [](unsigned char c) { return c > ' ' && c < 0x7f; };
  if (user.size() > kMax || !std::ranges::all_of(user, printable))
    return fail(Errc::kInvalidArgument, std::string("the header ") + kUserHeader +
                                            " must have at most 64 printable characters without blanks");
  return user;
}

}  // namespace rtrain::head
