// Where to listen or connect: "host:port", "[v6]:port" or "unix:/path".
#pragma once

#include "common/base/result.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>

#include <chrono>
#include <string>
#include <variant>

namespace rtrain::net {

namespace asio = boost::asio;
/// A TCP or a Unix stream: the rest of the program does not care which.
using Socket = asio::generic::stream_protocol::socket;

struct TcpEndpoint {
  std::string host;
  std::uint16_t port = 0;
};
struct UnixEndpoint {
  std::string path;
};
using Endpoint = std::variant<TcpEndpoint, UnixEndpoint>;

/// kInvalidArgument names what is wrong: no port, port out of range, Unix path longer than 107 bytes.
[[nodiscard]] Result<Endpoint> parse_endpoint(std::string_view text);
[[nodiscard]] std::string to_string(const Endpoint& endpoint);
/// `text` with ":port" behind it when it is a host alone: "gpu-head", "10.0.0.1", "[::1]". Other texts come
/// back as they are.
[[nodiscard]] std::string with_port(std::string_view text, std::uint16_t port);
/// Loopback address ("localhost", 127.0.0.0/8, ::1) or a Unix socket: reachable from this machine only.
[[nodiscard]] bool is_local(const Endpoint& endpoint);

/// Accepts on a TCP port or a Unix path. A Unix socket file is made with mode 0600 and removed by the
/// destructor; a stale one (nobody answers) is replaced, a live one is kConflict.
class Listener {
 public:
  [[nodiscard]] static Result<Listener> open(const asio::any_io_executor& executor, const Endpoint& endpoint);
  Listener(Listener&&) noexcept;
  Listener& operator=(Listener&&) noexcept;
  ~Listener();
  /// The last file descriptors of a process, which no connection gets: its own files can be opened, however
  /// many come.
  static constexpr unsigned kFilesKept = 16;  // of a low limit at most a quarter
  /// Waits for one connection. kLimit: the process or the machine is out of memory or of file descriptors but
  /// for kFilesKept (free one, or turn_away(), and try again); kIo: anything else, try again after a pause;
  /// kUnavailable after close().
  asio::awaitable<Result<Socket>> async_accept();
  /// Takes up to `count` connections that wait, with a file descriptor kept for this, and closes them: they
  /// learn at once that they are not served. How many. For a process that is out of file descriptors.
  std::size_t turn_away(std::size_t count);
  /// The bound port (useful when 0 was asked for); 0 for Unix.
  [[nodiscard]] std::uint16_t port() const;
  void close();

 private:
  struct Impl;
  explicit Listener(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// kUnavailable with the endpoint in the message.
asio::awaitable<Result<Socket>> async_connect(Endpoint endpoint, std::chrono::milliseconds timeout);
/// The local address of a connected TCP socket ("10.1.0.2"); "127.0.0.1" for Unix.
[[nodiscard]] std::string local_address(const Socket& socket);
/// The address of the other end without its port ("10.1.0.7"); "" for Unix, and when it has gone already.
[[nodiscard]] std::string peer_address(const Socket& socket);

}  // namespace rtrain::net
