#include "daemon/agent/quarantine.h"

#include "common/os/file.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <set>

#include <unistd.h>

namespace quarantine_test {

using namespace rtrain;
using namespace rtrain::agent;

namespace {

struct Node {
  test::TempDir dir;
  std::set<int> living;  ///< ranks with a process that does not end

  Quarantine quarantine() {
    return Quarantine(dir.path().string(),
                      [this](const Quarantine::Entry& entry) { return living.contains(entry.key.rank); });
  }
  Quarantine::Entry entry(int rank, std::vector<int> gpus) {
    living.insert(rank);
    return {{JobId(4), Attempt(2), rank}, std::move(gpus), {100 + rank, 7, "boot"}, ""};
  }
};

}  // namespace

TEST_CASE("quarantine: GPUs are named until what holds them has gone") {
  Node node;
  auto quarantine = node.quarantine();
  CHECK(quarantine.empty());
  CHECK_FALSE(quarantine.was_ever());
  quarantine.add(node.entry(0, {3, 1}));
  quarantine.add(node.entry(1, {2}));
  CHECK(quarantine.health().quarantined_gpus == std::vector<int>{1, 2, 3});
  CHECK(
      quarantine.health().reason ==
      "process 100 of rank 4.2.0 does not end on SIGKILL; process 101 of rank 4.2.1 does not end on SIGKILL");
  CHECK_FALSE(quarantine.release());
  node.living.erase(0);
  CHECK(quarantine.release());
  CHECK(quarantine.health().quarantined_gpus == std::vector<int>{2});
  node.living.clear();
  CHECK(quarantine.release());
  CHECK(quarantine.health().quarantined_gpus.empty());
  CHECK(quarantine.health().reason.empty());
  CHECK(quarantine.empty());
}

TEST_CASE("quarantine: a rank is in it once, and one without GPUs takes none away") {
  Node node;
  auto quarantine = node.quarantine();
  quarantine.add(node.entry(0, {1}));
  quarantine.add(node.entry(0, {1}));
  quarantine.add(node.entry(1, {}));
  CHECK(quarantine.health().quarantined_gpus == std::vector<int>{1});
  CHECK(quarantine.health().reason == "process 100 of rank 4.2.0 does not end on SIGKILL");
  node.living = {1};
  CHECK(quarantine.release());
  CHECK_FALSE(quarantine.empty());
}

TEST_CASE("quarantine: the next agent goes on with it, and tells that it is over") {
  Node node;
  node.quarantine().add(node.entry(0, {1}));
  {
    auto next = node.quarantine();
    CHECK(next.was_ever());
    CHECK(next.health().quarantined_gpus == std::vector<int>{1});
    CHECK(next.health().reason == "process 100 of rank 4.2.0 does not end on SIGKILL");
  }
  node.living.clear();  // while no agent was there
  const auto after = node.quarantine();
  CHECK(after.empty());
  CHECK(after.was_ever());
}

TEST_CASE("quarantine: what cannot be read is nothing") {
  Node node;
  for (const char* text : {"{", "[{\"job\": 1}]", "7"}) {
    REQUIRE(os::write_file_atomic((node.dir / "quarantine.json").string(), text).has_value());
    const auto quarantine = node.quarantine();
    CHECK(quarantine.empty());
    CHECK(quarantine.was_ever());
  }
}

TEST_CASE("quarantine: a process holds as long as it lives, one of another boot not at all") {
  test::TempDir dir;
  Quarantine quarantine(dir.path().string());
  auto self = os::identify(::getpid());
  REQUIRE(self);
  quarantine.add({{JobId(1), Attempt(1), 0}, {0}, *self, ""});
  CHECK_FALSE(quarantine.release());
  auto other = *self;
  other.boot = "another";
  quarantine.add({{JobId(1), Attempt(1), 1}, {1}, other, ""});
  auto later = *self;
  ++later.start_ticks;
  quarantine.add({{JobId(1), Attempt(1), 2}, {2}, later, ""});
  CHECK(quarantine.release());
  CHECK(quarantine.health().quarantined_gpus == std::vector<int>{0});
}

}  // namespace quarantine_test
