#include "common/async/gate.h"
#include "common/async/deadline.h"
#include "tests/support/catch.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace gate_test {

using namespace rtrain;
namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {

asio::awaitable<void> wait_for(std::shared_ptr<asio::steady_timer> timer) {
  co_await timer->async_wait(asio::as_tuple(asio::use_awaitable));
}

asio::awaitable<void> close_gate(async::Gate& gate, bool& closed) {
  co_await gate.close();
  closed = true;
}

asio::awaitable<void> throws() {
  throw std::runtime_error("boom");
  co_return;
}

asio::awaitable<void> within(std::chrono::milliseconds limit, asio::awaitable<void> work, int& outcome) {
  const bool in_time = co_await async::async_within(limit, std::move(work));
  outcome = in_time ? 1 : 0;
}

asio::awaitable<void> nothing() { co_return; }

void ignore(std::exception_ptr) {}

}  // namespace

TEST_CASE("gate: close waits for what was started and admits nothing more") {
  asio::io_context io;
  async::Gate gate(io.get_executor());
  auto timer = std::make_shared<asio::steady_timer>(io, asio::steady_timer::time_point::max());
  CHECK(gate.spawn(wait_for(timer)));
  bool closed = false;
  asio::co_spawn(io, close_gate(gate, closed), ignore);
  io.poll();
  CHECK(gate.open_count() == 1);
  CHECK_FALSE(closed);
  CHECK_FALSE(gate.spawn(wait_for(timer)));
  timer->cancel();
  io.poll();
  CHECK(closed);
  CHECK(gate.open_count() == 0);
}

TEST_CASE("gate: an escaped exception is handed over, and not after the gate is gone") {
  asio::io_context io;
  int escapes = 0;
  auto gate = std::make_unique<async::Gate>(io.get_executor(), [&](std::exception_ptr) { ++escapes; });
  gate->spawn(throws());
  io.poll();
  CHECK(escapes == 1);
  gate->spawn(throws());
  gate.reset();
  io.restart();
  io.poll();
  CHECK(escapes == 1);
}

TEST_CASE("gate: a coroutine may outlive an executor that never runs it") {
  asio::io_context io;
  async::Gate gate(io.get_executor());
  gate.spawn(wait_for(std::make_shared<asio::steady_timer>(io, asio::steady_timer::time_point::max())));
  CHECK(gate.open_count() == 1);
}

TEST_CASE("deadline: work that is done is in time, work that hangs is cancelled") {
  asio::io_context io;
  int done = -1, hung = -1;
  auto timer = std::make_shared<asio::steady_timer>(io, asio::steady_timer::time_point::max());
  asio::co_spawn(io, within(1h, nothing(), done), ignore);
  asio::co_spawn(io, within(0ms, wait_for(timer), hung), ignore);
  io.run();  // ends: no hour passes, nothing hangs
  CHECK(done == 1);
  CHECK(hung == 0);
}

TEST_CASE("backoff: doubles up to the cap and takes a uniform part of it") {
  CHECK(async::backoff(0, 100ms, 10s, 1.0) == 100ms);
  CHECK(async::backoff(3, 100ms, 10s, 1.0) == 800ms);
  CHECK(async::backoff(3, 100ms, 10s, 0.5) == 400ms);
  CHECK(async::backoff(60, 100ms, 10s, 1.0) == 10s);
  CHECK(async::backoff(1000000, 100ms, 10s, 1.0) == 10s);
  CHECK(async::backoff(-5, 100ms, 10s, 1.0) == 100ms);
  CHECK(async::backoff(5, 100ms, 10s, 0.0) == 0ms);
}

}  // namespace gate_test
