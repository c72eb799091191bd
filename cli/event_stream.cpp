#include "cli/event_stream.h"

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <array>

namespace rtrain::cli {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;

namespace {

/// The head says ": alive" every 10 s on a stream where nothing happens: one that is silent for longer than
/// this is lost.
constexpr std::chrono::seconds kSilenceMax{25};

}  // namespace

/// Shared with the pending handler, which may run after the stream was closed.
struct EventStream::State : std::enable_shared_from_this<EventStream::State> {
  State(asio::io_context& context, net::Socket connected, net::Endpoint at)
      : io(context), socket(std::move(connected)), endpoint(std::move(at)) {
    parser.header_limit(16u << 10);
    parser.body_limit(boost::none);
  }

  /// Asks for the next bytes of the body; the handler appends them to `received`.
  void start_read() {
    reading = true;
    parser.get().body().data = piece.data();
    parser.get().body().size = piece.size();
    parser.get().body().more = true;
    http::async_read_some(socket, buffer, parser, [self = shared_from_this()](error_code error, std::size_t) {
      self->reading = false;
      self->heard = std::chrono::steady_clock::now();
      if (error == http::error::need_buffer) error = {};
      self->received.append(self->piece.data(), self->piece.size() - self->parser.get().body().size);
      if (error || self->parser.is_done()) {
        self->ended = true;
        self->cause =
            error && error != http::error::end_of_stream ? error.message() : "the head closed the stream";
      }
    });
  }

  void step(std::chrono::steady_clock::time_point deadline) {
    if (io.stopped()) io.restart();
    io.run_one_until(deadline);
  }

  asio::io_context& io;
  net::Socket socket;
  net::Endpoint endpoint;
  beast::flat_buffer buffer;
  http::response_parser<http::buffer_body> parser;
  std::array<char, 64 << 10> piece{};
  std::string received;  ///< body bytes not yet parsed
  SseParser sse;
  bool reading = false, ended = false;
  std::chrono::steady_clock::time_point heard = std::chrono::steady_clock::now();
  std::string cause;
};

EventStream::EventStream(std::shared_ptr<State> state) : state_(std::move(state)) {}

EventStream& EventStream::operator=(EventStream&& other) noexcept {
  if (this != &other) {
    EventStream old(std::move(state_));  // closes what this one had open
    state_ = std::move(other.state_);
  }
  return *this;
}

EventStream::~EventStream() {
  if (state_) {
    error_code ignored;
    state_->socket.close(ignored);
  }
}

Result<EventStream> EventStream::open(asio::io_context& io, const Client& client, const std::string& target,
                                      const std::string& last_id) {
  auto socket = client.connect(io, Client::kConnectTimeout);
  if (!socket) return socket.error();
  EventStream stream(std::make_shared<State>(io, std::move(*socket), client.endpoint()));
  auto state = stream.state_;

  http::request<http::empty_body> request{http::verb::get, target, 11};
  request.set(http::field::host, host_header(client.endpoint()));
  request.set(http::field::accept, "text/event-stream");
  if (!last_id.empty()) request.set("Last-Event-ID", last_id);
  if (!client.token().empty()) request.set(http::field::authorization, "Bearer " + client.token());
  error_code error;
  http::write(state->socket, request, error);
  const std::string where = net::to_string(client.endpoint());
  if (error) return fail(Errc::kUnavailable, "the connection to " + where + " broke: " + error.message());

  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  auto header = std::make_shared<std::optional<error_code>>();
  http::async_read_header(state->socket, state->buffer, state->parser,
                          [state, header](const error_code& e, std::size_t) { *header = e; });
  while (!*header) {
    if (std::chrono::steady_clock::now() >= deadline)
      return fail(Errc::kUnavailable, where + " did not answer within 10 s");
    state->step(deadline);
  }
  if (**header)
    return fail(Errc::kUnavailable, "the connection to " + where + " broke: " + (*header)->message());
  const unsigned status = state->parser.get().result_int();
  if (status == 200) return stream;
  while (!state->ended && state->received.size() < (1u << 20) &&
         std::chrono::steady_clock::now() < deadline) {
    if (!state->reading) state->start_read();
    state->step(deadline);
  }
  return client.error_of(status, state->received);
}

Result<std::vector<SseEvent>> EventStream::read(std::chrono::steady_clock::time_point deadline) {
  if (!state_->reading && !state_->ended) state_->start_read();
  if (state_->reading) state_->step(deadline);
  std::vector<SseEvent> events;
  if (!state_->received.empty()) {
    auto parsed = state_->sse.feed(state_->received);
    state_->received.clear();
    if (!parsed) return parsed.error();
    events = std::move(*parsed);
  }
  const std::string from = "the stream from " + net::to_string(state_->endpoint);
  if (events.empty() && state_->ended && !state_->reading)
    return fail(Errc::kUnavailable, from + " ended: " + state_->cause);
  if (std::chrono::steady_clock::now() - state_->heard > kSilenceMax)
    return fail(Errc::kUnavailable, from + " was silent for " + std::to_string(kSilenceMax.count()) + " s");
  return events;
}

}  // namespace rtrain::cli
