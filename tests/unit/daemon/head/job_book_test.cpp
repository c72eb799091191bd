#include "daemon/head/job_book.h"

#include "common/os/file.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

using namespace rtrain;
using namespace rtrain::head;

namespace {

proto::JobSpec spec(int max_failures = 0) {
  proto::JobSpec spec;
  spec.name = "fashion";
  spec.command = {"train"};
  spec.run_config.storage_path = "/results";
  spec.run_config.failure_config.max_failures = max_failures;
  return spec;
}

struct Fixture {
  test::TempDir folder;
  std::vector<core::Action> actions;
  int changes = 0;
  JobBook book{*JobIds::open(folder.path().string()), [this](JobId, const core::Action& action) { actions.push_back(action); },
               [this](JobId) { ++changes; }};

  JobId submit(int max_failures = 0) { return *book.submit(spec(max_failures), 0, 100); }
  void apply(JobId id, proto::JobEvent event) {
    auto done = book.apply(id, std::move(event), 5);
    INFO((done ? "" : done.error().message()));
    REQUIRE(done.has_value());
  }
  void place(JobId id, int attempt) { apply(id, proto::AttemptPlaced{Attempt(attempt), {{0, "a", 0, 0, {}}}}); }
  void finish(JobId id, int attempt, int exit_code) {
    proto::RankFinished event;
    event.attempt = Attempt(attempt);
    event.status.exit_code = exit_code;
    apply(id, event);
  }
};

}  // namespace

TEST_CASE("job book: a run's name has the job's name, the time in UTC and the number") {
  CHECK(run_name("fashion", 0, JobId(3)) == "fashion_1970-01-01_00-00-00_3");
  CHECK(run_name("a.b-c", 1'704'067'199'999, JobId(12)) == "a.b-c_2023-12-31_23-59-59_12");
}

TEST_CASE("job book: a submitted job has its number, run folder and place in the queue") {
  Fixture f;
  const auto id = f.submit();
  CHECK(id == JobId(1));
  const auto* record = f.book.find(id);
  REQUIRE(record != nullptr);
  CHECK(record->state.run_dir == "/results/fashion_1970-01-01_00-00-00_1");
  CHECK(f.book.queue() == std::vector<JobId>{id});
  REQUIRE(f.actions.size() == 1);
  CHECK(std::holds_alternative<core::EnterQueue>(f.actions[0]));
  CHECK(f.book.find(JobId(2)) == nullptr);
}

TEST_CASE("job book: what follows from an event is applied with it") {
  Fixture f;
  const auto id = f.submit();
  f.place(id, 1);
  CHECK(f.book.queue().empty());
  CHECK(f.book.is_current(id, Attempt(1)));
  f.finish(id, 1, 3);
  CHECK(f.book.find(id)->state.phase == core::JobPhase::kFailed);
  CHECK_FALSE(f.book.is_current(id, Attempt(1)));
  CHECK(std::holds_alternative<core::FreeResources>(f.actions.back()));
}

TEST_CASE("job book: a job that is retried keeps its place before the later ones") {
  Fixture f;
  const auto first = f.submit(1), second = f.submit();
  f.place(first, 1);
  CHECK(f.book.queue() == std::vector<JobId>{second});
  f.finish(first, 1, 3);
  CHECK(f.book.queue() == std::vector<JobId>{first, second});
}

TEST_CASE("job book: an event that is refused changes nothing") {
  Fixture f;
  const auto id = f.submit();
  f.place(id, 1);
  const auto version = f.book.find(id)->state_version;
  const int changes = f.changes;
  const auto refused = f.book.apply(id, proto::RankEntered{Attempt(9), 0}, 5);
  REQUIRE(refused.has_error());
  CHECK(refused.error().code() == Errc::kConflict);
  CHECK(f.book.apply(JobId(99), proto::CancelRequested{"x"}, 5).error().code() == Errc::kNotFound);
  CHECK(f.book.find(id)->state_version == version);
  CHECK(f.changes == changes);
}

TEST_CASE("job book: metric points are kept, progress belongs to the current attempt") {
  Fixture f;
  const auto id = f.submit(1);
  f.place(id, 1);
  for (int seq = 1; seq <= 3; ++seq) {
    proto::MetricsReported report;
    report.attempt = Attempt(1);
    report.seq = seq;
    report.metrics = {{"step", seq}};
    f.apply(id, report);
  }
  const auto* record = f.book.find(id);
  REQUIRE(record->metrics.size() == 3);
  CHECK(record->metrics[2].seq == 3);
  CHECK(record->metrics[2].metrics == proto::Json({{"step", 3}}));
  proto::ProgressDoc progress;
  progress.stage = "train";
  f.book.set_progress(id, Attempt(2), progress);
  CHECK_FALSE(record->progress.has_value());
  f.book.set_progress(id, Attempt(1), progress);
  CHECK(record->progress.has_value());
  f.finish(id, 1, 3);
  f.place(id, 2);
  CHECK_FALSE(record->progress.has_value());
}

TEST_CASE("job ids: never the same twice, not after a restart either") {
  test::TempDir folder;
  std::int64_t last = 0;
  for (int restart = 0; restart < 3; ++restart) {
    auto ids = *JobIds::open(folder.path().string());
    for (int i = 0; i < 1500; ++i) {
      const auto id = ids.next();
      REQUIRE(id.has_value());
      REQUIRE(id->value() > last);
      last = id->value();
    }
  }
}

TEST_CASE("job ids: a file that holds no number is not guessed at") {
  test::TempDir folder;
  for (const char* content : {"", "x", "-5", "0"}) {
    REQUIRE(os::write_file_atomic((folder / "next_job_id").string(), content).has_value());
    const auto ids = JobIds::open(folder.path().string());
    REQUIRE(ids.has_error());
    CHECK(ids.error().message().find("next_job_id") != std::string::npos);
  }
}
