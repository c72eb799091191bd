// HTTP/1.1 for users: connections, limits, authorization. What is answered stands in routes.h.
#pragma once

#include "common/async/budget.h"
#include "common/async/gate.h"
#include "daemon/head/api/event_stream.h"
#include "daemon/head/net/admission.h"
#include "daemon/head/net/connections.h"

#include <boost/asio/thread_pool.hpp>

namespace rtrain::head {

/// @thread the head's.
class ApiServer {
 public:
  ApiServer(net::asio::any_io_executor executor, net::Listener listener, bool tcp, Admission admission,
            std::shared_ptr<Connections> connections, Dispatcher& dispatcher);
  /// Until stop().
  net::asio::awaitable<void> async_run();
  void stop();
  [[nodiscard]] std::uint16_t port() const { return listener_.port(); }
  /// Tells the streams of a job that something changed.
  void announce(JobId job) { news_.announce(job); }

 private:
  /// A connection and what is left of what was read from it.
  struct Visitor {
    HttpStream client;
    beast::flat_buffer buffer;
    Connections::Place place;
    std::optional<net::PeerUser> user;  ///< of a Unix socket, by the word of the kernel
    bool known = false;                 ///< its last request was a good one
  };
  net::asio::awaitable<void> async_serve(std::unique_ptr<Visitor> visitor);
  /// One request and its answer; false when the connection is to be closed.
  net::asio::awaitable<bool> async_exchange(Visitor& visitor);
  net::asio::awaitable<bool> async_answer(Visitor& visitor, const HttpRequest& request);
  [[nodiscard]] Error not_durable() const;
  net::asio::awaitable<HttpResponse> async_log(ReadLog log, const HttpRequest& request,
                                               async::Budget::Share& share);
  net::asio::awaitable<HttpResponse> async_spec(ReadSpec spec, const HttpRequest& request);
  net::asio::awaitable<HttpResponse> async_prune(PruneJobs prune, const HttpRequest& request);
  /// Why the request may not pass: no token, or a Host header that a browser was tricked into.
  [[nodiscard]] std::optional<Error> refuse(const Visitor& visitor, const HttpRequest& request) const;

  net::Listener listener_;
  bool tcp_;
  Admission admission_;
  std::shared_ptr<Connections> connections_;
  Dispatcher& dispatcher_;
  JobNews news_;
  std::shared_ptr<async::Budget> log_budget_, spec_budget_;
  async::Gate gate_;
  net::asio::thread_pool spec_reader_{1};  ///< reads large specs, so that others do not wait for them
  bool stopping_ = false;
};

/// Host headers that a page of another site cannot have: an IP address, localhost, or a name of this machine.
/// (A browser that was led here by DNS rebinding sends the attacker's host name.)
[[nodiscard]] bool host_is_ours(std::string_view host, std::string_view our_name);

/// True for a request that a web page of another origin makes in a user's browser: browsers say so in the
/// Origin header.
[[nodiscard]] bool is_cross_origin(std::string_view origin, std::string_view host);

}  // namespace rtrain::head
