#include "daemon/head/jobs/job_book.h"

#include "daemon/store/memory_store.h"
#include "tests/support/catch.h"

namespace job_book_test {

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
  store::MemoryStore store;
  Applied applied;
  JobBook book{{store, store}};

  JobId submit(int max_failures = 0) { return *book.submit(spec(max_failures), 0, {100}, applied); }
  void apply(JobId id, proto::JobEvent event) {
    auto done = book.apply(id, std::move(event), 5, applied);
    INFO((done ? "" : done.error().message()));
    REQUIRE(done.has_value());
  }
  void place(JobId id, int attempt) {
    apply(id, proto::AttemptPlaced{Attempt(attempt), {{0, "a", 0, 0, {}}}});
  }
  void finish(JobId id, int attempt, int exit_code) {
    proto::RankFinished event;
    event.attempt = Attempt(attempt);
    event.status.exit_code = exit_code;
    apply(id, event);
  }
};

}  // namespace

TEST_CASE("job book: a run's name has the job's name, the time in UTC, the number and the head", "[F05]") {
  CHECK(run_name("fashion", 0, JobId(3), "") == "fashion_1970-01-01_00-00-00_3");
  CHECK(run_name("a.b-c", 1'704'067'199'999, JobId(12), "0a1b2c3d") ==
        "a.b-c_2023-12-31_23-59-59_12-0a1b2c3d");
}

TEST_CASE("job book: two heads give jobs of one name and one second folders of their own", "[F05]") {
  const auto folder = [](const std::string& origin) {
    store::MemoryStore store;
    JobBook book({store, store}, origin);
    Applied applied;
    return book.find(book.submit(spec(), 0, {10}, applied).value())->state.run_dir;
  };
  CHECK(folder("0a1b2c3d") == "/results/fashion_1970-01-01_00-00-00_1-0a1b2c3d");
  CHECK(folder("0a1b2c3d") != folder("0a1b2c3e"));
}

TEST_CASE("job book: a submitted job has its number, run folder and place in the queue") {
  Fixture f;
  const auto id = f.submit();
  CHECK(id == JobId(1));
  const auto* record = f.book.find(id);
  REQUIRE(record != nullptr);
  CHECK(record->state.run_dir == "/results/fashion_1970-01-01_00-00-00_1");
  CHECK(f.book.queue() == std::vector<JobId>{id});
  REQUIRE(f.applied.actions.size() == 1);
  CHECK(std::holds_alternative<core::EnterQueue>(f.applied.actions[0].action));
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
  CHECK(std::holds_alternative<core::FreeResources>(f.applied.actions.back().action));
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
  const auto actions = f.applied.actions.size(), touched = f.applied.touched.size();
  const auto refused = f.book.apply(id, proto::RankEntered{Attempt(9), 0}, 5, f.applied);
  REQUIRE(refused.has_error());
  CHECK(refused.error().code() == Errc::kConflict);
  CHECK(f.book.apply(JobId(99), proto::CancelRequested{"x"}, 5, f.applied).error().code() == Errc::kNotFound);
  CHECK(f.book.find(id)->state_version == version);
  CHECK(f.applied.actions.size() == actions);
  CHECK(f.applied.touched.size() == touched);
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
  CHECK_FALSE(f.book.set_progress(id, Attempt(2), progress));
  CHECK_FALSE(record->progress.has_value());
  CHECK(f.book.set_progress(id, Attempt(1), progress));
  CHECK(record->progress.has_value());
  f.finish(id, 1, 3);
  f.place(id, 2);
  CHECK_FALSE(record->progress.has_value());
}

TEST_CASE("job book: of many reports memory keeps the newest, the store all") {
  Fixture f;
  const auto id = f.submit();
  f.place(id, 1);
  constexpr int kReports = static_cast<int>(kMetricPointsMax) + 500;
  for (int seq = 1; seq <= kReports; ++seq) {
    proto::MetricsReported report;
    report.attempt = Attempt(1);
    report.seq = seq;
    report.metrics = {{"step", seq}};
    f.apply(id, report);
  }
  const auto* record = f.book.find(id);
  CHECK(record->metrics.size() == kMetricPointsMax);
  CHECK(record->metrics_dropped == 500);
  const auto page = f.store.metrics(id, 499, 2);
  REQUIRE(page.has_value());
  CHECK(page->points[0].seq == 500);
  CHECK(page->points[1].seq == 501);
  CHECK(f.store.events(id, 0, 10)->size() == 2);  // a report without a checkpoint is a point and no event
}

TEST_CASE("job book: a job that ended long ago is found in the store") {
  Fixture f;
  const auto first = f.submit();
  f.place(first, 1);
  f.finish(first, 1, 0);
  for (std::size_t i = 0; i < kEndedJobsMax; ++i) f.apply(f.submit(), proto::CancelRequested{"a user"});
  CHECK_FALSE(f.book.all().contains(first));
  const auto* record = f.book.find(first);
  REQUIRE(record != nullptr);
  CHECK(record->state.phase == core::JobPhase::kSucceeded);
  const auto late = f.book.apply(first, proto::CancelRequested{"a user"}, 9, f.applied);
  REQUIRE(late.has_error());
  CHECK(late.error().code() == Errc::kConflict);
}

TEST_CASE("job book: the specs of jobs that live are bounded by their memory, an array's counts once",
          "[F09]") {
  Fixture f;
  constexpr std::int64_t kMiB = 1 << 20;
  const QueueRoom room{10'000, 8 * kMiB};
  const auto large = [](const std::string& array = "") {
    auto job = spec();
    job.train_loop_config = {{"data", std::string(3 * kMiB, 'x')}};
    if (!array.empty()) job.scheduling.array = *proto::parse_array(array);
    return job;
  };
  const auto array = f.book.submit(large("0-1999"), 0, room, f.applied);
  REQUIRE(array.has_value());
  REQUIRE(f.book.submit(large(), 0, room, f.applied).has_value());
  const auto refused = f.book.submit(large(), 0, room, f.applied);
  REQUIRE(refused.has_error());
  CHECK(refused.error().code() == Errc::kUnavailable);
  CHECK(refused.error().message().find("9 MiB of the head's memory; the limit is 8 MiB (spec_memory_mib)") !=
        std::string::npos);
  for (std::int64_t id = 1; id <= 2000; ++id) f.apply(JobId(id), proto::CancelRequested{"a user"});
  CHECK(f.book.submit(large(), 0, room, f.applied).has_value());
}

TEST_CASE("job book: ended jobs with large specs stay in memory only as far as there is room", "[F09]") {
  Fixture f;
  constexpr int kJobs = 60;
  for (int i = 0; i < kJobs; ++i) {
    auto large = spec();
    large.train_loop_config = {{"data", std::string(4 << 20, 'x')}};
    const auto id = *f.book.submit(large, 0, {}, f.applied);
    f.apply(id, proto::CancelRequested{"a user"});
  }
  CHECK(f.book.all().size() * (4 << 20) <= static_cast<std::size_t>(kEndedBytesMax));
  CHECK(f.book.all().size() >= kEndedJobsMin - 1);
  for (int id = 1; id <= kJobs; ++id) {
    const auto* record = f.book.find(JobId(id));
    REQUIRE(record != nullptr);
    CHECK(record->state.phase == core::JobPhase::kCancelled);
  }
}

TEST_CASE("job book: an ended job leaves memory only when the store has it", "[F09]") {
  store::MemoryStore store(false);
  JobBook book{{store, store}};
  Applied applied;
  constexpr int kJobs = static_cast<int>(kEndedJobsMax) + 100;
  for (int i = 0; i < kJobs; ++i)
    REQUIRE(book.apply(*book.submit(spec(), 0, {}, applied), proto::CancelRequested{"a user"}, 5, applied)
                .has_value());
  CHECK(book.all().size() == kJobs);
  store.commit();
  REQUIRE(book.apply(*book.submit(spec(), 0, {}, applied), proto::CancelRequested{"a user"}, 5, applied)
              .has_value());
  CHECK(book.all().size() <= kEndedJobsMax + 1);
}

TEST_CASE("job book: of large metrics fewer points stay in memory", "[F09]") {
  Fixture f;
  const auto id = f.submit();
  f.place(id, 1);
  for (int seq = 1; seq <= 20; ++seq)
    f.apply(id, proto::MetricsReported{Attempt(1), seq, {{"text", std::string(1 << 20, 'x')}}, {}, {}});
  const auto* record = f.book.find(id);
  CHECK(record->metric_bytes <= kMetricBytesMax);
  CHECK(record->metrics.size() + static_cast<std::size_t>(record->metrics_dropped) == 20);
  CHECK(record->metrics.size() >= 3);
}

TEST_CASE("job book: a store that takes no writes takes no jobs") {
  Fixture f;
  f.store.set_health({false, "no space left in /var/lib/rtrain/head"});
  const auto refused = f.book.submit(spec(), 0, {100}, f.applied);
  REQUIRE(refused.has_error());
  CHECK(refused.error().code() == Errc::kUnavailable);
  CHECK(refused.error().message().find("no space left") != std::string::npos);
}

TEST_CASE("job book: an end that was due when the head died is applied at the start") {
  Fixture f;
  const auto id = f.submit();
  f.place(id, 1);
  proto::RankFinished event;
  event.attempt = Attempt(1);
  event.status.exit_code = 0;
  auto state = f.book.find(id)->state;
  REQUIRE(core::advance(state, {6, event}).has_value());  // as if the journal ended right here
  Fixture next;
  next.book.recover({state}, {{core::JobPhase::kFailed, 3}}, 7);
  CHECK(next.book.find(id)->state.phase == core::JobPhase::kSucceeded);
  CHECK(next.book.tally().by_phase() == std::map<core::JobPhase, std::int64_t>{
                                            {core::JobPhase::kFailed, 3}, {core::JobPhase::kSucceeded, 1}});
  CHECK(next.store.events(id, 0, 10)->size() == 1);
}

}  // namespace job_book_test
