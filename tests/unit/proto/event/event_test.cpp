#include "proto/event/event.h"
#include "tests/support/catch.h"

#include <set>

using namespace rtrain;
using namespace rtrain::proto;

namespace {

std::vector<JobEvent> samples() {
  auto reading = read_job_spec(R"({"command": ["true"]})");
  REQUIRE(reading.ok());
  const CheckpointRecord checkpoint{"/r/checkpoint_000000", 0, {{"loss", 1}}};
  return {
      JobSubmitted{reading.spec, "run", "/r/run"},
      AttemptPlaced{Attempt(1), {{0, "a", 0, 0, {1}}, {1, "b", 1, 0, {}}}},
      RankForked{Attempt(1), 1, 99},
      RankEntered{Attempt(1), 1},
      MetricsReported{Attempt(1), 4, {{"loss", 0.5}}, checkpoint, {"/r/old"}},
      RankFinished{Attempt(1), 1, ExitStatus{1, std::nullopt, false}, RankError{"exception", "what", {"line"}}, "value"},
      AttemptFailed{Attempt(1), JobError{"signal", "rank 1", 1, "b", 1, ExitStatus{std::nullopt, 9, false}, {"line"}}, true, "1 of 2"},
      CancelRequested{"alice"},
      AttemptEnded{Attempt(1)},
  };
}

}  // namespace

TEST_CASE("event: every alternative round-trips under its own name") {
  const auto events = samples();
  REQUIRE(events.size() == std::variant_size_v<JobEvent>);
  std::set<std::string> names;
  for (std::size_t i = 0; i < events.size(); ++i) {
    INFO(event_name(events[i]));
    CHECK(events[i].index() == i);
    names.emplace(event_name(events[i]));
    const Json json = to_json(StampedEvent{1790000000123, events[i]});
    const auto back = event_from_json(*parse_json(dump_json(json)));
    REQUIRE(back.has_value());
    CHECK(back->at == 1790000000123);
    CHECK(back->event.index() == i);
    CHECK(to_json(*back) == json);
  }
  CHECK(names.size() == events.size());
}

TEST_CASE("event: errors name the event and the field") {
  CHECK(event_from_json(Json::array()).error().message() == "an event without a type");
  CHECK(event_from_json({{"type", "dance"}}).error().message() == "unknown event \"dance\"");
  CHECK(event_from_json({{"type", "rank_forked"}, {"rank", "x"}}).error().message() == "rank_forked.rank: expected an integer, found string");
  CHECK(event_from_json({{"type", "rank_forked"}, {"at_ms", "x"}}).error().message() == "rank_forked.at_ms: expected an integer, found string");
}
