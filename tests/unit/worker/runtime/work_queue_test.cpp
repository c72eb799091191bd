#include "worker/runtime/work_queue.h"

#include "tests/support/catch.h"

#include <future>
#include <stdexcept>
#include <vector>

namespace work_queue_test {

using rtrain::runtime::WorkQueue;

TEST_CASE("work queue: in order, with room for what has a name", "[unit][runtime]") {
  std::vector<int> done;
  std::promise<void> begun, go_on;
  WorkQueue queue(1);
  CHECK(queue.idle());
  queue.push("a", [&] {
    begun.set_value();
    go_on.get_future().wait();
    done.push_back(1);
  });
  begun.get_future().wait();
  queue.push_small([&] { done.push_back(2); });
  queue.push("b", [&] { done.push_back(3); });
  CHECK(queue.contains("a"));
  CHECK(queue.contains("b"));
  CHECK_FALSE(queue.contains("c"));
  CHECK_FALSE(queue.wait(std::chrono::milliseconds(1)));
  go_on.set_value();
  CHECK(queue.wait());
  CHECK(done == std::vector<int>{1, 2, 3});
  CHECK_FALSE(queue.contains("b"));
}

TEST_CASE("work queue: the first exception is kept, and what waits behind it given up", "[unit][runtime]") {
  std::promise<void> go_on;
  bool behind = false;
  WorkQueue queue(2);
  queue.push("a", [&] {
    go_on.get_future().wait();
    throw std::runtime_error("full");
  });
  queue.push("b", [&] { behind = true; });
  go_on.set_value();
  CHECK_THROWS_WITH(queue.wait(), "full");
  CHECK(queue.wait());
  CHECK_FALSE(behind);
  queue.push("c", [] { throw 1; });
  CHECK_THROWS_AS(queue.wait(), int);
  queue.push("d", [] { throw std::logic_error("last"); });
  while (!queue.idle()) std::this_thread::yield();
  CHECK(queue.take_error() != nullptr);
  CHECK(queue.take_error() == nullptr);
}

TEST_CASE("work queue: its end does what waits", "[unit][runtime]") {
  int done = 0;
  {
    WorkQueue queue(5);
    for (int i = 0; i < 4; ++i) queue.push(std::to_string(i + 1), [&] { ++done; });
  }
  CHECK(done == 4);
}

}  // namespace work_queue_test
