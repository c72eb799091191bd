// What a sweep is compared with, and that the comparison sees the last bit.
#include "tests/sim/undisturbed.h"
#include "tests/support/catch.h"

#include <cmath>
#include <limits>

using namespace rtrain;

namespace undisturbed_test {
namespace {

struct Played {
  sim::Workload workload;
  std::vector<proto::StampedSweepEvent> events;
  [[nodiscard]] sim::Comparison compared() const {
    return sim::compare_with_undisturbed(events, [this](std::int64_t trial) -> const sim::JobPlan& {
      return workload.trials[static_cast<std::size_t>(trial)];
    });
  }
};

/// A sweep with one trial at a time, as nothing disturbs it.
Played play(std::uint64_t seed) {
  for (sim::Random random(seed);;) {
    Played played;
    sim::make_sweep(random, 0, played.workload);
    auto spec = played.workload.sweeps.front().spec;
    spec.limits.running = 1;
    spec.limits.hours.reset();
    if (spec.schedule.kind != proto::ScheduleKind::kAsha) continue;
    const proto::SweepSubmitted submitted{spec, "ann"};
    played.events.push_back({1, submitted});
    for (auto& event : sim::undisturbed(submitted, [&](std::int64_t trial) -> const sim::JobPlan& {
           return played.workload.trials[static_cast<std::size_t>(trial)];
         }))
      played.events.push_back({2, std::move(event)});
    return played;
  }
}

template <class Event>
Event* last(Played& played) {
  Event* found = nullptr;
  for (auto& [at, event] : played.events)
    if (auto* one = std::get_if<Event>(&event)) found = one;
  return found;
}

}  // namespace

TEST_CASE("undisturbed: a sweep comes to its end and is equal to itself") {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    INFO("seed " << seed);
    auto played = play(seed);
    CHECK(last<proto::SweepEnded>(played) != nullptr);
    const auto compared = played.compared();
    CHECK(compared.difference == "");
    CHECK(compared.decisions >= 3);
    CHECK(core::replay_sweep(1, played.events).has_value());
  }
}

TEST_CASE("undisturbed: another bit of a value, another parameter and another decision are seen") {
  const auto differs = [](auto change) {
    auto played = play(7);
    REQUIRE(change(played));
    return !played.compared().difference.empty();
  };
  CHECK(differs([](Played& played) {
    auto* rung = last<proto::RungReached>(played);
    if (rung != nullptr) *rung->value = std::nextafter(*rung->value, std::numeric_limits<double>::infinity());
    return rung != nullptr;
  }));
  CHECK(differs([](Played& played) {
    auto* suggested = last<proto::TrialSuggested>(played);
    if (suggested != nullptr) suggested->params["lr"] = 0.25;
    return suggested != nullptr;
  }));
  CHECK(differs([](Played& played) {
    auto* rung = last<proto::RungReached>(played);
    if (rung != nullptr) ++rung->rung;
    return rung != nullptr;
  }));
  CHECK(differs([](Played& played) {  // a decision that is missing
    for (auto it = played.events.begin(); it != played.events.end(); ++it)
      if (std::holds_alternative<proto::RungReached>(it->event)) {
        played.events.erase(it);
        return true;
      }
    return false;
  }));
}

}  // namespace undisturbed_test
