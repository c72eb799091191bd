#include "worker/runtime/report_agreement.h"

#include "tests/support/catch.h"

#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

namespace report_agreement_test {

using namespace rtrain;

namespace {

/// The ranks are threads; a rank that must wait waits for the next change of the store, not for the clock.
class SharedStore : public runtime::KeyValueStore {
 public:
  void set(const std::string& key, const std::string& value) override {
    const std::lock_guard lock(mutex_);
    values_[key] = value;
    ++changes_;
    changed_.notify_all();
  }
  std::optional<std::string> get(const std::string& key) override {
    const std::lock_guard lock(mutex_);
    const auto found = values_.find(key);
    return found == values_.end() ? std::nullopt : std::optional(found->second);
  }
  void remove(const std::string& key) override {
    const std::lock_guard lock(mutex_);
    values_.erase(key);
    ++changes_;
    changed_.notify_all();
  }
  /// False: nothing changed for a long time, the test hangs.
  bool wait_for_change(int& seen) {
    std::unique_lock lock(mutex_);
    const bool in_time = changed_.wait_for(lock, std::chrono::seconds(10), [&] { return changes_ != seen; });
    seen = changes_;
    return in_time;
  }
  std::size_t size() {
    const std::lock_guard lock(mutex_);
    return values_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::string> values_;
  int changes_ = 0;
};

struct Rank {
  Rank(SharedStore& store, int rank, int world)
      : agreement(store, rank, world, [this, &store] { return store.wait_for_change(seen); }) {}
  int seen = 0;
  runtime::ReportAgreement agreement;
};

Result<std::string> published_path() { return std::string("/run/checkpoint_000000"); }
Result<std::string> must_not_publish() { throw std::logic_error("published"); }

}  // namespace

TEST_CASE("report agreement: published when every rank has staged, all get the path", "[unit][runtime]") {
  SharedStore store;
  std::vector<std::string> paths(3);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 3; ++rank)
    threads.emplace_back([&, rank] {
      Rank me(store, rank, 3);
      for (int n = 1; n <= 50; ++n)
        paths[static_cast<std::size_t>(rank)] = me.agreement.settle(n, ok(), published_path).value();
    });
  for (auto& thread : threads) thread.join();
  CHECK(paths == std::vector<std::string>(3, "/run/checkpoint_000000"));
  CHECK(store.size() == 4);  // three ranks' last report, the last publication
}

TEST_CASE("report agreement: a rank without a checkpoint does not wait", "[unit][runtime]") {
  SharedStore store;
  Rank one(store, 1, 2);
  for (int n = 1; n <= 5; ++n) one.agreement.pass(n);  // far ahead
  Rank zero(store, 0, 2);
  for (int n = 1; n <= 5; ++n) {
    const auto path = zero.agreement.settle(n, ok(), published_path);
    CHECK(*path == "/run/checkpoint_000000");
  }
}

TEST_CASE("report agreement: one rank's failure is everyone's, with its words", "[unit][runtime]") {
  SharedStore store;
  std::string heard;
  std::thread other([&] {
    Rank one(store, 1, 2);
    heard =
        one.agreement.settle(1, fail(Errc::kIo, "write /run/x: No space left on device"), must_not_publish)
            .error()
            .message();
  });
  Rank zero(store, 0, 2);
  const auto settled = zero.agreement.settle(1, ok(), must_not_publish);
  other.join();
  REQUIRE(settled.has_error());
  CHECK(settled.error().message() == "rank 1: write /run/x: No space left on device");
  CHECK(heard == settled.error().message());
}

TEST_CASE("report agreement: rank 0's failure to publish is told to the others", "[unit][runtime]") {
  SharedStore store;
  std::string heard;
  std::thread other([&] {
    Rank one(store, 1, 2);
    heard = one.agreement.settle(1, ok(), must_not_publish).error().message();
  });
  Rank zero(store, 0, 2);
  CHECK(zero.agreement
            .settle(1, ok(),
                    [] { return Result<std::string>(fail(Errc::kIo, "rename: Read-only file system")); })
            .has_error());
  other.join();
  CHECK(heard == "rank 0: rename: Read-only file system");
}

TEST_CASE("report agreement: a checkpoint that rank 0 does not bring is refused", "[unit][runtime]") {
  SharedStore store;
  Rank zero(store, 0, 2), one(store, 1, 2);
  zero.agreement.pass(1);
  const auto settled = one.agreement.settle(1, ok(), must_not_publish);
  REQUIRE(settled.has_error());
  CHECK(settled.error().code() == Errc::kInvalidArgument);
}

TEST_CASE("report agreement: gives up when a rank never comes", "[unit][runtime]") {
  SharedStore store;
  runtime::ReportAgreement zero(store, 0, 2, [] { return false; });
  const auto settled = zero.settle(1, ok(), must_not_publish);
  REQUIRE(settled.has_error());
  CHECK(settled.error().code() == Errc::kTimeout);
  CHECK(settled.error().message().find("rank 1 has not called it") != std::string::npos);
}

TEST_CASE("report agreement: nobody waits for a rank that has returned", "[unit][runtime][F16]") {
  SharedStore store;
  Rank zero(store, 0, 3), one(store, 1, 3), two(store, 2, 3);
  two.agreement.pass(1);
  two.agreement.finish();
  SECTION("rank 0 waits for it") {
    one.agreement.pass(2);
    const auto settled = zero.agreement.settle(2, ok(), must_not_publish);
    REQUIRE(settled.has_error());
    CHECK(settled.error().code() == Errc::kInvalidArgument);
    CHECK(settled.error().message() ==
          "report() number 2 with a checkpoint: rank 0 waits for rank 2, whose training function has "
          "returned after 1 call of report(); every rank must call report() the same number of times");
  }
  SECTION("rank 0 has returned itself") {
    zero.agreement.finish();
    const auto settled = one.agreement.settle(1, ok(), must_not_publish);
    REQUIRE(settled.has_error());
    CHECK(settled.error().message().find(
              "rank 1 waits for rank 0, whose training function has returned after 0 calls of report()") !=
          std::string::npos);
  }
  SECTION("a report that it came to is settled all the same") {
    one.agreement.pass(1);
    CHECK(zero.agreement.settle(1, ok(), published_path).has_value());
  }
  SECTION("it returns while the others wait") {
    std::thread late([&] { one.agreement.finish(); });
    const auto settled = zero.agreement.settle(1, ok(), must_not_publish);
    late.join();
    REQUIRE(settled.has_error());
    CHECK(settled.error().message().find("waits for rank 1") != std::string::npos);
  }
}

TEST_CASE("report agreement: all ranks call the checkpoint the same", "[unit][runtime]") {
  SharedStore store;
  Rank rank0(store, 0, 2), rank1(store, 1, 2);
  std::optional<Result<std::string>> of_1;
  std::thread other(
      [&] { of_1 = rank1.agreement.settle(1, ok(), [] { return Result<std::string>("none"); }, "mine"); });
  const auto of_0 = rank0.agreement.settle(1, ok(), [] { return Result<std::string>("none"); }, "yours");
  other.join();
  REQUIRE_FALSE(of_0.has_value());
  CHECK(of_0.error().message() ==
        "rank 1 calls the checkpoint \"mine\" and rank 0 \"yours\"; all ranks must call it the same");
  REQUIRE_FALSE(of_1->has_value());
}

TEST_CASE("report agreement: a rank that brings nothing can wait for what rank 0 brings", "[unit][runtime]") {
  SharedStore store;
  Rank rank0(store, 0, 2), rank1(store, 1, 2);
  bool published = false;
  std::optional<Result<std::string>> of_0;  // Catch's checks belong to one thread
  std::thread first([&] {
    of_0 = rank0.agreement.settle(1, ok(), [&] {
      published = true;
      return Result<std::string>("path");
    });
  });
  rank1.agreement.pass(1);
  CHECK(rank1.agreement.await_rank_0(1));
  CHECK(published);
  first.join();
  CHECK(of_0->has_value());
  rank0.agreement.pass(2);
  CHECK(rank1.agreement.await_rank_0(2));
  rank0.agreement.finish();
  CHECK_FALSE(rank1.agreement.await_rank_0(3));
}

}  // namespace report_agreement_test
