#include "common/net/endpoint.h"

#include "common/async/deadline.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>

namespace rtrain::net {
namespace {

using Generic = asio::generic::stream_protocol;
using boost::system::error_code;

constexpr std::string_view kUnixPrefix = "unix:";
constexpr std::size_t kUnixPathMax = 107;  // sockaddr_un::sun_path without its NUL

Error endpoint_error(std::string_view text, const std::string& what) {
  return fail(Errc::kInvalidArgument, "\"" + std::string(text) + "\": " + what,
              "write host:port, [address]:port or unix:/path");
}

/// Children must not inherit the sockets of the daemons (Asio does not set this), and small frames must not
/// wait for more.
void prepare(Socket& socket) {
  const int fd = socket.native_handle();
  ::fcntl(fd, F_SETFD, ::fcntl(fd, F_GETFD) | FD_CLOEXEC);
  const int on = 1;
  // refused on a Unix socket: nothing to do there
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

std::optional<asio::ip::address> literal_address(const std::string& host) {
  error_code error;
  auto address = asio::ip::make_address(host, error);
  if (error) return std::nullopt;
  return address;
}

Error listen_error(const Endpoint& endpoint, std::string_view step, const error_code& error) {
  const std::string message =
      "listen on " + to_string(endpoint) + ": " + std::string(step) + ": " + error.message();
  if (error == asio::error::address_in_use)
    return fail(Errc::kConflict, message, "another program listens there; choose another address");
  return fail(Errc::kIo, message);
}

}  // namespace

Result<Endpoint> parse_endpoint(std::string_view text) {
  if (text.starts_with(kUnixPrefix)) {
    const auto path = text.substr(kUnixPrefix.size());
    if (path.empty()) return endpoint_error(text, "the path of the Unix socket is missing");
    if (path.size() > kUnixPathMax)
      return endpoint_error(text, "the path of a Unix socket has at most " + std::to_string(kUnixPathMax) +
                                      " bytes, this one has " + std::to_string(path.size()));
    if (path.find('\0') != std::string_view::npos)
      return endpoint_error("unix:...", "the path holds a NUL byte");
    return Endpoint(UnixEndpoint{std::string(path)});
  }
  if (const auto scheme = text.find("://"); scheme != std::string_view::npos)
    return endpoint_error(text, "an address, not a URL, is expected: leave out \"" +
                                    std::string(text.substr(0, scheme + 3)) + "\"");
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return endpoint_error(text, "the port is missing");
  std::string_view host = text.substr(0, colon);
  const std::string_view port_text = text.substr(colon + 1);
  if (host.starts_with('[')) {
    if (!host.ends_with(']')) return endpoint_error(text, "\"]\" is missing");
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return endpoint_error(text, "an IPv6 address must stand in brackets");
  }
  if (host.empty()) return endpoint_error(text, "the host is missing");
  unsigned port = 0;
  const auto [end, error] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  if (port_text.empty()) return endpoint_error(text, "the port is missing");
  if (error != std::errc{} || end != port_text.data() + port_text.size() || port > 65535)
    return endpoint_error(text, "the port must be a number from 0 to 65535");
  return Endpoint(TcpEndpoint{std::string(host), static_cast<std::uint16_t>(port)});
}

std::string with_port(std::string_view text, std::uint16_t port) {
  const bool has_none = !text.empty() && !text.starts_with(kUnixPrefix) &&
                        (text.find(':') == std::string_view::npos || text.ends_with(']'));
  return std::string(text) + (has_none ? ":" + std::to_string(port) : "");
}

std::string to_string(const Endpoint& endpoint) {
  if (const auto* unix_endpoint = std::get_if<UnixEndpoint>(&endpoint))
    return std::string(kUnixPrefix) + unix_endpoint->path;
  const auto& tcp = std::get<TcpEndpoint>(endpoint);
  const bool v6 = tcp.host.find(':') != std::string::npos;
  return (v6 ? "[" + tcp.host + "]" : tcp.host) + ":" + std::to_string(tcp.port);
}

bool is_local(const Endpoint& endpoint) {
  const auto* tcp = std::get_if<TcpEndpoint>(&endpoint);
  if (tcp == nullptr || tcp->host == "localhost") return true;
  const auto address = literal_address(tcp->host);
  return address && address->is_loopback();
}

struct Listener::Impl {
  explicit Impl(const asio::any_io_executor& executor) : acceptor(executor) {}
  asio::basic_socket_acceptor<Generic> acceptor;
  std::uint16_t port = 0;
  std::string unix_path;
  struct stat inode {};
  /// given up for a moment to take a connection when there is no other descriptor
  int spare = ::open("/dev/null", O_RDONLY | O_CLOEXEC);

  ~Impl() {
    if (spare >= 0) ::close(spare);
  }

  /// Whether the next descriptor is none of those that are kept: the system gives the lowest that is free.
  /// The limit may change at any time.
  [[nodiscard]] bool has_room() {
    rlimit files{};
    if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY) return true;
    const int next = ::fcntl(acceptor.native_handle(), F_DUPFD_CLOEXEC, 0);
    if (next < 0) return false;
    ::close(next);
    return static_cast<rlim_t>(next) < files.rlim_cur - std::min<rlim_t>(kFilesKept, files.rlim_cur / 4);
  }

  bool turn_one_away() {
    if (spare >= 0) ::close(spare);
    const int fd = ::accept4(acceptor.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) ::close(fd);
    spare = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    return fd >= 0;
  }

  void close() {
    error_code ignored;
    acceptor.close(ignored);
    struct stat now {};  // only the file that this listener made: another may have taken the path since
    if (!unix_path.empty() && ::lstat(unix_path.c_str(), &now) == 0 && now.st_ino == inode.st_ino &&
        now.st_dev == inode.st_dev)
      ::unlink(unix_path.c_str());
    unix_path.clear();
  }
};

namespace {

Result<Generic::endpoint> listening_address(const asio::any_io_executor& executor, const Endpoint& endpoint) {
  if (const auto* unix_endpoint = std::get_if<UnixEndpoint>(&endpoint))
    return Generic::endpoint(asio::local::stream_protocol::endpoint(unix_endpoint->path));
  const auto& tcp = std::get<TcpEndpoint>(endpoint);
  if (const auto address = literal_address(tcp.host))
    return Generic::endpoint(asio::ip::tcp::endpoint(*address, tcp.port));
  asio::ip::tcp::resolver resolver(executor);
  error_code error;
  const auto found =
      resolver.resolve(tcp.host, std::to_string(tcp.port), asio::ip::resolver_base::passive, error);
  // in_place_error: a generic endpoint claims to be constructible from anything, an Error too
  if (error || found.empty())
    return {boost::system::in_place_error,
            listen_error(endpoint, "look up the name", error ? error : asio::error::host_not_found)};
  return Generic::endpoint(found.begin()->endpoint());
}

/// Removes a socket file that nobody answers on. kConflict when somebody does.
Result<Done> remove_stale(const asio::any_io_executor& executor, const Endpoint& endpoint,
                          const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return ok();
  if (!S_ISSOCK(info.st_mode))
    return fail(Errc::kConflict,
                "listen on " + to_string(endpoint) + ": a file that is not a socket is there",
                "choose another path");
  asio::local::stream_protocol::socket probe(executor);
  error_code error;
  probe.connect(asio::local::stream_protocol::endpoint(path), error);
  if (!error)
    return fail(Errc::kConflict, "listen on " + to_string(endpoint) + ": another program answers there");
  if (error != asio::error::connection_refused) return listen_error(endpoint, "look who listens", error);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT)
    return fail_errno("remove the stale socket " + path, errno);
  return ok();
}

}  // namespace

Listener::Listener(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Listener::Listener(Listener&&) noexcept = default;
Listener& Listener::operator=(Listener&& other) noexcept {
  if (this != &other) {
    close();
    impl_ = std::move(other.impl_);
  }
  return *this;
}
Listener::~Listener() { close(); }

Result<Listener> Listener::open(const asio::any_io_executor& executor, const Endpoint& endpoint) {
  const auto* unix_endpoint = std::get_if<UnixEndpoint>(&endpoint);
  if (unix_endpoint != nullptr) {
    auto free = remove_stale(executor, endpoint, unix_endpoint->path);
    if (!free) return free.error();
  }
  auto address = listening_address(executor, endpoint);
  if (!address) return address.error();
  auto impl = std::make_unique<Impl>(executor);
  error_code error;
  impl->acceptor.open(address->protocol(), error);
  if (error) return listen_error(endpoint, "open a socket", error);
  const int fd = impl->acceptor.native_handle();
  ::fcntl(fd, F_SETFD, ::fcntl(fd, F_GETFD) | FD_CLOEXEC);
  if (unix_endpoint != nullptr) {
    ::fchmod(fd, 0600);  // before bind: the file is never open to others, not even for a moment
  } else {
    impl->acceptor.set_option(asio::socket_base::reuse_address(true), error);
  }
  impl->acceptor.bind(*address, error);
  if (error) return listen_error(endpoint, "bind", error);
  if (unix_endpoint != nullptr) {
    impl->unix_path = unix_endpoint->path;
    ::lstat(impl->unix_path.c_str(), &impl->inode);
  }
  impl->acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (!error) impl->acceptor.non_blocking(true, error);
  if (error) return listen_error(endpoint, "listen", error);
  if (unix_endpoint == nullptr) {
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size);
    impl->port = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                                   : reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
  }
  return Listener(std::move(impl));
}

asio::awaitable<Result<Socket>> Listener::async_accept() {
  auto& impl = *impl_;
  for (;;) {
    auto [error] =
        co_await impl.acceptor.async_wait(asio::socket_base::wait_read, asio::as_tuple(asio::use_awaitable));
    if (error == asio::error::operation_aborted || error == asio::error::bad_descriptor)
      co_return fail(Errc::kUnavailable, "accept: the listener was closed");
    if (!error && !impl.has_room())
      co_return fail(Errc::kLimit,
                     "accept: too many open files: the last ones are kept for the program itself");
    Socket socket(impl.acceptor.get_executor());
    if (!error) impl.acceptor.accept(socket, error);
    if (!error) {
      prepare(socket);
      co_return Result<Socket>(std::move(socket));
    }
    if (error == asio::error::would_block || error == asio::error::try_again) continue;  // it has gone again
    if (error == asio::error::no_descriptors ||
        error == error_code(ENFILE, boost::system::system_category()) || error == asio::error::no_memory ||
        error == asio::error::no_buffer_space)
      co_return fail(Errc::kLimit, "accept: " + error.message());
    co_return fail(Errc::kIo, "accept: " + error.message());
  }
}

std::size_t Listener::turn_away(std::size_t count) {
  std::size_t turned = 0;
  while (turned < count && impl_->acceptor.is_open() && impl_->turn_one_away()) ++turned;
  return turned;
}

std::uint16_t Listener::port() const { return impl_->port; }

void Listener::close() {
  if (impl_) impl_->close();
}

namespace {

struct Attempt {
  explicit Attempt(const asio::any_io_executor& executor) : socket(executor) {}
  Socket socket;
  error_code error;
};

asio::awaitable<void> async_try(std::shared_ptr<Attempt> attempt, Generic::endpoint address) {
  error_code ignored;
  attempt->socket.close(ignored);
  std::tie(attempt->error) =
      co_await attempt->socket.async_connect(address, asio::as_tuple(asio::use_awaitable));
}

asio::awaitable<void> async_connect_any(std::shared_ptr<Attempt> attempt, Endpoint endpoint) {
  if (const auto* unix_endpoint = std::get_if<UnixEndpoint>(&endpoint)) {
    co_await async_try(attempt,
                       Generic::endpoint(asio::local::stream_protocol::endpoint(unix_endpoint->path)));
    co_return;
  }
  const TcpEndpoint tcp = std::get<TcpEndpoint>(endpoint);
  if (const auto address = literal_address(tcp.host)) {
    co_await async_try(attempt, Generic::endpoint(asio::ip::tcp::endpoint(*address, tcp.port)));
    co_return;
  }
  asio::ip::tcp::resolver resolver(attempt->socket.get_executor());
  const std::string service = std::to_string(tcp.port);
  auto [error, found] =
      co_await resolver.async_resolve(tcp.host, service, asio::as_tuple(asio::use_awaitable));
  attempt->error = error;
  if (error) co_return;
  for (const auto& entry : found) {
    const Generic::endpoint address(entry.endpoint());
    co_await async_try(attempt, address);
    if (!attempt->error) co_return;
  }
}

}  // namespace

asio::awaitable<Result<Socket>> async_connect(Endpoint endpoint, std::chrono::milliseconds timeout) {
  auto attempt = std::make_shared<Attempt>(co_await asio::this_coro::executor);
  const bool in_time = co_await async::async_within(timeout, async_connect_any(attempt, endpoint));
  if (!in_time)
    co_return fail(Errc::kUnavailable, "connect to " + to_string(endpoint) + ": no answer within " +
                                           std::to_string(timeout.count()) + " ms");
  if (attempt->error)
    co_return fail(Errc::kUnavailable, "connect to " + to_string(endpoint) + ": " + attempt->error.message());
  prepare(attempt->socket);
  co_return Result<Socket>(std::move(attempt->socket));
}

namespace {

/// Nothing for a socket that is not TCP, or whose end is not known.
std::optional<std::string> ip_address(const Socket& socket, int (*name_of)(int, sockaddr*, socklen_t*)) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (name_of(const_cast<Socket&>(socket).native_handle(), reinterpret_cast<sockaddr*>(&storage), &size) != 0)
    return std::nullopt;
  asio::ip::tcp::endpoint endpoint;
  if (storage.ss_family != AF_INET && storage.ss_family != AF_INET6) return std::nullopt;
  std::memcpy(endpoint.data(), &storage, std::min<std::size_t>(size, endpoint.capacity()));
  endpoint.resize(size);
  auto address = endpoint.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  return address.to_string();
}

}  // namespace

std::string local_address(const Socket& socket) {
  return ip_address(socket,
                    [](int fd, sockaddr* name, socklen_t* size) { return ::getsockname(fd, name, size); })
      .value_or("127.0.0.1");
}

std::string peer_address(const Socket& socket) {
  return ip_address(socket,
                    [](int fd, sockaddr* name, socklen_t* size) { return ::getpeername(fd, name, size); })
      .value_or("");
}

}  // namespace rtrain::net
