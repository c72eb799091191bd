#include "daemon/head/net/connections.h"

#include "tests/support/catch.h"

#include <vector>

namespace connections_test {

using namespace rtrain::head;
using Kind = Connections::Kind;

namespace {

/// Connections that note who was closed.
struct Listeners {
  explicit Listeners(std::size_t max) : connections(std::make_shared<Connections>(max)) {}
  Connections::Place admit(Kind kind, const std::string& name, const std::string& peer = "10.0.0.1") {
    now += Connections::kPatience;
    return connections->admit(kind, peer, now, [this, name] { closed.push_back(name); });
  }
  std::shared_ptr<Connections> connections;
  std::vector<std::string> closed;
  Connections::Time now;
};

}  // namespace

TEST_CASE("connections: places are given back") {
  Listeners listeners(2);
  {
    const auto a = listeners.admit(Kind::kUser, "a"), b = listeners.admit(Kind::kAgent, "b");
    CHECK((a && b));
    CHECK(listeners.connections->size() == 2);
  }
  CHECK(listeners.connections->size() == 0);
  CHECK(listeners.closed.empty());
}

TEST_CASE("connections: without room the stranger that has been there longest goes, then an idle user") {
  Listeners listeners(4);
  auto user = listeners.admit(Kind::kUser, "user");
  user.known();
  user.idle();
  auto agent = listeners.admit(Kind::kAgent, "agent");
  agent.known();
  auto old_stranger = listeners.admit(Kind::kUser, "old stranger"),
       new_stranger = listeners.admit(Kind::kAgent, "new stranger");
  auto first = listeners.admit(Kind::kUser, "first");
  CHECK(first);
  CHECK(listeners.closed == std::vector<std::string>{"old stranger"});
  first.known();
  auto second = listeners.admit(Kind::kUser, "second");
  CHECK(listeners.closed.back() == "new stranger");
  second.known();
  auto third = listeners.admit(Kind::kUser, "third");
  CHECK(listeners.closed.back() == "user");
  CHECK(listeners.connections->size() == 4);
}

TEST_CASE("connections: who fills the head with silent connections closes his own") {
  Listeners listeners(10);
  auto patient = listeners.admit(Kind::kAgent, "patient", "10.0.0.9");
  std::vector<Connections::Place> crowd;
  for (int i = 0; i < 50; ++i) crowd.push_back(listeners.admit(Kind::kUser, "crowd", "10.0.0.66"));
  CHECK(listeners.closed == std::vector<std::string>(41, "crowd"));
  CHECK(listeners.connections->size() == 10);
}

TEST_CASE(
    "connections: an agent takes the place of a user who follows, not of another agent, and a user takes "
    "nobody's") {
  Listeners listeners(2);
  auto follower = listeners.admit(Kind::kUser, "follower"), agent = listeners.admit(Kind::kAgent, "agent");
  follower.known();
  agent.known();
  CHECK_FALSE(listeners.admit(Kind::kUser, "user"));
  CHECK(listeners.closed.empty());
  auto second = listeners.admit(Kind::kAgent, "second");
  CHECK(second);
  second.known();
  CHECK(listeners.closed == std::vector<std::string>{"follower"});
  CHECK_FALSE(listeners.admit(Kind::kAgent, "third"));
}

TEST_CASE("connections: one that was closed is not chosen again, and its place is free at once") {
  Listeners listeners(1);
  auto first = listeners.admit(Kind::kUser, "first"), second = listeners.admit(Kind::kUser, "second");
  first.known();  // its server has not noticed yet
  first.idle();
  CHECK(listeners.connections->make_room(listeners.now + Connections::kPatience));
  CHECK_FALSE(listeners.connections->make_room(listeners.now + Connections::kPatience));
  CHECK(listeners.closed == std::vector<std::string>{"first", "second"});
  CHECK(listeners.connections->size() == 0);
}

TEST_CASE("connections: a stranger has a moment to say what he wants, the next one waits that long") {
  Listeners listeners(1);
  const auto first = listeners.admit(Kind::kUser, "first");
  CHECK(listeners.connections->room(Kind::kAgent, listeners.now) == Connections::Room::kLater);
  CHECK_FALSE(listeners.connections->make_room(listeners.now));
  CHECK_FALSE(listeners.connections->admit(Kind::kAgent, "", listeners.now, [] {}));
  CHECK(listeners.connections->room(Kind::kAgent, listeners.now + Connections::kPatience) ==
        Connections::Room::kYes);
  auto agent = listeners.admit(Kind::kAgent, "agent");
  agent.known();
  CHECK(listeners.closed == std::vector<std::string>{"first"});
  CHECK(listeners.connections->room(Kind::kAgent, listeners.now) == Connections::Room::kNo);
}

}  // namespace connections_test
