#include "daemon/head/jobs/output_gate.h"

#include "daemon/store/memory_store.h"
#include "tests/support/catch.h"

namespace output_gate_test {

using namespace rtrain;
using namespace rtrain::head;

namespace {

struct Fixture {
  store::MemoryStore store{false};
  OutputGate gate{store};
  std::string told;

  void event() { store.append(JobId(1), proto::StampedEvent{0, proto::CancelRequested{}}, core::JobState{}); }
  void point() { store.append(JobId(1), proto::MetricPoint{}); }
  std::function<void()> say(char c) {
    return [this, c] { told += c; };
  }
};

}  // namespace

TEST_CASE("output gate: with nothing to store, everything is told at once") {
  Fixture f;
  f.gate.after_events(f.say('a'));
  f.gate.after_all(f.say('b'));
  CHECK(f.told == "ab");
  CHECK(f.gate.clear());
}

TEST_CASE("output gate: nothing is told before the events that led to it are durable, then in order") {
  Fixture f;
  f.event();
  CHECK_FALSE(f.gate.clear());
  f.gate.after_events(f.say('a'));
  f.gate.after_events(f.say('b'));
  CHECK(f.told.empty());
  f.store.commit();
  CHECK(f.told == "ab");
  CHECK(f.gate.clear());
}

TEST_CASE("output gate: a metric point holds up only the confirmation of messages") {
  Fixture f;
  f.point();
  f.gate.after_events(f.say('a'));
  f.gate.after_all(f.say('b'));
  CHECK(f.told == "a");
  f.store.commit();
  CHECK(f.told == "ab");
}

TEST_CASE("output gate: what is told may lead to events and further words") {
  Fixture f;
  f.event();
  f.gate.after_events([&] {
    f.say('a')();
    f.event();
    f.gate.after_events(f.say('c'));
  });
  f.gate.after_events(f.say('b'));
  f.store.commit();
  CHECK(f.told == "ab");
  f.store.commit();
  CHECK(f.told == "abc");
}

}  // namespace output_gate_test
