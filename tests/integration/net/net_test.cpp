// Listening and connecting with real sockets on this machine.
#include "common/net/endpoint.h"
#include "common/os/file.h"
#include "proto/frame/wire.h"
#include "tests/support/catch.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

using namespace rtrain;
namespace asio = boost::asio;
namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {

struct Folder {
  fs::path path = fs::temp_directory_path() / ("rtrain-net-" + os::random_hex(4));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  [[nodiscard]] net::Endpoint socket() const { return net::UnixEndpoint{(path / "s").string()}; }
};

using Outcome = std::optional<Result<net::Socket>>;

asio::awaitable<void> connect(net::Endpoint endpoint, std::chrono::milliseconds limit, Outcome& out) {
  auto socket = co_await net::async_connect(endpoint, limit);
  out.emplace(std::move(socket));
}

asio::awaitable<void> accept(net::Listener& listener, Outcome& out) {
  auto socket = co_await listener.async_accept();
  out.emplace(std::move(socket));
}

void rethrow(std::exception_ptr e) {
  if (e) std::rethrow_exception(e);
}

void check_pair(const net::Endpoint& listen_on) {
  asio::io_context io;
  auto listener = net::Listener::open(io.get_executor(), listen_on);
  REQUIRE(listener.has_value());
  net::Endpoint target = listen_on;
  if (auto* tcp = std::get_if<net::TcpEndpoint>(&target)) tcp->port = listener->port();
  Outcome client, server;
  asio::co_spawn(io, accept(*listener, server), rethrow);
  asio::co_spawn(io, connect(target, 5s, client), rethrow);
  io.run_for(10s);
  REQUIRE(client.has_value());
  REQUIRE(client->has_value());
  REQUIRE(server->has_value());
  CHECK(net::local_address(**server) == "127.0.0.1");
  for (auto* socket : {&**client, &**server})
    CHECK((::fcntl(socket->native_handle(), F_GETFD) & FD_CLOEXEC) != 0);
}

}  // namespace

TEST_CASE("net: TCP by address and by name, Unix by path") {
  const Folder folder;
  check_pair(net::TcpEndpoint{"127.0.0.1", 0});
  check_pair(net::TcpEndpoint{"localhost", 0});
  check_pair(folder.socket());
}

TEST_CASE("net: a Unix socket is private, and gone with its listener") {
  const Folder folder;
  asio::io_context io;
  const auto path = std::get<net::UnixEndpoint>(folder.socket()).path;
  {
    const auto listener = net::Listener::open(io.get_executor(), folder.socket());
    REQUIRE(listener.has_value());
    struct stat info {};
    REQUIRE(::stat(path.c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0600);
  }
  CHECK_FALSE(fs::exists(path));
}

TEST_CASE("net: a live socket is a conflict, a stale one is replaced, a file is left alone") {
  const Folder folder;
  asio::io_context io;
  const auto path = std::get<net::UnixEndpoint>(folder.socket()).path;
  {
    const auto first = net::Listener::open(io.get_executor(), folder.socket());
    REQUIRE(first.has_value());
    const auto second = net::Listener::open(io.get_executor(), folder.socket());
    REQUIRE_FALSE(second.has_value());
    CHECK(second.error().code() == Errc::kConflict);
    CHECK(fs::exists(path));
    fs::create_hard_link(path, path + ".kept");
  }
  fs::rename(path + ".kept", path);  // as a killed daemon leaves it
  CHECK(net::Listener::open(io.get_executor(), folder.socket()).has_value());
  fs::remove(path);
  std::ofstream(path) << "mine";
  const auto refused = net::Listener::open(io.get_executor(), folder.socket());
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code() == Errc::kConflict);
  CHECK(*os::read_file(path) == "mine");
}

TEST_CASE("net: no connection gets the last file descriptors") {
  asio::io_context io;
  Folder folder;
  auto listener = *net::Listener::open(io.get_executor(), folder.socket());
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit low{64, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &low) == 0);
  std::vector<net::Socket> held;
  Outcome client, server;
  const auto one = [&] {
    client.reset();
    server.reset();
    asio::co_spawn(io, connect(folder.socket(), 5s, client), rethrow);
    asio::co_spawn(io, accept(listener, server), rethrow);
    io.restart();
    io.run_for(10s);
    return server.has_value() && server->has_value();
  };
  while (one()) {
    held.push_back(std::move(**server));
    held.push_back(std::move(**client));
  }
  REQUIRE(server.has_value());
  CHECK(server->error().code() == Errc::kLimit);
  int kept = 0;
  std::vector<int> files;
  for (int fd; (fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0; ++kept) files.push_back(fd);
  for (const int fd : files) ::close(fd);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  // the one that waits outside has a client in this process
  CHECK(kept >= static_cast<int>(net::Listener::kFilesKept) - 1);
  CHECK(held.size() > 20);
  server.reset();
  asio::co_spawn(io, accept(listener, server), rethrow);
  io.restart();
  io.run_for(10s);
  CHECK((server.has_value() && server->has_value()));  // it waited
}

TEST_CASE("net: errors name the endpoint") {
  const Folder folder;
  asio::io_context io;
  auto listener = net::Listener::open(io.get_executor(), net::TcpEndpoint{"127.0.0.1", 0});
  REQUIRE(listener.has_value());
  const auto taken = net::Listener::open(io.get_executor(), net::TcpEndpoint{"127.0.0.1", listener->port()});
  REQUIRE_FALSE(taken.has_value());
  CHECK(taken.error().code() == Errc::kConflict);
  CHECK_THAT(taken.error().message(),
             Catch::Matchers::Contains("127.0.0.1:" + std::to_string(listener->port())));

  Outcome nobody, nowhere, unknown, slow, closed;
  const auto port = listener->port();
  asio::co_spawn(io, accept(*listener, closed), rethrow);
  io.poll();
  listener->close();
  asio::co_spawn(io, connect(net::TcpEndpoint{"127.0.0.1", port}, 5s, nobody), rethrow);
  asio::co_spawn(io, connect(folder.socket(), 5s, nowhere), rethrow);
  asio::co_spawn(io, connect(net::TcpEndpoint{"no-such-host.invalid", 1}, 5s, unknown), rethrow);
  asio::co_spawn(io, connect(net::TcpEndpoint{"192.0.2.1", 1}, 50ms, slow), rethrow);
  io.restart();
  io.run_for(15s);
  for (const auto* outcome : {&nobody, &nowhere, &unknown, &slow, &closed}) {
    REQUIRE(outcome->has_value());
    REQUIRE_FALSE((*outcome)->has_value());
    CHECK((*outcome)->error().code() == Errc::kUnavailable);
  }
  CHECK(nobody->error().message() == "connect to 127.0.0.1:" + std::to_string(port) + ": Connection refused");
}
