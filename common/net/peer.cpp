#include "common/net/peer.h"

#include "common/os/file.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <sstream>

namespace rtrain::net {
namespace {

/// Empty where the kernel (before Linux 4.13) cannot tell them.
std::vector<gid_t> supplementary_groups(int fd) {
#ifdef SO_PEERGROUPS
  std::vector<gid_t> groups(32);
  for (;;) {
    auto size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    const bool read = ::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) == 0;
    if (!read && errno != ERANGE) return {};
    groups.resize(size / sizeof(gid_t));
    if (read) return groups;
  }
#else
  return {};
#endif
}

}  // namespace

std::optional<PeerUser> peer_user(const Socket& socket) {
  const int fd = const_cast<Socket&>(socket).native_handle();
  int family = 0;
  socklen_t size = sizeof family;
  if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) != 0 || family != AF_UNIX) return std::nullopt;
  ucred peer{};
  size = sizeof peer;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return std::nullopt;
  PeerUser user{peer.uid, supplementary_groups(fd)};
  user.groups.push_back(peer.gid);
  return user;
}

std::vector<uid_t> listeners_of(std::string_view table, std::uint16_t port) {
  std::vector<uid_t> out;
  std::istringstream lines{std::string(table)};
  std::string line;
  std::getline(lines, line);  // the names of the columns
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string number, local, remote, state, queues, timer, retransmits;
    uid_t uid = 0;
    if (!(words >> number >> local >> remote >> state >> queues >> timer >> retransmits >> uid) ||
        state != "0A")
      continue;
    const auto colon = local.find(':');
    unsigned bound = 0;
    if (colon == std::string::npos ||
        std::from_chars(local.data() + colon + 1, local.data() + local.size(), bound, 16).ec != std::errc{} ||
        bound != port)
      continue;
    // Each four bytes of an address in the machine's order: 127.0.0.1 is 0100007F, and the last word of
    // ::ffff:127.0.0.1 is, too.
    const auto address = local.substr(0, colon),
               last = address.substr(address.size() - std::min<std::size_t>(8, address.size()));
    const bool all = address.find_first_not_of('0') == std::string::npos;
    if (all || last.ends_with("7F") || last == "01000000") out.push_back(uid);
  }
  return out;
}

bool leads_to_own_user(const Socket& socket, const Endpoint& endpoint) {
  const auto trusted = [](uid_t uid) { return uid == 0 || uid == ::geteuid(); };
  if (const auto user = peer_user(socket)) return trusted(user->uid);
  const auto* tcp = std::get_if<TcpEndpoint>(&endpoint);
  if (tcp == nullptr) return false;
  std::vector<uid_t> found;
  for (const char* path : {"/proc/net/tcp", "/proc/net/tcp6"})
    if (const auto table = os::read_file(path))
      for (const uid_t uid : listeners_of(*table, tcp->port)) found.push_back(uid);
  return !found.empty() && std::ranges::all_of(found, trusted);
}

}  // namespace rtrain::net
