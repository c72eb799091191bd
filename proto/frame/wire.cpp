#include "proto/frame/wire.h"

namespace rtrain::proto {
namespace {

std::string encode_wire(const net::WireFrame& frame) { return encode_frame({frame.json, frame.body}); }

Result<std::pair<std::size_t, std::size_t>> decode_wire(std::string_view header, std::size_t json_max,
                                                        std::size_t body_max) {
  const auto decoded = decode_frame_header(header, {json_max, body_max});
  if (!decoded) return decoded.error();
  return std::pair<std::size_t, std::size_t>(decoded->json_bytes, decoded->body_bytes);
}

Result<Message> decode_read(Result<net::WireFrame>&& read) {
  if (!read) return read.error();
  return decode(Frame{std::move(read->json), std::move(read->body)});
}

}  // namespace

net::FrameCodec wire_codec() { return {kFrameHeaderBytes, encode_wire, decode_wire}; }

std::shared_ptr<net::FrameStream> make_stream(net::Socket socket) {
  auto stream = std::make_shared<net::FrameStream>(std::move(socket), wire_codec());
  accept_peer(*stream, kHandshakeLimits);
  return stream;
}

void accept_peer(net::FrameStream& stream, const FrameLimits& limits) {
  stream.set_limits(limits.json_bytes_max, limits.body_bytes_max);
}

bool send(net::FrameStream& stream, const Message& message) {
  Frame frame = encode(message);
  return stream.send({std::move(frame.json), std::move(frame.body)});
}

boost::asio::awaitable<Result<Message>> async_read_message(std::shared_ptr<net::FrameStream> stream) {
  auto read = co_await stream->async_read();
  co_return decode_read(std::move(read));
}

boost::asio::awaitable<Result<Message>> async_read_message(std::shared_ptr<net::FrameStream> stream,
                                                           std::chrono::milliseconds timeout) {
  auto read = co_await stream->async_read(timeout);
  co_return decode_read(std::move(read));
}

}  // namespace rtrain::proto
