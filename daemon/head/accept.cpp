#include "daemon/head/accept.h"

#include "common/async/gate.h"
#include "common/log/log.h"

namespace rtrain::head {
namespace asio = net::asio;
using namespace std::chrono_literals;

asio::awaitable<std::optional<net::Socket>> async_next(net::Listener& listener, const bool& stopping, std::string what) {
  bool told = false;
  while (!stopping) {
    auto socket = co_await listener.async_accept();
    if (stopping) break;
    if (socket) {
      if (told) log::info(what + ": connections are accepted again");
      co_return std::move(*socket);
    }
    if (!told) log::warn(what + ": no connection can be accepted now", {{"cause", socket.error().message()}});
    told = true;
    co_await async::async_sleep(100ms);
  }
  co_return std::nullopt;
}

}  // namespace rtrain::head
