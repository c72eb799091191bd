// HTTP/1.1 for users: connections, limits, authorization. What is answered stands in routes.h.
#pragma once

#include "common/async/gate.h"
#include "daemon/head/event_stream.h"

#include <functional>
#include <set>

namespace rtrain::head {

/// @thread the head's.
class ApiServer {
 public:
  ApiServer(net::asio::any_io_executor executor, net::Listener listener, bool tcp, std::string token, std::function<std::size_t()> connections_max,
            Dispatcher& dispatcher);
  /// Until stop().
  net::asio::awaitable<void> async_run();
  void stop();
  [[nodiscard]] std::uint16_t port() const { return listener_.port(); }
  /// Tells the streams that something changed.
  void announce() { news_.announce(); }

 private:
  net::asio::awaitable<void> async_serve(net::Socket socket);
  /// One request and its answer; false when the connection is to be closed.
  net::asio::awaitable<bool> async_exchange(HttpStream& client, beast::flat_buffer& buffer);
  net::asio::awaitable<bool> async_answer(HttpStream& client, const HttpRequest& request);
  [[nodiscard]] Error not_durable() const;
  net::asio::awaitable<HttpResponse> async_log(ReadLog log, const HttpRequest& request);
  /// Why the request may not pass: no token, or a Host header that a browser was tricked into.
  [[nodiscard]] std::optional<Error> refuse(const HttpRequest& request) const;

  net::Listener listener_;
  bool tcp_;
  std::string token_;
  std::function<std::size_t()> connections_max_;
  Dispatcher& dispatcher_;
  News news_;
  async::Gate gate_;
  std::set<HttpStream*> open_;
  bool stopping_ = false, full_ = false;
};

/// Host headers that a page of another site cannot have: an IP address, localhost, or a name of this machine.
/// (A browser that was led here by DNS rebinding sends the attacker's host name.)
[[nodiscard]] bool host_is_ours(std::string_view host, std::string_view our_name);

/// True for a request that a web page of another origin makes in a user's browser: browsers say so in the Origin header.
[[nodiscard]] bool is_cross_origin(std::string_view origin, std::string_view host);

}  // namespace rtrain::head
