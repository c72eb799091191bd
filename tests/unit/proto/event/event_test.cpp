#include "proto/event/event.h"
#include "tests/support/catch.h"
#include "tests/support/odd_json.h"
#include "tests/support/rounds.h"

#include <random>
#include <set>

namespace event_test {

using namespace rtrain;
using namespace rtrain::proto;

namespace {

std::vector<JobEvent> samples() {
  auto reading = read_job_spec(R"({"command": ["true"]})");
  REQUIRE(reading.ok());
  const CheckpointRecord checkpoint{
      "/r/checkpoint_000000",
      0,
      {{"loss", 1}},
      CheckpointValidation{ValidationStatus::kFailed, {{"folds", 3}}, 60, JobId(8), "job 8 failed"}};
  return {
      JobSubmitted{reading.spec, "run", "/r/run", "alice", ArrayTask{JobId(4), 3, 10, 2}, "key",
                   ValidatedCheckpoint{JobId(2), 1, "/r/checkpoint_000001"}, SweepTrial{JobId(7), 12}},
      AttemptPlaced{Attempt(1), {{0, "a", 0, 0, {1}}, {1, "b", 1, 0, {}}}},
      RankForked{Attempt(1), 1, 99},
      RankEntered{Attempt(1), 1},
      MetricsReported{Attempt(1), 4, {{"loss", 0.5}}, checkpoint, {"/r/old"}},
      RankFinished{Attempt(1), 1, ExitStatus{1, std::nullopt, false},
                   RankError{"exception", "what", {"line"}}, "value", true},
      AttemptFailed{Attempt(1),
                    JobError{"signal", "rank 1", 1, "b", 1, ExitStatus{std::nullopt, 9, false}, {"line"}},
                    true, "1 of 2", FailureClass::kInfrastructure, false, 1790000001123, true},
      CancelRequested{"alice"},
      AttemptEnded{Attempt(1)},
      JobHeld{"alice", true},
      JobReleased{"bob", true},
      FirstStep{Attempt(1)},
      YieldRequested{Attempt(1), YieldCause::kDrain, "node a is drained", 30, false, false},
      TimeLimitReached{Attempt(1), 3600},
      ValidationStarted{3, JobId(9)},
      ValidationEnded{3, ValidationStatus::kTimeout, {{"accuracy", 0.5}}, "too slow"},
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

TEST_CASE("event: what is accepted reads back as it was", "[F40]") {
  std::mt19937 random(42);
  test::OddJson odd(random);
  int accepted = 0;
  for (int i = 0; i < test::rounds(10'000); ++i) {
    const auto events = samples();
    auto json = to_json(StampedEvent{1790000000123, events[random() % events.size()]});
    odd.spoil(json);
    const auto event = event_from_json(json);
    if (!event) continue;
    ++accepted;
    const Json told = to_json(*event);
    INFO(dump_json(told));
    const auto again = event_from_json(*parse_json(dump_json(told)));
    if (!again) FAIL(again.error().message());
    CHECK(dump_json(to_json(*again)) == dump_json(told));
  }
  CHECK(accepted > test::rounds(1000));
}

TEST_CASE("event: errors name the event and the field") {
  CHECK(event_from_json(Json::array()).error().message() == "an event without a type");
  CHECK(event_from_json({{"type", "dance"}}).error().message() == "unknown event \"dance\"");
  CHECK(event_from_json({{"type", "rank_forked"}, {"attempt", 1}, {"rank", "x"}}).error().message() ==
        "rank_forked.rank: expected an integer, found string");
  CHECK(event_from_json({{"type", "rank_forked"}, {"at_ms", "x"}}).error().message() ==
        "rank_forked.at_ms: expected an integer, found string");
}

TEST_CASE("event: a journal of an older version is readable, and so is one of a newer") {
  const auto failed = event_from_json(
      {{"type", "attempt_failed"}, {"at_ms", 5}, {"attempt", 1}, {"retry", true}, {"reason", "1 of 2"}});
  REQUIRE(failed.has_value());
  const auto& old = std::get<AttemptFailed>(failed->event);
  CHECK(old.failure_class == FailureClass::kUser);
  CHECK(old.counted);
  CHECK(old.retry_at_ms == 0);
  const auto finished =
      event_from_json({{"type", "rank_finished"}, {"attempt", 1}, {"rank", 0}, {"colour", "red"}});
  REQUIRE(finished.has_value());
  CHECK_FALSE(std::get<RankFinished>(finished->event).yielded);
  const auto submitted = event_from_json({{"type", "job_submitted"}, {"spec", {{"command", {"true"}}}}});
  REQUIRE(submitted.has_value());
  CHECK_FALSE(std::get<JobSubmitted>(submitted->event).array.has_value());
  CHECK_FALSE(std::get<JobSubmitted>(submitted->event).sweep.has_value());
  const auto yield = event_from_json({{"type", "yield_requested"}, {"attempt", 1}, {"cause", "drain"}});
  REQUIRE(yield.has_value());
  CHECK(std::get<YieldRequested>(yield->event).checkpoint);
}

TEST_CASE("event: without what makes it up it is refused, and so is a number that a sum could overflow",
          "[F53]") {
  const auto message = [](const Json& json) {
    const auto event = event_from_json(json);
    return event ? std::string() : event.error().message();
  };
  CHECK(message({{"type", "job_submitted"}}) == "job_submitted.spec: missing");
  CHECK(message({{"type", "attempt_placed"}, {"attempt", 1}}) == "attempt_placed.ranks: missing");
  CHECK(message({{"type", "rank_finished"}, {"rank", 0}}) == "rank_finished.attempt: missing");
  CHECK_THAT(message({{"type", "metrics_reported"}, {"attempt", 1}, {"seq", std::int64_t{1} << 62}}),
             Catch::Matchers::StartsWith("metrics_reported.seq: the number"));
  CHECK_THAT(message({{"type", "metrics_reported"},
                      {"attempt", 1},
                      {"checkpoint", {{"path", "/c"}, {"index", std::int64_t{1} << 52}}}}),
             Catch::Matchers::StartsWith("metrics_reported.checkpoint.index: the number"));
}

TEST_CASE("event: a class or a cause that is not known is named") {
  CHECK(event_from_json({{"type", "yield_requested"}, {"attempt", 1}, {"cause", "whim"}}).error().message() ==
        "yield_requested.cause: unknown value \"whim\"");
  CHECK(
      event_from_json({{"type", "attempt_failed"}, {"attempt", 1}, {"failure_class", 3}}).error().message() ==
      "attempt_failed.failure_class: expected a string, found number");
}

}  // namespace event_test
