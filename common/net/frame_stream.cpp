#include "common/net/frame_stream.h"

#include "common/async/deadline.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <array>
#include <optional>

namespace rtrain::net {
namespace {

using boost::system::error_code;

constexpr std::size_t kKeptBytes = 4096;  // of a buffer that is not needed now

}  // namespace

struct FrameStream::Impl : std::enable_shared_from_this<FrameStream::Impl> {
  Impl(Socket connected, FrameCodec used_codec, std::size_t queue_max)
      : socket(std::move(connected)),
        codec(used_codec),
        write_queue_bytes_max(queue_max),
        progress(socket.get_executor()) {
    error_code ignored;
    socket.non_blocking(true, ignored);
  }

  Socket socket;
  FrameCodec codec;
  std::size_t write_queue_bytes_max;
  std::size_t json_bytes_max = 64u << 10;  // until set_limits(): what a handshake needs
  std::size_t body_bytes_max = 0;
  bool open = true;

  // Reading: bytes that arrived stay here, so that a read that timed out in the middle of a frame can be
  // taken up again.
  std::string inbox;
  std::size_t taken = 0;  // of the inbox
  error_code read_error;

  // Writing: `queued` collects while `writing` is on its way; all that waits goes out in one write.
  std::string queued, writing;
  asio::steady_timer progress;  // cancelled when the queue has emptied or the stream was closed

  /// Takes a whole frame out of the inbox. Unset (no error, no frame): more bytes are needed.
  Result<bool> take(WireFrame& frame) {
    const auto rest = std::string_view(inbox).substr(taken);
    if (rest.size() < codec.header_bytes) return false;
    const auto sizes =
        codec.decode_header(rest.substr(0, codec.header_bytes), json_bytes_max, body_bytes_max);
    if (!sizes) return sizes.error();
    const auto [json_bytes, body_bytes] = *sizes;
    if (rest.size() < codec.header_bytes + json_bytes + body_bytes) return false;
    frame.json = rest.substr(codec.header_bytes, json_bytes);
    frame.body = rest.substr(codec.header_bytes + json_bytes, body_bytes);
    taken += codec.header_bytes + json_bytes + body_bytes;
    return true;
  }

  /// Thousands of connections are silent most of the time: one that is holds no buffer.
  static void give_back(std::string& buffer) {
    if (buffer.capacity() > kKeptBytes)
      buffer = std::string();
    else
      buffer.clear();
  }

  void start_write() {
    writing.swap(queued);
    asio::async_write(socket, asio::buffer(writing),
                      [self = shared_from_this()](error_code error, std::size_t) {
                        give_back(self->writing);
                        if (error)
                          self->close();
                        else if (!self->queued.empty())
                          self->start_write();
                        else
                          self->progress.cancel();
                      });
  }

  void close() {
    if (!open) return;
    open = false;
    queued.clear();
    progress.cancel();
    error_code ignored;
    socket.shutdown(asio::socket_base::shutdown_both, ignored);
    socket.close(ignored);
  }

  /// Waits until there is something and then reads it into a buffer that all connections share.
  static asio::awaitable<void> async_fill(std::shared_ptr<Impl> self) {
    static thread_local std::array<char, 64 * 1024> chunk;
    if (self->taken == self->inbox.size())
      give_back(self->inbox);
    else
      self->inbox.erase(0, self->taken);
    self->taken = 0;
    auto [error] =
        co_await self->socket.async_wait(asio::socket_base::wait_read, asio::as_tuple(asio::use_awaitable));
    std::size_t bytes = 0;
    if (!error) bytes = self->socket.read_some(asio::buffer(chunk), error);
    self->inbox.append(chunk.data(), bytes);
    if (error && error != asio::error::operation_aborted && error != asio::error::would_block &&
        error != asio::error::try_again)
      self->read_error = error;
  }

  static asio::awaitable<Result<WireFrame>> async_read(
      std::shared_ptr<Impl> self, std::optional<std::chrono::steady_clock::time_point> deadline) {
    for (;;) {
      WireFrame frame;
      const auto taken = self->take(frame);
      if (!taken) co_return taken.error();
      if (*taken) co_return frame;
      if (!self->open) co_return fail(Errc::kUnavailable, "the connection was closed");
      if (self->read_error)
        co_return fail(Errc::kUnavailable, self->read_error == asio::error::eof
                                               ? "the peer closed the connection"
                                               : "the connection broke: " + self->read_error.message());
      if (!deadline) {
        co_await async_fill(self);
        continue;
      }
      const auto left =
          std::chrono::ceil<std::chrono::milliseconds>(*deadline - std::chrono::steady_clock::now());
      if (left.count() <= 0) co_return fail(Errc::kTimeout, "no message came in time");
      co_await async::async_within(left, async_fill(self));
    }
  }

  static asio::awaitable<void> async_flush(std::shared_ptr<Impl> self,
                                           std::chrono::steady_clock::time_point deadline) {
    while (self->open && !(self->queued.empty() && self->writing.empty()) &&
           std::chrono::steady_clock::now() < deadline) {
      self->progress.expires_at(deadline);
      co_await self->progress.async_wait(asio::as_tuple(asio::use_awaitable));
    }
  }
};

FrameStream::FrameStream(Socket socket, FrameCodec codec, std::size_t write_queue_bytes_max)
    : impl_(std::make_shared<Impl>(std::move(socket), codec, write_queue_bytes_max)) {}

FrameStream::~FrameStream() { impl_->close(); }

void FrameStream::set_limits(std::size_t json_bytes_max, std::size_t body_bytes_max) {
  impl_->json_bytes_max = json_bytes_max;
  impl_->body_bytes_max = body_bytes_max;
}

asio::awaitable<Result<WireFrame>> FrameStream::async_read() { return Impl::async_read(impl_, std::nullopt); }

asio::awaitable<Result<WireFrame>> FrameStream::async_read(std::chrono::milliseconds timeout) {
  return Impl::async_read(impl_, std::chrono::steady_clock::now() + timeout);
}

bool FrameStream::send(const WireFrame& frame) {
  if (!impl_->open) return false;
  const std::string bytes = impl_->codec.encode(frame);
  if (impl_->queued.size() + impl_->writing.size() + bytes.size() > impl_->write_queue_bytes_max) {
    impl_->close();
    return false;
  }
  impl_->queued += bytes;
  if (impl_->writing.empty()) impl_->start_write();
  return true;
}

asio::awaitable<void> FrameStream::async_flush(std::chrono::milliseconds timeout) {
  return Impl::async_flush(impl_, std::chrono::steady_clock::now() + timeout);
}

std::size_t FrameStream::queued_bytes() const { return impl_->queued.size() + impl_->writing.size(); }

void FrameStream::close() { impl_->close(); }
bool FrameStream::is_open() const { return impl_->open; }
Socket& FrameStream::socket() { return impl_->socket; }

}  // namespace rtrain::net
