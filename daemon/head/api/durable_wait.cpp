#include "daemon/head/api/durable_wait.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <memory>

namespace rtrain::head {
namespace asio = boost::asio;

asio::awaitable<bool> async_durable(OutputGate& gate, std::chrono::milliseconds limit) {
  if (gate.clear()) co_return true;
  const auto executor = co_await asio::this_coro::executor;
  const auto timer = std::make_shared<asio::steady_timer>(executor, limit);
  const auto durable = std::make_shared<bool>(false);
  gate.after_events([timer, durable] {
    *durable = true;
    timer->cancel();
  });
  if (!*durable) co_await timer->async_wait(asio::as_tuple(asio::use_awaitable));
  co_return *durable;
}

}  // namespace rtrain::head
