#include "daemon/head/api_server.h"

#include "common/log/log.h"
#include "common/os/file.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace rtrain::head {
namespace asio = net::asio;
using namespace std::chrono_literals;
namespace {

constexpr std::uint32_t kHeaderBytesMax = 8 * 1024;
constexpr std::uint64_t kBodyBytesMax = 2 * 1024 * 1024;
constexpr auto kIdleLimit = 30s;

std::string_view view(const boost::core::string_view& text) { return {text.data(), text.size()}; }

}  // namespace

bool host_is_ours(std::string_view host, std::string_view our_name) {
  if (host.starts_with('[')) return host.find(']') != std::string_view::npos;  // an IPv6 address
  const std::string name(host.substr(0, host.find(':')));
  boost::system::error_code ec;
  (void)asio::ip::make_address(name, ec);
  return !ec || name == "localhost" || name == our_name || std::string_view(name).starts_with(std::string(our_name) + ".");
}

ApiServer::ApiServer(asio::any_io_executor executor, net::Listener listener, bool tcp, std::string token, int connections_max, Dispatcher& dispatcher)
    : listener_(std::move(listener)), tcp_(tcp), token_(std::move(token)), connections_max_(static_cast<std::size_t>(connections_max)), dispatcher_(dispatcher), news_(executor), gate_(executor) {}

void ApiServer::stop() {
  stopping_ = true;
  listener_.close();
  news_.announce();
  for (auto* client : open_) client->cancel();
}

asio::awaitable<void> ApiServer::async_run() {
  while (!stopping_) {
    auto socket = co_await listener_.async_accept();
    if (stopping_) break;
    if (!socket) {
      log::warn("API: cannot accept", {{"cause", socket.error().message()}});
      co_await async::async_sleep(100ms);  // out of file descriptors: existing connections go on
      continue;
    }
    if (open_.size() >= connections_max_) continue;  // the socket closes here
    asio::awaitable<void> serving = async_serve(std::move(*socket));
    gate_.spawn(std::move(serving));
  }
  co_await gate_.close();
}

asio::awaitable<void> ApiServer::async_serve(net::Socket socket) {
  HttpStream client(std::move(socket));
  open_.insert(&client);
  beast::flat_buffer buffer;
  bool keep = true;
  while (keep && !stopping_) {
    http::request_parser<http::string_body> parser;
    parser.header_limit(kHeaderBytesMax);
    parser.body_limit(kBodyBytesMax);
    client.expires_after(kIdleLimit);
    auto [ec, size] = co_await http::async_read(client, buffer, parser, asio::as_tuple(asio::use_awaitable));
    if (ec == http::error::body_limit || ec == http::error::header_limit) {
      HttpRequest none;
      auto response = error_response(fail(Errc::kLimit, "the request is larger than 2 MiB"), none);
      response.keep_alive(false);
      co_await http::async_write(client, response, asio::as_tuple(asio::use_awaitable));
      break;
    }
    if (ec) break;
    HttpRequest request = parser.release();
    co_await async_answer(client, request, keep);
  }
  open_.erase(&client);
  boost::system::error_code ignored;
  client.socket().shutdown(asio::socket_base::shutdown_both, ignored);
}

asio::awaitable<void> ApiServer::async_answer(HttpStream& client, HttpRequest& request, bool& keep) {
  std::optional<HttpResponse> response;
  if (const auto refusal = refuse(request)) {
    response = error_response(*refusal, request);
  } else {
    auto reply = answer(dispatcher_, request);
    if (auto* follow = std::get_if<FollowJob>(&reply)) {
      keep = false;
      co_await async_stream_job(client, dispatcher_, news_, *follow, stopping_);
      co_return;
    }
    if (auto* log = std::get_if<ReadLog>(&reply)) response = co_await async_log(std::move(*log), request);
    else response = std::move(std::get<HttpResponse>(reply));
  }
  keep = response->keep_alive();
  client.expires_after(kIdleLimit);
  auto [ec, size] = co_await http::async_write(client, *response, asio::as_tuple(asio::use_awaitable));
  if (ec) keep = false;
}

asio::awaitable<HttpResponse> ApiServer::async_log(ReadLog log, const HttpRequest& request) {
  const auto session = dispatcher_.nodes().session(log.node);
  if (!session) co_return error_response(fail(Errc::kUnavailable, "node " + log.node + " is not connected, its logs cannot be read now"), request);
  auto data = co_await AgentSession::async_read_log(session, log.read);
  if (!data) co_return error_response(data.error(), request);
  if (!data->error.empty()) co_return error_response(fail(Errc::kNotFound, data->error), request);
  HttpResponse response{http::status::ok, request.version()};
  response.set(http::field::content_type, "text/plain; charset=utf-8");
  response.set(http::field::cache_control, "no-store");
  response.set("Rtrain-Offset", std::to_string(data->offset));
  response.set("Rtrain-Next-Offset", std::to_string(data->offset + static_cast<std::int64_t>(data->data.size())));
  response.set("Rtrain-Complete", data->complete && data->at_end ? "true" : "false");
  response.keep_alive(request.keep_alive());
  response.body() = std::move(data->data);
  response.prepare_payload();
  co_return response;
}

std::optional<Error> ApiServer::refuse(const HttpRequest& request) const {
  if (tcp_ && !host_is_ours(view(request[http::field::host]), os::host_name()))
    return fail(Errc::kUnauthenticated, "the Host header names another machine", "address the head by its IP address, its host name or localhost");
  if (token_.empty() || is_public(request)) return std::nullopt;
  const auto header = view(request[http::field::authorization]);
  if (header.starts_with("Bearer ") && same_token(header.substr(7), token_)) return std::nullopt;
  return fail(Errc::kUnauthenticated, "wrong or missing token", "give the CLI the head's token: --token-file FILE or RTRAIN_TOKEN_FILE");
}

}  // namespace rtrain::head
