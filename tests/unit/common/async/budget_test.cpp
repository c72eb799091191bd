#include "common/async/budget.h"

#include "tests/support/catch.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include <vector>

namespace budget_test {

namespace asio = boost::asio;
using namespace rtrain;
using namespace std::chrono_literals;

namespace {

/// Notes `name` when its amount came, -`name` when it did not.
asio::awaitable<void> take(async::Budget::Share& share, std::size_t amount, std::chrono::milliseconds limit,
                           int name, std::vector<int>& order) {
  const bool taken = co_await share.async_take(amount, limit);
  order.push_back(taken ? name : -name);
}

}  // namespace

TEST_CASE("budget: who comes when it is used up waits his turn, and goes without when his time is over") {
  asio::io_context io{1};
  const auto budget = std::make_shared<async::Budget>(io.get_executor(), 10);
  std::vector<int> order;
  auto first = std::make_unique<async::Budget::Share>(budget);
  async::Budget::Share large(budget), small(budget), hasty(budget);
  asio::co_spawn(io, take(*first, 8, 1h, 1, order), asio::detached);
  asio::co_spawn(io, take(hasty, 9, 0ms, 2, order), asio::detached);
  asio::co_spawn(io, take(large, 100, 1h, 3, order), asio::detached);  // all there is
  asio::co_spawn(io, take(small, 1, 1h, 4, order), asio::detached);    // would fit, and does not overtake
  while (order.size() < 2) io.run_one();
  io.poll();
  CHECK(order == std::vector<int>{1, -2});
  CHECK(budget->left() == 2);
  first.reset();
  io.poll();
  CHECK(order == std::vector<int>{1, -2, 3});
  CHECK(budget->left() == 0);
  large.give_back();
  io.run();
  CHECK(order == std::vector<int>{1, -2, 3, 4});
  CHECK(budget->left() == 9);
}

}  // namespace budget_test
