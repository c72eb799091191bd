#include "daemon/head/jobs/start_rules.h"

#include "tests/support/catch.h"
#include "tests/unit/daemon/head/fake_agent.h"

namespace start_rules_test {

using namespace rtrain;
using namespace rtrain::head;

namespace {

constexpr proto::UnixMs kHourMs = 3'600'000;

std::vector<std::string> names(const StartRules& rules) {
  std::vector<std::string> found;
  for (const auto& rule : rules.all()) found.emplace_back(rule.name);
  return found;
}

}  // namespace

TEST_CASE("start rules: the first rule that keeps a job gives the reason") {
  const auto keeps = [](const char* why) { return [why](const Candidate&) { return std::string(why); }; };
  const proto::SchedulingConfig scheduling;
  const std::string user = "ann";
  CHECK(StartRules().reason({scheduling, user}).empty());
  CHECK(StartRules({{"a", keeps("")}, {"b", keeps("second")}, {"c", keeps("third")}})
            .reason({scheduling, user}) == "second");
}

TEST_CASE("start rules: a hold comes before a time to begin, and that before other jobs") {
  test::Cluster cluster;
  auto node = cluster.connect("a");
  const auto first = cluster.submit(1);
  const auto id = cluster.submit(1, 0, [&](proto::JobSpec& spec) {
    spec.scheduling.begin_at_ms = cluster.wall + kHourMs;
    spec.scheduling.depends_on = {{proto::DependencyKind::kAfterOk, first}};
  });
  const auto why = [&] { return cluster.dispatcher.scheduling().waiting(id).reason; };
  REQUIRE(cluster.dispatcher.commands().hold(id, "ann").has_value());
  CHECK(why().starts_with("held by ann"));
  REQUIRE(cluster.dispatcher.commands().release(id, "ann").has_value());
  CHECK(why().starts_with("begins at "));
  cluster.pass(3601);
  cluster.dispatcher.tick();
  CHECK(why() == "waits for job 1 to succeed (afterok:1)");
}

TEST_CASE("start rules: plan gives the reason that the job will wait for") {
  test::Cluster cluster;
  auto node = cluster.connect("a");
  auto spec = test::Cluster::spec(1);
  spec.scheduling.begin_at_ms = cluster.wall + kHourMs;
  const auto planned = cluster.dispatcher.scheduling().plan(spec);
  const auto id = *cluster.dispatcher.commands().submit(spec);
  CHECK(planned.reason == cluster.dispatcher.scheduling().waiting(id).reason);
  CHECK(planned.placement.ranks.empty());
}

TEST_CASE("start rules: their order is what users read first") {
  store::MemoryStore store;
  HeadContext context({}, {store, store}, Clock::real(), {});
  struct Nobody final : TurnHandler {
    void on_action(JobId, const core::Action&) override {}
    void on_touched(JobId) override {}
    void on_pass_requested() override {}
    void on_end() override {}
  } nobody;
  Turn turn(context.book, context.clock, nobody);
  const Reservations reservations;
  const Eligibility eligibility(context, turn, reservations);
  CHECK(names(eligibility.rules()) ==
        std::vector<std::string>{"held", "retry", "begin_at", "dependency", "reservation", "array"});
}

}  // namespace start_rules_test
