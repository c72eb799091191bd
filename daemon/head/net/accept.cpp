#include "daemon/head/net/accept.h"

#include "common/async/gate.h"
#include "common/log/log.h"

namespace rtrain::head {
namespace asio = net::asio;
using namespace std::chrono_literals;

namespace {

constexpr auto kPause = 100ms, kLater = 10ms, kRetry = 0ms;
constexpr std::size_t kTurnedAwayMax = 256;  // in one go

}  // namespace

asio::awaitable<std::optional<net::Socket>> async_next(net::Listener& listener, Connections& connections,
                                                       Connections::Kind kind, const bool& stopping) {
  const std::string what = kind == Connections::Kind::kAgent ? "cluster" : "API";
  bool told = false;
  while (!stopping) {
    auto socket = co_await listener.async_accept();
    while (!stopping && connections.room(kind, std::chrono::steady_clock::now()) == Connections::Room::kLater)
      co_await async::async_sleep(kLater);
    if (stopping) break;
    if (socket) {
      if (told) log::info(what + ": connections are accepted again");
      co_return std::move(*socket);
    }
    if (!told) log::warn(what + ": no connection can be accepted now", {{"cause", socket.error().message()}});
    told = true;
    const bool out_of_files = socket.error().code() == Errc::kLimit;
    const bool strangers = out_of_files && connections.has_strangers();
    if (out_of_files && connections.make_room(std::chrono::steady_clock::now()))
      co_await async::async_sleep(kRetry);
    else if (strangers)
      co_await async::async_sleep(kLater);  // they will have had their time soon
    else {
      if (out_of_files) listener.turn_away(kTurnedAwayMax);
      co_await async::async_sleep(kPause);
    }
  }
  co_return std::nullopt;
}

}  // namespace rtrain::head
