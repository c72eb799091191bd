// Frames over a stream. One reader, a queue of writes in order.
#pragma once

#include "common/net/endpoint.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace rtrain::net {

/// What travels; proto/frame says how it looks on the wire. common/ does not know proto/, so the stream takes
/// its codec.
struct WireFrame {
  std::string json;
  std::string body;
};
struct FrameCodec {
  std::size_t header_bytes = 0;
  std::string (*encode)(const WireFrame&) = nullptr;
  /// Reads a header; json and body byte counts, or an error (wrong magic, a length over the limits given).
  Result<std::pair<std::size_t, std::size_t>> (*decode_header)(std::string_view header, std::size_t json_max,
                                                               std::size_t body_max) = nullptr;
};

/// @thread one executor; not thread-safe.  @lifetime keep a shared_ptr in every coroutine that uses it.
class FrameStream {
 public:
  FrameStream(Socket socket, FrameCodec codec, std::size_t write_queue_bytes_max = 16u << 20);
  ~FrameStream();
  /// Lengths accepted from now on; small until the peer is known.
  void set_limits(std::size_t json_bytes_max, std::size_t body_bytes_max);
  /// The next frame. kUnavailable: closed or reset. kLimit, kProtocol: refused, the caller must close.
  asio::awaitable<Result<WireFrame>> async_read();
  /// The same with a deadline: kTimeout.
  asio::awaitable<Result<WireFrame>> async_read(std::chrono::milliseconds timeout);
  /// Queues a frame; never suspends. False when the peer reads so slowly that the queue is full, or after
  /// close(): the stream is closed then and async_read ends.
  bool send(const WireFrame& frame);
  /// Bytes that the kernel has not taken yet: a sender of much waits until they are few.
  [[nodiscard]] std::size_t queued_bytes() const;
  /// Waits until all that was queued is written, or `timeout`.
  asio::awaitable<void> async_flush(std::chrono::milliseconds timeout);
  void close();
  [[nodiscard]] bool is_open() const;
  [[nodiscard]] Socket& socket();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace rtrain::net
