// Streams over a connected pair inside this process: no port, no file.
#include "proto/frame/wire.h"
#include "proto/frame/blocking.h"
#include "tests/support/catch.h"

#include <sys/socket.h>
#include <unistd.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <array>

namespace wire_test {

using namespace rtrain;
namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {

struct Pair {
  asio::io_context io;
  std::shared_ptr<net::FrameStream> stream;
  int peer = -1;

  Pair() {
    std::array<int, 2> fds{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) == 0);
    stream = proto::make_stream(net::Socket(io, asio::generic::stream_protocol(AF_UNIX, 0), fds[0]));
    peer = fds[1];
  }
  ~Pair() { hang_up(); }
  void hang_up() {
    if (peer >= 0) ::close(peer);
    peer = -1;
  }
  void put(std::string_view bytes) const {
    REQUIRE(::send(peer, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
  }
};

using Outcome = std::optional<Result<proto::Message>>;

asio::awaitable<void> read_one(std::shared_ptr<net::FrameStream> stream, Outcome& out,
                               std::optional<std::chrono::milliseconds> limit) {
  if (limit) {
    auto read = co_await proto::async_read_message(stream, *limit);
    out.emplace(std::move(read));
  } else {
    auto read = co_await proto::async_read_message(stream);
    out.emplace(std::move(read));
  }
}

asio::awaitable<void> flush(std::shared_ptr<net::FrameStream> stream, bool& done) {
  co_await stream->async_flush(1h);
  done = true;
}

void rethrow(std::exception_ptr e) {
  if (e) std::rethrow_exception(e);
}

Outcome read(Pair& pair, std::optional<std::chrono::milliseconds> limit = std::nullopt) {
  Outcome out;
  asio::co_spawn(pair.io, read_one(pair.stream, out, limit), rethrow);
  pair.io.restart();
  pair.io.run();
  return out;
}

std::string bytes_of(const proto::Message& message) { return proto::encode_frame(proto::encode(message)); }

}  // namespace

TEST_CASE("stream: frames that arrive in one piece come out one by one") {
  Pair pair;
  proto::accept_peer(*pair.stream);
  pair.put(bytes_of(proto::RankStarted{{JobId(1), Attempt(2), 3}, 4}) + bytes_of(proto::Heartbeat{}));
  const auto first = read(pair), second = read(pair);
  REQUIRE(first->has_value());
  CHECK(std::get<proto::RankStarted>(**first).pid == 4);
  REQUIRE(second->has_value());
  CHECK(std::holds_alternative<proto::Heartbeat>(**second));
}

TEST_CASE("stream: a read that timed out inside a frame is taken up again") {
  Pair pair;
  const auto bytes = bytes_of(proto::Heartbeat{});
  for (const std::size_t cut : {std::size_t{5}, std::size_t{14}}) {
    pair.put(bytes.substr(0, cut));
    const auto late = read(pair, 0ms);
    REQUIRE_FALSE(late->has_value());
    CHECK(late->error().code() == Errc::kTimeout);
    const auto later = read(pair, 1ms);
    CHECK(later->error().code() == Errc::kTimeout);
    pair.put(bytes.substr(cut));
    const auto whole = read(pair, 1h);
    REQUIRE(whole->has_value());
  }
}

TEST_CASE("stream: what the limits or the protocol forbid ends the read with a reason") {
  const auto header = [](std::string magic, std::string sizes) { return magic + sizes; };
  {
    Pair pair;  // 4 GiB - 1, nothing is allocated for it
    pair.put(header("RTR1", std::string("\xff\xff\xff\xff\0\0\0\0", 8)));
    CHECK(read(pair)->error().code() == Errc::kLimit);
  }
  {
    Pair pair;
    pair.put("GET / HTTP/1.1\r\n\r\n");
    CHECK(read(pair)->error().code() == Errc::kProtocol);
  }
  {
    Pair pair;  // within the limits of a known peer, over those of a handshake
    pair.put(header("RTR1", std::string("\0\1\0\1\0\0\0\0", 8)));
    CHECK(read(pair)->error().code() == Errc::kLimit);
  }
  {
    Pair pair;
    pair.put(proto::encode_frame({"{\"type\":\"hello\",\"role\":\"agent\",\"pid\":\"x\"}", ""}));
    const auto refused = read(pair);
    CHECK(refused->error().code() == Errc::kProtocol);
    CHECK(refused->error().message() == "hello.pid: expected an integer, found string");
  }
}

TEST_CASE("stream: the end of the peer is kUnavailable, after what it sent") {
  Pair pair;
  pair.put(bytes_of(proto::Heartbeat{}) + "RTR1");
  pair.hang_up();
  CHECK(read(pair)->has_value());
  CHECK(read(pair)->error().code() == Errc::kUnavailable);
  CHECK(read(pair, 1h)->error().code() == Errc::kUnavailable);
}

TEST_CASE("stream: sends keep their order, flush waits for them") {
  Pair pair;
  for (int i = 0; i < 100; ++i)
    REQUIRE(proto::send(*pair.stream, proto::RankStarted{{JobId(1), Attempt(1), i}, 0}));
  bool flushed = false;
  asio::co_spawn(pair.io, flush(pair.stream, flushed), rethrow);
  pair.io.run();
  CHECK(flushed);
  for (int i = 0; i < 100; ++i) {
    const auto frame = proto::read_frame(pair.peer, {}, 1s);
    REQUIRE(frame.has_value());
    CHECK(std::get<proto::RankStarted>(*proto::decode(*frame)).key.rank == i);
  }
}

TEST_CASE("stream: a peer that does not read closes the stream when the queue is full") {
  Pair pair;
  proto::LogData log;
  log.data.assign(1u << 20, 'x');
  int sent = 0;
  while (sent < 1000 && proto::send(*pair.stream, log)) {
    ++sent;
    pair.io.restart();
    pair.io.poll();
  }
  CHECK(sent >= 15);
  CHECK(sent < 40);
  CHECK_FALSE(pair.stream->is_open());
  CHECK_FALSE(proto::send(*pair.stream, proto::Heartbeat{}));
  CHECK(read(pair)->error().code() == Errc::kUnavailable);
}

TEST_CASE("stream: close ends a read that waits") {
  Pair pair;
  Outcome out;
  asio::co_spawn(pair.io, read_one(pair.stream, out, std::nullopt), rethrow);
  pair.io.poll();
  CHECK_FALSE(out.has_value());
  pair.stream->close();
  pair.io.run();
  REQUIRE(out.has_value());
  CHECK((*out).error().code() == Errc::kUnavailable);
}

TEST_CASE("blocking frames: whole frames both ways, time limits and ends") {
  std::array<int, 2> fds{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) == 0);
  proto::LogData log;
  log.data = std::string("a\0b", 3);
  REQUIRE(proto::write_frame(fds[0], proto::encode(log)).has_value());
  const auto frame = proto::read_frame(fds[1], {});
  REQUIRE(frame.has_value());
  CHECK(std::get<proto::LogData>(*proto::decode(*frame)).data == log.data);

  CHECK(proto::read_frame(fds[1], {}, 0ms).error().code() == Errc::kTimeout);
  log.data.assign(8u << 20, 'x');  // more than the kernel buffers, and nobody reads
  CHECK(proto::write_frame(fds[0], proto::encode(log), 1ms).error().code() == Errc::kTimeout);
  ::close(fds[1]);
  CHECK(proto::write_frame(fds[0], proto::encode(proto::Heartbeat{})).error().code() == Errc::kUnavailable);
  CHECK(proto::read_frame(fds[0], {}).error().code() == Errc::kUnavailable);
  ::close(fds[0]);
}

}  // namespace wire_test
