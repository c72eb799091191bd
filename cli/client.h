// A small synchronous client of the user API: one connection a request, over TCP or a Unix socket.
#pragma once

#include "common/net/endpoint.h"
#include "proto/api/api.h"

#include <boost/asio/io_context.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace rtrain::cli {

struct Reply {
  unsigned status = 0;
  std::string body;
  std::int64_t offset = 0;       ///< of logs: Rtrain-Offset
  std::int64_t next_offset = 0;  ///< of logs: Rtrain-Next-Offset
  bool complete = false;         ///< of logs: Rtrain-Complete
};

class Client {
 public:
  static constexpr std::chrono::milliseconds kConnectTimeout{5000}, kSubmitTimeout{30'000};

  struct Token {
    std::string text;        ///< empty: none
    std::string about = {};  ///< where it came from, or why there is none; for a hint
    bool own = false;        ///< of this user: shown to programs of this user and of root alone
  };
  /// Opens nothing yet.
  Client(net::Endpoint endpoint, Token token) : endpoint_(std::move(endpoint)), token_(std::move(token)) {}
  Client(net::Endpoint endpoint, std::string token) : Client(std::move(endpoint), Token{std::move(token)}) {}

  /// The reply with a status below 400. Errors: kUnavailable (nobody answers, the connection broke),
  /// kTimeout, what the head's ErrorDoc says, kProtocol (something else listens there).
  [[nodiscard]] Result<Reply> request(const std::string& method, const std::string& target,
                                      std::string body = {},
                                      std::chrono::milliseconds timeout = std::chrono::seconds(30)) const;
  /// The body of a GET as a document.
  [[nodiscard]] Result<proto::Json> get(const std::string& target,
                                        std::chrono::milliseconds timeout = std::chrono::seconds(30)) const;
  [[nodiscard]] Result<proto::Json> post(const std::string& target,
                                         const proto::Json& body = proto::Json::object(),
                                         std::chrono::milliseconds timeout = std::chrono::seconds(30)) const;

  /// Submits a job, or a sweep to another target. An answer that does not come is asked for again, once: the
  /// head knows the request by its key and makes no second one.
  [[nodiscard]] Result<proto::Json> submit(const proto::Json& spec,
                                           const std::string& target = "/v1/jobs") const;

  /// A DELETE; what was deleted comes back.
  [[nodiscard]] Result<proto::Json> remove(const std::string& target) const;

  [[nodiscard]] const net::Endpoint& endpoint() const { return endpoint_; }
  [[nodiscard]] const std::string& token() const { return token_.text; }
  /// A connection on which the token may be shown. kUnavailable; kUnauthenticated: another user listens
  /// there.
  [[nodiscard]] Result<net::Socket> connect(boost::asio::io_context& io,
                                            std::chrono::milliseconds timeout) const;
  /// The error in a reply's body; where there is none, one from the status.
  [[nodiscard]] Error error_of(unsigned status, const std::string& body) const;

 private:
  /// A request that went out, and whether the head may have acted on it when there is no reply.
  struct Exchange {
    Result<Reply> reply;
    bool unanswered = false;
  };
  [[nodiscard]] Exchange exchange(const std::string& method, const std::string& target, std::string body,
                                  std::chrono::milliseconds timeout, const std::string& key = {}) const;
  [[nodiscard]] Result<proto::Json> document(const std::string& target, const Result<Reply>& reply) const;
  net::Endpoint endpoint_;
  Token token_;
};

/// Connects with a deadline, running `io` meanwhile. kUnavailable says how a head would be started there.
[[nodiscard]] Result<net::Socket> connect_within(boost::asio::io_context& io, const net::Endpoint& endpoint,
                                                 std::chrono::milliseconds timeout);
/// The Host header for an endpoint: "gpu-head:7338"; "localhost" for a Unix socket. The head refuses names
/// that are not its own.
[[nodiscard]] std::string host_header(const net::Endpoint& endpoint);

/// A document of the API as a value; kProtocol names what is odd in it.
template <class T>
[[nodiscard]] Result<T> as(const proto::Json& json) {
  try {
    return json.get<T>();
  } catch (const proto::Json::exception& e) {
    return fail(Errc::kProtocol, std::string("unexpected answer of the head: ") + e.what());
  }
}
/// The list under `key` of an object.
template <class T>
[[nodiscard]] Result<std::vector<T>> as_list(const proto::Json& json, const char* key) {
  try {
    return json.at(key).get<std::vector<T>>();
  } catch (const proto::Json::exception& e) {
    return fail(Errc::kProtocol, std::string("unexpected answer of the head: ") + e.what());
  }
}

}  // namespace rtrain::cli
