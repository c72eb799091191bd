// Messages over a framed stream: the codec of proto/frame for common/net, and Message in and out.
#pragma once

#include "common/net/frame_stream.h"
#include "proto/message/message.h"

#include <chrono>
#include <memory>

namespace rtrain::proto {

[[nodiscard]] net::FrameCodec wire_codec();
/// A stream with that codec and the limits of a handshake.
[[nodiscard]] std::shared_ptr<net::FrameStream> make_stream(net::Socket socket);
/// To call once the peer has said who it is.
void accept_peer(net::FrameStream& stream, const FrameLimits& limits = {});

/// Queues a message; false as FrameStream::send().
bool send(net::FrameStream& stream, const Message& message);
/// The next message. Errors of FrameStream::async_read() and of decode(): after any but kTimeout the caller
/// closes.
boost::asio::awaitable<Result<Message>> async_read_message(std::shared_ptr<net::FrameStream> stream);
boost::asio::awaitable<Result<Message>> async_read_message(std::shared_ptr<net::FrameStream> stream,
                                                           std::chrono::milliseconds timeout);

}  // namespace rtrain::proto
