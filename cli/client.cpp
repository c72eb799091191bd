#include "cli/client.h"

#include "common/async/run.h"
#include "common/net/peer.h"
#include "common/os/file.h"
#include "common/os/user.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <charconv>

namespace rtrain::cli {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using async::run_until;
using boost::system::error_code;

namespace {

constexpr std::size_t kReadBytes = 64u << 10;
constexpr std::size_t kBodyMax = 64u << 20;
constexpr std::uint32_t kHeaderMax = 16u << 10;

Error unreachable(const net::Endpoint& endpoint, const std::string& cause) {
  return fail(Errc::kUnavailable, "no head answers at " + net::to_string(endpoint) + ": " + cause,
              "start one with `rtraind head`, say where it is with --head or RTRAIN_HEAD, "
              "or run without one: `rtrain run job.json`");
}

Result<std::vector<asio::generic::stream_protocol::endpoint>> addresses_of(const net::Endpoint& endpoint,
                                                                           asio::io_context& io) {
  std::vector<asio::generic::stream_protocol::endpoint> out;
  if (const auto* local = std::get_if<net::UnixEndpoint>(&endpoint)) {
    out.emplace_back(asio::local::stream_protocol::endpoint(local->path));
    return out;
  }
  const auto& tcp = std::get<net::TcpEndpoint>(endpoint);
  error_code error;
  const auto address = asio::ip::make_address(tcp.host, error);
  if (!error) {
    out.emplace_back(asio::ip::tcp::endpoint(address, tcp.port));
    return out;
  }
  asio::ip::tcp::resolver resolver(io);  // the blocking call: the asynchronous one would start a thread
  for (const auto& entry : resolver.resolve(tcp.host, std::to_string(tcp.port), error))
    out.emplace_back(entry.endpoint());
  if (out.empty()) return unreachable(endpoint, "the host name cannot be resolved (" + error.message() + ")");
  return out;
}

/// A head that vanished (power, network) must end a stream that would otherwise wait for ever: within about
/// 25 s.
void keep_honest(net::Socket& socket) {
  error_code ignored;
  socket.set_option(asio::ip::tcp::no_delay(true), ignored);
  socket.set_option(asio::socket_base::keep_alive(true), ignored);
  for (const auto& [option, value] : {std::pair{TCP_KEEPIDLE, 10}, {TCP_KEEPINTVL, 5}, {TCP_KEEPCNT, 3}})
    (void)::setsockopt(socket.native_handle(), IPPROTO_TCP, option, &value, sizeof value);
}

std::int64_t header_number(const http::response<http::string_body>& response, beast::string_view name) {
  const auto text = response[name];
  std::int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

Result<net::Socket> Client::connect(asio::io_context& io, std::chrono::milliseconds timeout) const {
  auto socket = connect_within(io, endpoint_, timeout);
  if (socket && token_.own && !net::leads_to_own_user(*socket, endpoint_))
    return fail(Errc::kUnauthenticated,
                net::to_string(endpoint_) + " is served by another user: your own token is not sent there",
                "name the token of that head: --token-file FILE or RTRAIN_TOKEN_FILE");
  return socket;
}

Result<net::Socket> connect_within(asio::io_context& io, const net::Endpoint& endpoint,
                                   std::chrono::milliseconds timeout) {
  auto addresses = addresses_of(endpoint, io);
  if (!addresses) return addresses.error();
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  std::string cause;
  for (const auto& address : *addresses) {
    net::Socket socket(io);
    auto done = std::make_shared<std::optional<error_code>>();
    socket.async_connect(address, [done](const error_code& error) { *done = error; });
    if (!run_until(io, *done, deadline)) {
      cause = "no answer within " + std::to_string(timeout.count()) + " ms";
      break;
    }
    if (!**done) {
      if (std::holds_alternative<net::TcpEndpoint>(endpoint)) keep_honest(socket);
      return socket;
    }
    cause = (*done)->message();
  }
  return unreachable(endpoint, cause);
}

std::string host_header(const net::Endpoint& endpoint) {
  return std::holds_alternative<net::TcpEndpoint>(endpoint) ? net::to_string(endpoint) : "localhost";
}

Error Client::error_of(unsigned status, const std::string& body) const {
  auto doc = proto::read_document<proto::ErrorDoc>(body);
  if (doc && !doc->code.empty()) {
    const Error error = proto::to_error(*doc);
    const bool of_token =
        error.code() == Errc::kUnauthenticated && error.hint().find("token") != std::string::npos;
    return of_token && !token_.about.empty()
               ? Error(error.code(), error.message(), token_.about + "; " + error.hint())
               : error;
  }
  return fail(Errc::kProtocol, net::to_string(endpoint_) + " answered with HTTP status " +
                                   std::to_string(status) +
                                   " and no error document: is it a head's api_listen address?");
}

Result<Reply> Client::request(const std::string& method, const std::string& target, std::string body,
                              std::chrono::milliseconds timeout) const {
  return exchange(method, target, std::move(body), timeout).reply;
}

Client::Exchange Client::exchange(const std::string& method, const std::string& target, std::string body,
                                  std::chrono::milliseconds timeout, const std::string& key) const {
  asio::io_context io{1};
  auto socket = connect(io, std::min(timeout, kConnectTimeout));
  if (!socket) return {socket.error()};
  const auto deadline = std::chrono::steady_clock::now() + timeout;

  http::request<http::string_body> request{http::string_to_verb(method), target, 11};
  request.set(http::field::host, host_header(endpoint_));
  request.set(http::field::connection, "close");
  if (!token_.text.empty()) request.set(http::field::authorization, "Bearer " + token_.text);
  request.set("Rtrain-User", os::user_name());
  if (!key.empty()) request.set("Idempotency-Key", key);
  if (!body.empty()) request.set(http::field::content_type, "application/json");
  request.body() = std::move(body);
  request.prepare_payload();

  beast::flat_buffer buffer;
  buffer.reserve(kReadBytes);  // Beast reads as much at once as the buffer holds, 512 bytes when it is empty
  http::response_parser<http::string_body> parser;
  parser.header_limit(kHeaderMax);
  parser.body_limit(kBodyMax);
  std::optional<error_code> written, read;
  http::async_write(*socket, request, [&](const error_code& error, std::size_t) { written = error; });
  bool in_time = run_until(io, written, deadline);
  // a head that refuses early may close before it has read all: its answer counts, not our failed write
  if (in_time) {
    http::async_read(*socket, buffer, parser, [&](const error_code& error, std::size_t) { read = error; });
    in_time = run_until(io, read, deadline);
  }
  if (!in_time) {
    return {fail(Errc::kTimeout, "the head at " + net::to_string(endpoint_) + " did not answer " + method +
                                     " " + target + " within " + std::to_string(timeout.count()) + " ms"),
            true};
  }
  if (*read) {
    const bool not_http = read->category() == http::make_error_code(http::error::bad_version).category() &&
                          *read != http::error::end_of_stream && *read != http::error::partial_message;
    return {fail(not_http ? Errc::kProtocol : Errc::kUnavailable,
                 "the connection to " + net::to_string(endpoint_) +
                     (not_http ? " does not speak the user API (" : " broke before the answer (") +
                     read->message() + ")",
                 not_http ? "--head is the head's api_listen address, by default 127.0.0.1:7338" : ""),
            !not_http};
  }
  auto& response = parser.get();
  Reply reply;
  reply.status = response.result_int();
  reply.offset = header_number(response, "Rtrain-Offset");
  reply.next_offset = header_number(response, "Rtrain-Next-Offset");
  reply.complete = response["Rtrain-Complete"] == "true";
  reply.body = std::move(response.body());
  if (reply.status >= 400) return {error_of(reply.status, reply.body)};
  return {std::move(reply)};
}

Result<proto::Json> Client::document(const std::string& target, const Result<Reply>& reply) const {
  if (!reply) return reply.error();
  auto json = proto::parse_json(reply->body, {.bytes_max = kBodyMax});
  if (!json)
    return fail(Errc::kProtocol, net::to_string(endpoint_) + " " + target + ": " + json.error().message());
  return json;
}

Result<proto::Json> Client::get(const std::string& target, std::chrono::milliseconds timeout) const {
  return document(target, request("GET", target, {}, timeout));
}
Result<proto::Json> Client::post(const std::string& target, const proto::Json& body,
                                 std::chrono::milliseconds timeout) const {
  return document(target, request("POST", target, proto::dump_json(body), timeout));
}
Result<proto::Json> Client::submit(const proto::Json& spec, const std::string& target) const {
  const std::string body = proto::dump_json(spec), key = os::random_hex(16);
  auto tried = exchange("POST", target, body, kSubmitTimeout, key);
  if (tried.unanswered) tried = exchange("POST", target, body, kSubmitTimeout, key);
  return document(target, tried.reply);
}
Result<proto::Json> Client::remove(const std::string& target) const {
  return document(target, request("DELETE", target));
}

}  // namespace rtrain::cli
