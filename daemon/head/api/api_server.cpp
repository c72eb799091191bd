#include "daemon/head/api/api_server.h"

#include "common/log/delivery.h"
#include "common/os/file.h"
#include "daemon/head/api/durable_wait.h"
#include "daemon/head/api/request_user.h"
#include "daemon/head/net/accept.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <array>
#include <tuple>

namespace rtrain::head {
namespace asio = net::asio;
using namespace std::chrono_literals;
namespace {

constexpr std::uint32_t kHeaderBytesMax = 8 * 1024;
constexpr std::uint64_t kRequestBytesMax = 2 * 1024 * 1024;
constexpr auto kIdleLimit = 30s;  // between requests, and for a client to take an answer
// from the first byte of a request to its last; the first request of a connection: from its begin
constexpr auto kRequestLimit = 10s;
constexpr auto kStoreLimit = 5s;  // for what an answer tells to become durable
constexpr std::size_t kReadBytes = 4096;
constexpr std::size_t kBodyReadBytes = 64u << 10;  // of a body that is larger than one read
// of a connection, for what is not understood yet
constexpr std::size_t kBufferBytesMax = 2 * kBodyReadBytes;
// large specs that are read or wait for it; the next one waits for room
constexpr std::size_t kSpecsBytesMax = 16u << 20;
constexpr auto kSpecWait = 10s;
// of pieces of logs that are on their way to users; the next one waits for room
constexpr std::size_t kLogBytesMax = 16u << 20;
constexpr auto kLogWait = 10s;

std::string_view view(const boost::core::string_view& text) { return {text.data(), text.size()}; }

/// Beast bounds a header, but not the trailers of a chunked body, and throws where one does not fit into a
/// field. Nothing here uses trailers: they are counted and read over.
class RequestParser : public http::request_parser<http::string_body> {
 public:
  RequestParser() {
    header_limit(kHeaderBytesMax);
    body_limit(kRequestBytesMax);
  }

 private:
  void on_field_impl(http::field name, beast::string_view name_text, beast::string_view value,
                     boost::system::error_code& ec) override {
    if (!is_header_done()) return get().insert(name, name_text, value);
    trailer_bytes_ += name_text.size() + value.size();
    if (trailer_bytes_ > kHeaderBytesMax) ec = http::error::header_limit;
  }

  std::size_t trailer_bytes_ = 0;
};

/// What to answer to bytes that are no request; nothing when the client just went away or was too slow.
std::optional<Error> unreadable(const boost::system::error_code& ec) {
  if (ec == http::error::header_limit || ec == http::error::buffer_overflow)
    return fail(Errc::kLimit, "the header of the request is larger than 8 KiB");
  if (ec == http::error::body_limit)
    return fail(Errc::kLimit, "the body of the request is larger than 2 MiB",
                "keep large values in files and give their paths in train_loop_config");
  if (ec == http::error::end_of_stream || ec == http::error::partial_message ||
      ec.category() != http::make_error_code(http::error::end_of_stream).category())
    return std::nullopt;
  return fail(Errc::kInvalidArgument, "this is not an HTTP/1.1 request: " + ec.message());
}

/// Answers and takes what still comes, for a moment: closing over unread bytes would reset the connection and
/// the answer with it.
asio::awaitable<void> async_refuse_rest(HttpStream& client, Error error) {
  static log::RateLimited refused(log::Level::kInfo, "API: more requests are refused");
  refused.write("API: a request is refused",
                {{"peer", net::peer_address(client.socket())}, {"cause", error.message()}});
  const HttpRequest none;
  auto response = error_response(error, none);
  response.keep_alive(false);
  client.expires_after(2s);
  co_await http::async_write(client, response, asio::as_tuple(asio::use_awaitable));
  boost::system::error_code ignored;
  client.socket().shutdown(asio::socket_base::shutdown_send, ignored);
  std::array<char, 16 * 1024> rest;
  for (bool more = true; more;) {
    auto [ec, size] =
        co_await client.async_read_some(asio::buffer(rest), asio::as_tuple(asio::use_awaitable));
    more = !ec;
  }
}

/// What a HEAD of a stream is told.
HttpResponse stream_header(const HttpRequest& request) {
  HttpResponse response{http::status::ok, request.version()};
  response.set(http::field::content_type, "text/event-stream");
  response.set(http::field::cache_control, "no-store");
  response.keep_alive(false);
  return response;
}

}  // namespace

bool host_is_ours(std::string_view host, std::string_view our_name) {
  if (host.starts_with('[')) return host.find(']') != std::string_view::npos;  // an IPv6 address
  const std::string name(host.substr(0, host.find(':')));
  boost::system::error_code ec;
  (void)asio::ip::make_address(name, ec);
  return !ec || name == "localhost" || name == our_name ||
         std::string_view(name).starts_with(std::string(our_name) + ".");
}

bool is_cross_origin(std::string_view origin, std::string_view host) {
  if (origin.empty()) return false;
  const auto scheme = origin.find("://");
  return scheme == std::string_view::npos || origin.substr(scheme + 3) != host;
}

ApiServer::ApiServer(asio::any_io_executor executor, net::Listener listener, bool tcp, Admission admission,
                     std::shared_ptr<Connections> connections, Dispatcher& dispatcher)
    : listener_(std::move(listener)),
      tcp_(tcp),
      admission_(std::move(admission)),
      connections_(std::move(connections)),
      dispatcher_(dispatcher),
      news_(executor),
      log_budget_(std::make_shared<async::Budget>(executor, kLogBytesMax)),
      spec_budget_(std::make_shared<async::Budget>(executor, kSpecsBytesMax)),
      gate_(executor) {}

void ApiServer::stop() {
  stopping_ = true;
  spec_reader_.stop();
  listener_.close();
  news_.announce_all();
}

asio::awaitable<void> ApiServer::async_run() {
  bool full = false;
  while (!stopping_) {
    auto socket = co_await async_next(listener_, *connections_, Connections::Kind::kUser, stopping_);
    if (!socket) break;
    auto peer = net::peer_address(*socket);
    auto user = net::peer_user(*socket);
    auto visitor = std::make_unique<Visitor>(
        Visitor{HttpStream(std::move(*socket)), beast::flat_buffer(kBufferBytesMax), {}, std::move(user)});
    auto& client = visitor->client;
    visitor->place = connections_->admit(Connections::Kind::kUser, std::move(peer),
                                         std::chrono::steady_clock::now(), [&client] { client.close(); });
    const bool was_full = std::exchange(full, !visitor->place);
    if (full && !was_full) {
      static log::RateLimited closed(log::Level::kWarn, "API: connections_max were in use more often");
      closed.write("API: connections are closed at once, connections_max are in use",
                   {{"open", std::to_string(connections_->size())}});
    }
    if (full) continue;
    asio::awaitable<void> serving = async_serve(std::move(visitor));
    gate_.spawn(std::move(serving));
  }
  co_await gate_.close();
}

asio::awaitable<void> ApiServer::async_serve(std::unique_ptr<Visitor> visitor) {
  bool keep = true;
  while (keep && !stopping_) keep = co_await async_exchange(*visitor);
  boost::system::error_code ignored;
  visitor->client.socket().shutdown(asio::socket_base::shutdown_both, ignored);
}

asio::awaitable<bool> ApiServer::async_exchange(Visitor& visitor) {
  auto& client = visitor.client;
  auto& buffer = visitor.buffer;
  if (!visitor.known) client.expires_after(kRequestLimit);
  if (buffer.size() == 0) {  // between two requests a client may be silent for longer than within one
    if (visitor.known) {
      visitor.place.idle();
      client.expires_after(kIdleLimit);
    }
    auto [ec, size] =
        co_await client.async_read_some(buffer.prepare(kReadBytes), asio::as_tuple(asio::use_awaitable));
    if (ec) co_return false;
    buffer.commit(size);
  }
  if (visitor.known) client.expires_after(kRequestLimit);
  RequestParser parser;
  auto [header_ec, header_size] =
      co_await http::async_read_header(client, buffer, parser, asio::as_tuple(asio::use_awaitable));
  boost::system::error_code ec = header_ec;
  if (!ec && view(parser.get()[http::field::expect]) == "100-continue") {
    http::response<http::empty_body> go_on{http::status::continue_, 11};
    co_await http::async_write(client, go_on, asio::as_tuple(asio::use_awaitable));
  }
  if (!ec && !parser.is_done()) {
    if (parser.content_length().value_or(0) > kReadBytes) buffer.reserve(kBodyReadBytes);
    std::tie(ec, header_size) =
        co_await http::async_read(client, buffer, parser, asio::as_tuple(asio::use_awaitable));
  }
  if (ec) {
    if (const auto refusal = unreadable(ec)) co_await async_refuse_rest(client, *refusal);
    co_return false;
  }
  HttpRequest request = parser.release();
  if (visitor.user) name_peer(request, visitor.user->uid);
  co_return co_await async_answer(visitor, request);
}

asio::awaitable<bool> ApiServer::async_answer(Visitor& visitor, const HttpRequest& request) {
  auto& client = visitor.client;
  std::optional<HttpResponse> response;
  async::Budget::Share share(log_budget_);  // until the answer is written
  if (const auto refusal = refuse(visitor, request)) {
    response = error_response(*refusal, request);
  } else {
    visitor.known = visitor.known || !is_public(request);
    if (visitor.known) visitor.place.known();
    auto reply = answer(dispatcher_, request);
    if (std::holds_alternative<FollowJob>(reply) && request.method() == http::verb::head)
      reply = stream_header(request);
    if (auto* follow = std::get_if<FollowJob>(&reply)) {
      co_await async_stream_job(client, dispatcher_, news_, std::move(*follow), stopping_);
      co_return false;
    }
    if (auto* log = std::get_if<ReadLog>(&reply))
      response = co_await async_log(std::move(*log), request, share);
    else if (auto* spec = std::get_if<ReadSpec>(&reply))
      response = co_await async_spec(std::move(*spec), request);
    else if (auto* prune = std::get_if<PruneJobs>(&reply))
      response = co_await async_prune(std::move(*prune), request);
    else
      response = std::move(std::get<HttpResponse>(reply));
    bool durable = is_public(request);
    if (!durable) durable = co_await async_durable(dispatcher_.gate(), kStoreLimit);
    if (!durable) response = error_response(not_durable(), request);
  }
  if (request.method() == http::verb::head) response->body().clear();  // its length stays in the header
  client.expires_after(kIdleLimit);
  auto [ec, size] = co_await http::async_write(client, *response, asio::as_tuple(asio::use_awaitable));
  co_return !ec && response->keep_alive();
}

Error ApiServer::not_durable() const {
  const auto health = dispatcher_.context().health();
  return fail(Errc::kUnavailable,
              "the head could not store its last events within 5 s" +
                  (health.why.empty() ? std::string() : ": " + health.why),
              "a submit or a cancel may have been taken all the same: look again (rtrain list) when the head "
              "can write. A submit with an Idempotency-Key can be sent again");
}

asio::awaitable<HttpResponse> ApiServer::async_log(ReadLog log, const HttpRequest& request,
                                                   async::Budget::Share& share) {
  const bool room = co_await share.async_take(static_cast<std::size_t>(log.read.bytes_max), kLogWait);
  if (!room)
    co_return error_response(fail(Errc::kUnavailable, "too many pieces of logs are being read at the moment",
                                  "ask again, or for less (limit)"),
                             request);
  const auto session = dispatcher_.nodes().session(log.node);
  if (!session)
    co_return error_response(
        fail(Errc::kUnavailable, "node " + log.node + " is not connected, its logs cannot be read now"),
        request);
  asio::awaitable<Result<proto::LogData>> reading = session->async_read_log(log.read);
  auto data = co_await std::move(reading);
  if (!data) co_return error_response(data.error(), request);
  if (!data->error.empty()) co_return error_response(fail(Errc::kNotFound, data->error), request);
  HttpResponse response{http::status::ok, request.version()};
  response.set(http::field::content_type, "text/plain; charset=utf-8");
  response.set(http::field::cache_control, "no-store");
  response.set("Rtrain-Offset", std::to_string(data->offset));
  response.set("Rtrain-Next-Offset",
               std::to_string(data->offset + static_cast<std::int64_t>(data->data.size())));
  response.set("Rtrain-Complete", data->complete && data->at_end ? "true" : "false");
  response.keep_alive(request.keep_alive());
  response.body() = std::move(data->data);
  response.prepare_payload();
  co_return response;
}

asio::awaitable<HttpResponse> ApiServer::async_spec(ReadSpec spec, const HttpRequest& request) {
  struct Progress {
    explicit Progress(const asio::any_io_executor& executor) : news(executor) {}
    News news;
    std::optional<CheckedSpec> checked;
  };
  async::Budget::Share share(spec_budget_);
  if (!co_await share.async_take(request.body().size(), kSpecWait))
    co_return error_response(
        fail(Errc::kUnavailable, "too many large job files are being read at the moment", "send it again"),
        request);
  const auto executor = co_await asio::this_coro::executor;
  const auto progress = std::make_shared<Progress>(executor);
  asio::post(spec_reader_, [progress, executor, body = request.body()] {
    auto checked = std::make_shared<CheckedSpec>(check_spec(body));
    asio::post(executor, [progress, checked] {
      progress->checked = std::move(*checked);
      progress->news.announce();
    });
  });
  while (!progress->checked && !stopping_) co_await progress->news.async_wait(200ms);
  if (stopping_)
    co_return error_response(fail(Errc::kUnavailable, "the head ends", "send it to the next one"), request);
  co_return spec.answer(std::move(*progress->checked));
}

asio::awaitable<HttpResponse> ApiServer::async_prune(PruneJobs prune, const HttpRequest& request) {
  struct Progress {
    explicit Progress(const asio::any_io_executor& executor) : news(executor) {}
    News news;
    store::Pruned last;
  };
  const auto executor = co_await asio::this_coro::executor;
  const auto progress = std::make_shared<Progress>(executor);
  const bool dry_run = prune.request.dry_run;
  dispatcher_.retention().prune(std::move(prune.request), [progress](const store::Pruned& pruned) {
    progress->last = pruned;
    if (pruned.over) progress->news.announce();
  });
  while (!progress->last.over && !stopping_) co_await progress->news.async_wait(1s);
  const auto& last = progress->last;
  if (!dry_run)
    log::info("jobs that ended are forgotten",
              {{"by", prune.by}, {"jobs", std::to_string(last.jobs)}, {"bytes", std::to_string(last.bytes)}});
  if (!last.over)
    co_return error_response(
        fail(Errc::kUnavailable, "the head ends; " + std::to_string(last.jobs) + " jobs were removed",
             "ask the next one for the rest"),
        request);
  if (!last.problem.empty())
    co_return error_response(fail(Errc::kUnavailable, "the prune stopped after " + std::to_string(last.jobs) +
                                                          " jobs: " + last.problem),
                             request);
  co_return json_response(http::status::ok, proto::PruneDoc{last.jobs, last.sweeps, last.bytes, dry_run},
                          request);
}

std::optional<Error> ApiServer::refuse(const Visitor& visitor, const HttpRequest& request) const {
  if (tcp_ && !host_is_ours(view(request[http::field::host]), os::host_name()))
    return fail(Errc::kUnauthenticated, "the Host header names another machine",
                "address the head by its IP address, its host name or localhost");
  if (is_cross_origin(view(request[http::field::origin]), view(request[http::field::host])))
    return fail(Errc::kUnauthenticated, "the request comes from a web page of another site",
                "only the head's own pages may use its API in a browser");
  if (is_public(request)) return std::nullopt;
  constexpr std::string_view kBearer = "Bearer ";
  const auto header = view(request[http::field::authorization]);
  if (admission_.admits(visitor.user, header.starts_with(kBearer) ? header.substr(kBearer.size()) : ""))
    return std::nullopt;
  return fail(Errc::kUnauthenticated,
              header.empty() ? "the request has no token" : "the token is not the head's",
              "the head's log names the file of its token at the start; show it with --token-file FILE or "
              "RTRAIN_TOKEN_FILE, over HTTP with "
              "Authorization: Bearer TOKEN");
}

}  // namespace rtrain::head
