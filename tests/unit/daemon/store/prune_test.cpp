#include "daemon/store/schema.h"
#include "daemon/store/segment.h"
#include "tests/support/disk_store.h"
#include "tests/support/jobs.h"

#include <filesystem>

namespace prune_test {

using namespace rtrain;
using namespace rtrain::store;

namespace {

/// A store with jobs that ended: job i at time 1000 * i.
struct Disk : test::DiskStore {
  /// A job with some metrics; it lives unless it is ended.
  JobId add(std::int64_t number, bool end = true) {
    const JobId id(number);
    proto::UnixMs now = 1000 * number;
    proto::JobSubmitted event{test::command_spec(1, 0), "run", "/runs/run", "ada", {}};
    auto state = core::submitted(id, now, event);
    store->append(id, {now, event}, state);
    const auto apply = [&](const proto::StampedEvent& stamped) {
      REQUIRE(core::advance(state, stamped).has_value());
      if (const auto* report = std::get_if<proto::MetricsReported>(&stamped.event))
        store->append(id, proto::MetricPoint{1, report->seq, now, report->metrics, ""});
      else
        store->append(id, stamped, state);
    };
    apply({now, test::placed(1, 1)});
    apply({now, test::forked(1, 0)});
    apply({now, test::entered(1, 0)});
    for (int seq = 1; seq <= 10; ++seq) apply({now, test::report(1, seq)});
    if (!end) return id;
    apply({now, test::exited(1, 0)});
    while (auto due = core::follow_up(state)) apply({now, std::move(*due)});
    REQUIRE(core::is_terminal(state.phase));
    return id;
  }
  void with(int jobs) {
    for (int i = 1; i <= jobs; ++i) add(i);
    settle();
  }
  Pruned prune(PruneRequest request) {
    Pruned sum;
    store->prune(std::move(request), [&](const Pruned& pruned) {
      auto gone = std::move(sum.gone);
      sum = pruned;
      gone.insert(gone.end(), pruned.gone.begin(), pruned.gone.end());
      sum.gone = std::move(gone);
    });
    while (!sum.over) io.run_one();
    return sum;
  }
  std::vector<std::int64_t> left() {
    std::vector<std::int64_t> ids;
    for (const auto& job : *store->ended_jobs(JobId(1'000'000), 1'000'000))
      ids.insert(ids.begin(), job.id.value());
    return ids;
  }
  std::int64_t count(const std::string& table) {
    return *(*Database::open(journal_path(dir), Database::Mode::kReadOnly))
                ->integer("SELECT count(*) FROM " + table);
  }
  [[nodiscard]] std::int64_t pragma(const std::string& name) const {
    return *(*Database::open(journal_path(dir), Database::Mode::kReadOnly))->integer("PRAGMA " + name);
  }
};

using Ids = std::vector<std::int64_t>;

}  // namespace

TEST_CASE("prune: by age, with events, index and files") {
  Disk disk;
  disk.with(5);
  const auto folder = [&](int id) { return segment_folder(disk.dir, JobId(id)); };
  REQUIRE(std::filesystem::exists(folder(2)));
  const auto dry = disk.prune({3000, {}, {}, true});
  CHECK(dry.jobs == 2);
  CHECK(dry.bytes > 2 * 500);
  CHECK(dry.gone.empty());
  CHECK(disk.left() == Ids{1, 2, 3, 4, 5});
  const auto done = disk.prune({3000, {}, {}, false});
  CHECK(done.gone == std::vector{JobId(1), JobId(2)});
  CHECK(done.ended_as == std::map<core::JobPhase, std::int64_t>{{core::JobPhase::kSucceeded, 2}});
  CHECK(dry.ended_as.empty());
  CHECK(done.jobs == dry.jobs);
  CHECK(done.bytes == dry.bytes);
  CHECK(disk.left() == Ids{3, 4, 5});
  CHECK_FALSE(std::filesystem::exists(folder(2)));
  CHECK(std::filesystem::exists(folder(3)));
  CHECK(disk.count("events WHERE job<3") == 0);
  CHECK(disk.count("segments WHERE job<3") == 0);
  CHECK(disk.store->events(JobId(1), 0, 10)->empty());
  CHECK(disk.store->metrics(JobId(1), 0, 10)->points.empty());
  CHECK(disk.store->metrics(JobId(3), 0, 100)->points.size() == 10);
  CHECK(disk.prune({3000, {}, {}, false}).jobs == 0);
}

TEST_CASE("prune: by number, but for those that are spared or live; numbers stay used") {
  Disk disk;
  disk.add(1, false);
  for (int i = 2; i <= 300; ++i) disk.add(i);  // more than one step
  disk.settle();
  CHECK(disk.prune({{}, 3, {JobId(5), JobId(299)}, false}).jobs == 295);
  CHECK(disk.left() == Ids{5, 298, 299, 300});
  CHECK(disk.prune({{}, 0, {}, false}).jobs == 4);
  CHECK(disk.left().empty());
  CHECK(disk.count("jobs") == 1);
  CHECK(disk.count("events") == 4);
  disk.open();
  CHECK(disk.store->take_recovered().jobs.size() == 1);
  CHECK(disk.store->next_job_id() == JobId(301));
}

TEST_CASE("prune: of two limits each removes what is beyond it") {
  Disk disk;
  disk.with(6);
  CHECK(disk.prune({3000, 5, {}, true}).jobs == 2);
  CHECK(disk.prune({3000, 2, {}, true}).jobs == 4);
  CHECK(disk.prune({}).jobs == 0);
}

TEST_CASE("prune: files that a crash left behind are removed at the next start") {
  Disk disk;
  disk.with(2);
  const auto folder = segment_folder(disk.dir, JobId(1));
  std::filesystem::copy(folder, disk.dir + "/kept");
  CHECK(disk.prune({2000, {}, {}, false}).jobs == 1);
  disk.store.reset();
  std::filesystem::copy(disk.dir + "/kept", folder);  // as if it had ended before
  disk.open();
  CHECK_FALSE(std::filesystem::exists(folder));
  CHECK(std::filesystem::exists(segment_folder(disk.dir, JobId(2))));
}

TEST_CASE("prune: what is appended meanwhile becomes durable, and new metrics find their folders") {
  Disk disk;
  disk.with(200);
  Pruned last;
  disk.store->prune({{}, 0, {}, false}, [&](const Pruned& pruned) { last = pruned; });
  disk.add(201, false);
  disk.settle();
  while (!last.over) disk.io.run_one();
  CHECK(last.jobs == 200);
  CHECK(disk.count("jobs") == 1);
  CHECK(disk.store->metrics(JobId(201), 0, 100)->points.size() == 10);
}

TEST_CASE("prune: the journal's file becomes smaller, a little at a time, while others write") {
  Disk disk;
  disk.with(500);
  const auto size = [&] { return std::filesystem::file_size(journal_path(disk.dir)); };
  disk.open();  // the log is moved into the file
  const auto before = size();
  REQUIRE(before > 512u << 10);
  CHECK(disk.prune({{}, 20, {}, false}).jobs == 480);
  disk.add(2001, false);
  disk.settle();
  disk.open();
  // What was not given back before the end is after the next one.
  disk.add(2002);
  disk.settle();
  CHECK(disk.prune({{}, 20, {}, false}).jobs == 1);
  const auto free = [&] { return disk.pragma("freelist_count") * 8 > disk.pragma("page_count"); };
  for (int i = 2003; free(); ++i) {  // each commit lets a step go by
    REQUIRE(i < 3000);
    disk.add(i, false);
    disk.settle();
  }
  disk.open();
  CHECK(size() < before / 2);
  CHECK(disk.left().size() == 20);
}

TEST_CASE("prune: a step of making the file smaller is small") {
  test::TempDir folder;
  const auto dir = folder.path().string();
  auto database = *open_journal(dir, false);
  SegmentFiles segments(dir, {left_to_the_system()});
  Pruner pruner;
  REQUIRE(pruner.prepare(*database, segments).has_value());
  const std::string snapshot(3000, 'x');
  for (int id = 1; id <= 2000; ++id)
    REQUIRE(database
                ->execute("INSERT INTO jobs(id, ended, phase, snapshot, snapshot_events) VALUES(" +
                          std::to_string(id) + ", 1, 'FAILED', '" + snapshot + "', 1)")
                .has_value());
  REQUIRE(pruner.begin({{}, 500, {}, false}).has_value());
  while (pruner.busy()) REQUIRE(pruner.step().has_value());
  auto pages = *database->integer("PRAGMA page_count");
  const auto before = pages;
  int steps = 0;
  for (; pruner.may_shrink(); ++steps) {
    REQUIRE(pruner.shrink().has_value());
    const auto now = *database->integer("PRAGMA page_count");
    CHECK(pages - now <= Pruner::kPagesAtOnce + 8);  // and pages of SQLite's own map
    pages = now;
  }
  CHECK(steps > 5);
  CHECK(pages < before / 2);
  CHECK(*database->integer("PRAGMA freelist_count") <= pages / 8 + 1);
}

}  // namespace prune_test
