// Sweeps in the journal: beside the jobs, under numbers of the same counter.
#include "daemon/store/stored_sweeps.h"

#include "daemon/store/fsck.h"
#include "daemon/store/recover.h"
#include "daemon/store/schema.h"
#include "proto/sweep/sweep_reader.h"
#include "tests/support/catch.h"
#include "tests/support/disk_store.h"
#include "tests/support/jobs.h"

namespace stored_sweeps_test {

using namespace rtrain;
using namespace rtrain::store;

namespace {

proto::SweepSpec spec_of_sweep() {
  auto reading = proto::read_sweep_spec(R"({
    "job": {"command": ["true"]}, "metric": "loss", "search": "random", "baseline": false,
    "parameters": {"lr": {"float": [0.001, 1]}}, "limits": {"trials": 8}})");
  REQUIRE(reading.ok());
  return std::move(reading.spec);
}

/// A store with a job, number 1, and a sweep, number 2.
struct SweepDisk : test::DiskStore {
  Recovered found;
  core::SweepState sweep = core::submitted_sweep(2, {spec_of_sweep(), "ada", "key"});
  proto::UnixMs now = 1000;

  SweepDisk() : found(store->take_recovered()) {
    proto::JobSubmitted job{test::command_spec(1, 3), "run", "/runs/run", "ada", {}};
    job.sweep = proto::SweepTrial{JobId(2), 0};
    ++now;
    store->append(JobId(1), {now, job}, core::submitted(JobId(1), now, job));
    store->append(JobId(2),
                  proto::StampedSweepEvent{++now, proto::SweepSubmitted{spec_of_sweep(), "ada", "key"}},
                  proto::Json());
    apply(*core::suggest(sweep));
    apply(proto::TrialSubmitted{0, JobId(1)});
    settle();
  }
  void open() {
    DiskStore::open();
    found = store->take_recovered();
  }
  void apply(proto::SweepEvent event, const proto::Json& row = nullptr) {
    REQUIRE(core::fold(sweep, event).has_value());
    store->append(JobId(2), proto::StampedSweepEvent{++now, std::move(event)}, row);
  }
  void end() {
    apply(proto::TrialEnded{0, proto::TrialOutcome::kCompleted, 0.5, 1, {}, ""});
    apply(proto::SweepStopping{"enough", true, proto::SweepOutcome::kCancelled});
    apply(proto::SweepEnded{proto::SweepOutcome::kCancelled, "enough"}, {{"id", 2}, {"name", "s"}});
    settle();
  }
  void sql(const std::string& text) {
    auto database = *Database::open(journal_path(dir), Database::Mode::kReadWrite);
    REQUIRE(database->execute(text).has_value());
  }
};

}  // namespace

TEST_CASE("stored sweeps: one that goes on is there at the next start, and its number is not given again") {
  SweepDisk disk;
  disk.open();
  REQUIRE(disk.found.sweeps.size() == 1);
  const auto& record = disk.found.sweeps.front();
  CHECK(record.state.id == 2);
  CHECK(record.submitted_ms == 1002);
  CHECK(record.ended_ms == 0);
  REQUIRE(record.state.trials.size() == 1);
  CHECK(record.state.trial(0).point == disk.sweep.trial(0).point);
  CHECK(record.state.trial(0).job == JobId(1));
  REQUIRE(disk.found.jobs.size() == 1);
  CHECK(disk.found.jobs.front().sweep == proto::SweepTrial{JobId(2), 0});
  CHECK(disk.store->next_job_id().value() >= 3);
  CHECK_FALSE(disk.store->ended_sweep(JobId(2)).value().has_value());
}

TEST_CASE("stored sweeps: one that ended is read when somebody asks, and its row is in lists") {
  SweepDisk disk;
  disk.end();
  disk.open();
  CHECK(disk.found.sweeps.empty());
  const auto ended = disk.store->ended_sweep(JobId(2)).value();
  REQUIRE(ended.has_value());
  CHECK(ended->state.phase == core::SweepPhase::kCancelled);
  CHECK(ended->state.trial(0).value(false) == 0.5);
  CHECK(ended->ended_ms == disk.now);
  const auto rows = disk.store->ended_sweeps(JobId(100), 10).value();
  REQUIRE(rows.size() == 1);
  CHECK(rows.front() == std::pair(JobId(2), proto::Json{{"id", 2}, {"name", "s"}}));
  CHECK(disk.store->ended_sweeps(JobId(2), 10).value().empty());
  CHECK_FALSE(disk.store->ended_sweep(JobId(1)).value().has_value());
}

TEST_CASE("stored sweeps: one that ended and does not replay to its end is told as such") {
  SweepDisk disk;
  disk.end();
  disk.store.reset();
  disk.sql("UPDATE events SET json=replace(json, '\"lr\":', '\"lr\":0.5,\"was\":') WHERE job=2 AND number=1");
  disk.open();
  const auto ended = disk.store->ended_sweep(JobId(2));
  REQUIRE(ended.has_error());
  CHECK_THAT(ended.error().message(), Catch::Matchers::Contains("sweep 2 cannot be read back"));
}

TEST_CASE("stored sweeps: the key that one was submitted with is known for as long as it is") {
  SweepDisk disk;
  CHECK(disk.store->sweep_of_submission("key").value() == JobId(2));
  CHECK_FALSE(disk.store->sweep_of_submission("other").value().has_value());
  CHECK_FALSE(disk.store->sweep_of_submission("").value().has_value());
  disk.end();
  disk.open();
  CHECK(disk.store->sweep_of_submission("key").value() == JobId(2));
  CHECK(*disk.store->ended_sweep(JobId(2)).value()->state.spec == spec_of_sweep());
  CHECK_FALSE(disk.store->job_of_submission("key").value().has_value());
  disk.store.reset();
  REQUIRE(recover(disk.dir).has_value());
  disk.open();
  CHECK(disk.store->sweep_of_submission("key").value() == JobId(2));
  const auto rows = disk.store->ended_sweeps(JobId(100), 10).value();
  REQUIRE(rows.size() == 1);
  CHECK(rows.front().second == proto::Json{{"id", 2}, {"name", "s"}});  // not made anew
}

TEST_CASE("stored sweeps: fsck replays them, and notes suggestions that the searcher does not give") {
  SweepDisk disk;
  disk.store.reset();
  auto report = fsck(disk.dir).value();
  CHECK(report.problems.empty());
  CHECK(report.notes.empty());
  CHECK(report.sweeps == 1);
  CHECK(report.jobs == 1);
  disk.sql("UPDATE events SET json=replace(json, '\"lr\":', '\"lr\":0.5,\"was\":') WHERE job=2 AND number=1");
  report = fsck(disk.dir).value();
  REQUIRE(report.problems.size() == 1);  // a name of no parameter
  disk.sql(
      "UPDATE events SET json='{\"at\":\"2026-01-01T00:00:00.000Z\",\"at_ms\":1767225600000,"
      "\"type\":\"trial_suggested\",\"trial\":0,\"by\":\"random\",\"params\":{\"lr\":0.25}}' "
      "WHERE job=2 AND number=1");
  report = fsck(disk.dir).value();
  CHECK(report.problems.empty());
  REQUIRE(report.notes.size() == 1);
  CHECK_THAT(report.notes.front(), Catch::Matchers::Contains("the first for trial 0"));
}

TEST_CASE("stored sweeps: one that cannot be read is set aside, and recover takes what replays of it") {
  SweepDisk disk;
  disk.store.reset();
  disk.sql("UPDATE events SET json='{' WHERE job=2 AND number=2");
  disk.open();
  CHECK(disk.found.sweeps.empty());
  REQUIRE(disk.found.set_aside.size() == 1);
  CHECK(disk.found.set_aside.front().job == JobId(2));
  CHECK(disk.found.jobs.size() == 1);
  disk.store.reset();
  const auto recovered = recover(disk.dir).value();
  CHECK(recovered.sweeps == 1);
  CHECK(recovered.jobs == 1);
  REQUIRE(recovered.lost.size() == 1);
  CHECK_THAT(recovered.lost.front(), Catch::Matchers::StartsWith("sweep 2: everything from event 2"));
  disk.open();
  REQUIRE(disk.found.sweeps.size() == 1);
  CHECK(disk.found.sweeps.front().state.trial(0).phase == core::TrialPhase::kSuggested);
}

TEST_CASE("stored sweeps: one of which nothing is left but its number is named as lost") {
  SweepDisk disk;
  disk.store.reset();
  disk.sql("DELETE FROM events WHERE job=2");
  const auto recovered = recover(disk.dir).value();
  CHECK(recovered.sweeps == 0);
  CHECK(recovered.jobs == 1);
  REQUIRE(recovered.lost.size() == 1);
  CHECK_THAT(recovered.lost.front(), Catch::Matchers::StartsWith("sweep 2: "));
}

TEST_CASE("stored sweeps: one that ended goes with the jobs that are forgotten") {
  SweepDisk disk;
  disk.end();
  std::vector<JobId> gone;
  Pruned last;
  PruneRequest request;
  request.ended_before_ms = disk.now;
  const auto prune = [&] {
    bool over = false;
    disk.store->prune(request, [&](const Pruned& pruned) {
      last = pruned;
      gone.insert(gone.end(), pruned.sweeps_gone.begin(), pruned.sweeps_gone.end());
      over = over || pruned.over;
    });
    while (!over) disk.io.run_for(std::chrono::milliseconds(20));
  };
  prune();
  CHECK(gone.empty());
  CHECK(last.sweeps == 0);
  request.ended_before_ms = disk.now + 1;
  request.dry_run = true;
  prune();
  CHECK(gone.empty());
  CHECK(last.sweeps == 1);
  const auto bytes = last.bytes;
  CHECK(bytes > 0);
  request.dry_run = false;
  prune();
  CHECK(gone == std::vector{JobId(2)});
  CHECK(last.sweeps == 1);
  CHECK(last.bytes == bytes);
  CHECK_FALSE(disk.store->ended_sweep(JobId(2)).value().has_value());
  disk.store.reset();
  CHECK(fsck(disk.dir).value().problems.empty());
}

TEST_CASE("stored sweeps: a journal of schema 3 gets its table at the start") {
  SweepDisk disk;
  disk.store.reset();
  disk.sql("DELETE FROM events WHERE job=2; DROP TABLE sweeps; PRAGMA user_version=3");
  CHECK(fsck(disk.dir).value().problems.empty());
  disk.open();
  CHECK(disk.found.sweeps.empty());
  CHECK(disk.found.jobs.size() == 1);
}

}  // namespace stored_sweeps_test
