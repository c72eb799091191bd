#include "daemon/head/turn.h"

#include "daemon/store/memory_store.h"
#include "tests/support/catch.h"

namespace turn_test {

using namespace rtrain;
using namespace rtrain::head;

namespace {

proto::JobSpec spec() {
  proto::JobSpec spec;
  spec.name = "job";
  spec.command = {"train"};
  spec.run_config.storage_path = "/results";
  return spec;
}

/// Notes what a turn brings; `then` may post from within an action.
struct Fixture final : TurnHandler {
  void on_action(JobId id, const core::Action& action) override {
    notes.push_back(to_string(id) + (std::holds_alternative<core::EnterQueue>(action)      ? " enters"
                                     : std::holds_alternative<core::LaunchAttempt>(action) ? " launches"
                                     : std::holds_alternative<core::BlameNode>(action)     ? " blames"
                                     : std::holds_alternative<core::StopRanks>(action)     ? " stops"
                                     : std::holds_alternative<core::FreeResources>(action) ? " frees"
                                     : std::holds_alternative<core::EndJob>(action)        ? " ends"
                                                                                           : " else"));
    if (then) std::exchange(then, {})(id);
  }
  void on_touched(JobId id) override { notes.push_back(to_string(id) + " touched"); }
  void on_pass_requested() override { notes.emplace_back("pass"); }
  void on_end() override { notes.emplace_back("end"); }

  JobId submit() { return *turn.submit(spec(), {}, {}, {}, std::nullopt, std::nullopt); }
  static proto::AttemptPlaced placed(int ranks) {
    proto::AttemptPlaced event{Attempt(1), {}};
    for (int rank = 0; rank < ranks; ++rank) event.ranks.push_back({rank, "a", 0, rank, {}});
    return event;
  }
  static proto::RankFinished lost() {
    proto::RankFinished event;
    event.attempt = Attempt(1);
    event.status.lost = true;
    return event;
  }

  store::MemoryStore store;
  Clock clock{[] { return SteadyTime{}; }, [] { return proto::UnixMs{5}; }};
  JobBook book{{store, store}};
  Turn turn{book, clock, *this};
  std::vector<std::string> notes;
  std::function<void(JobId)> then;
};

using Notes = std::vector<std::string>;

}  // namespace

TEST_CASE("turn: the actions of an event, then each touched job once, then the end") {
  Fixture f;
  const auto id = f.submit();
  CHECK(f.notes == Notes{"1 enters", "1 touched", "end"});
  f.notes.clear();
  REQUIRE(f.turn.apply(id, proto::CancelRequested{"ann"}).has_value());
  CHECK(f.notes == Notes{"1 ends", "1 touched", "end"});
  CHECK_FALSE(f.turn.running());
}

TEST_CASE("turn: what an action posts is done before the next action, and after the action itself") {
  Fixture f;
  const auto first = f.submit(), second = f.submit();
  f.notes.clear();
  auto while_posting = core::JobPhase::kQueued;
  f.then = [&](JobId id) {
    f.turn.post(id, {Fixture::lost(), Fixture::lost()});  // the second one is refused, and nobody minds
    f.turn.post(second, proto::CancelRequested{"ann"});
    while_posting = f.book.find(second)->state.phase;
  };
  REQUIRE(f.turn.apply(first, Fixture::placed(1)).has_value());
  CHECK(while_posting == core::JobPhase::kQueued);
  CHECK(f.notes ==
        Notes{"1 launches", "1 blames", "1 enters", "1 frees", "2 ends", "1 touched", "2 touched", "end"});
  CHECK(f.book.find(first)->state.phase == core::JobPhase::kQueued);  // a lost rank is tried again
  CHECK(f.book.find(second)->state.phase == core::JobPhase::kCancelled);
}

TEST_CASE("turn: a submit within a turn has its number at once, its effects come in order") {
  Fixture f;
  const auto first = f.submit();
  f.notes.clear();
  JobId child{0};
  f.then = [&](JobId) { child = f.submit(); };
  REQUIRE(f.turn.apply(first, Fixture::placed(1)).has_value());
  CHECK(child == JobId(2));
  CHECK(f.notes == Notes{"1 launches", "2 enters", "1 touched", "2 touched", "end"});
}

TEST_CASE("turn: a refusal is told, changes nothing and begins no turn") {
  Fixture f;
  const auto id = f.submit();
  f.notes.clear();
  CHECK(f.turn.apply(id, proto::RankEntered{Attempt(9), 0}).error().code() == Errc::kConflict);
  CHECK(f.notes.empty());
  CHECK_FALSE(f.turn.running());
}

TEST_CASE("turn: an event that is applied within a turn is a bug, and spoils no later turn") {
  Fixture f;
  const auto id = f.submit();
  f.notes.clear();
  f.then = [&](JobId same) { (void)f.turn.apply(same, proto::CancelRequested{"ann"}); };
  CHECK_THROWS_AS((void)f.turn.apply(id, Fixture::placed(1)), std::logic_error);
  f.notes.clear();
  REQUIRE(f.turn.apply(id, proto::CancelRequested{"ann"}).has_value());
  CHECK(f.notes == Notes{"1 stops", "1 touched", "end"});
}

TEST_CASE("turn: outside of one, a touched job is handed on at once") {
  Fixture f;
  const auto id = f.submit();
  f.notes.clear();
  f.turn.touch(id);
  CHECK(f.notes == Notes{"1 touched"});
}

}  // namespace turn_test
