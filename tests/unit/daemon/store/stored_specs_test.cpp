// The spec of an array is stored and held once, also after a start, and a journal of before is read.
#include "daemon/store/stored_specs.h"

#include "daemon/store/fsck.h"
#include "daemon/store/recover.h"
#include "tests/support/disk_store.h"
#include "tests/support/jobs.h"
#include "tests/support/old_journal.h"

#include <filesystem>

namespace stored_specs_test {

using namespace rtrain;
using namespace rtrain::store;

namespace {

constexpr std::size_t kConfigBytes = 200'000;

/// Jobs 1 to 3 are an array with a large config, job 4 is a job of its own.
struct Disk : test::DiskStore {
  static constexpr int kMembers = 3;
  std::map<JobId, core::JobState> jobs;
  proto::UnixMs now = 1000;

  void submit_all() {
    auto spec = test::command_spec();
    spec.train_loop_config = {{"data", std::string(kConfigBytes, 'x')}};
    const proto::SharedSpec shared(std::move(spec));
    for (int i = 0; i < kMembers; ++i)
      submit(JobId(1 + i), {shared, "run", "/runs/run", "ada",
                            proto::ArrayTask{JobId(1), 5 + i, kMembers, 0, 5, 7, 1}, i == 0 ? "key-1" : ""});
    submit(JobId(4), {test::command_spec(2), "run", "/runs/run", "ada", {}, "key-4"});
    settle();
  }
  void submit(JobId id, const proto::JobSubmitted& event) {
    jobs[id] = core::submitted(id, ++now, event);
    store->append(id, {now, event}, jobs[id]);
  }
  void end(JobId id) {
    const proto::StampedEvent stamped{++now, proto::CancelRequested{"ada"}};
    REQUIRE(core::advance(jobs.at(id), stamped).has_value());
    store->append(id, stamped, jobs.at(id));
  }
  [[nodiscard]] std::int64_t number(const std::string& sql) {
    auto database = *Database::open(journal_path(dir), Database::Mode::kReadOnly);
    return *database->integer(sql);
  }
  /// What lives after a start.
  std::vector<core::JobState> start() {
    open();
    return store->take_recovered().jobs;
  }
  std::vector<JobId> prune(std::int64_t keep) {
    std::vector<JobId> gone;
    bool over = false;
    store->prune({{}, keep, {}, false}, [&](const Pruned& pruned) {
      gone.insert(gone.end(), pruned.gone.begin(), pruned.gone.end());
      over = pruned.over;
    });
    while (!over) io.run_one();
    return gone;
  }
};

void check_array(const std::vector<core::JobState>& jobs) {
  REQUIRE(jobs.size() == 4);
  for (int i = 0; i < Disk::kMembers; ++i) {
    const auto& state = jobs[static_cast<std::size_t>(i)];
    CHECK(state.spec.identity() == jobs[0].spec.identity());
    CHECK_FALSE(state.spec->train_loop_config.contains("array_index"));
    CHECK(core::spec_of_rank(state).train_loop_config["array_index"] == 5 + i);
    CHECK(state.spec->train_loop_config["data"].get<std::string>().size() == kConfigBytes);
  }
  CHECK(jobs[3].spec->scaling_config.num_workers == 2);
}

}  // namespace

TEST_CASE("specs: an array's is stored once, and held once after a start", "[F09]") {
  Disk disk;
  disk.submit_all();
  CHECK(disk.number("SELECT count(*) FROM specs") == 2);
  CHECK(disk.number("SELECT sum(length(json)) FROM events") < 4000);
  check_array(disk.start());
  disk.end(JobId(2));
  disk.end(JobId(3));
  disk.settle();
  CHECK(disk.number("SELECT sum(length(snapshot)) FROM jobs") < 8000);
  const auto ended = *disk.store->ended_job(JobId(2));
  REQUIRE(ended);
  CHECK(to_json(*ended->spec) == to_json(*disk.jobs.at(JobId(2)).spec));
  const auto page = *disk.store->ended_jobs(JobId(100), 10);
  REQUIRE(page.size() == 2);
  CHECK(page[0].spec.identity() == page[1].spec.identity());
  CHECK(*disk.store->ended_ids(JobId(3), 10) == std::vector<JobId>{JobId(2)});
  const auto events = *disk.store->events(JobId(3), 0, 10);
  CHECK(std::get<proto::JobSubmitted>(events.at(0).event)
            .spec->train_loop_config["data"]
            .get<std::string>()
            .size() == kConfigBytes);
}

TEST_CASE("specs: one goes with the last job that has it", "[F09]") {
  Disk disk;
  disk.submit_all();
  disk.end(JobId(1));
  disk.end(JobId(2));
  disk.settle();
  CHECK(disk.prune(0) == std::vector<JobId>{JobId(1), JobId(2)});
  CHECK(disk.number("SELECT count(*) FROM specs") == 2);
  disk.end(JobId(3));
  disk.settle();
  CHECK(disk.prune(0) == std::vector<JobId>{JobId(3)});
  CHECK(disk.number("SELECT count(*) FROM specs") == 1);
}

TEST_CASE("specs: a journal of before is read, and its arrays share one", "[F09]") {
  Disk disk;
  disk.submit_all();
  disk.end(JobId(4));
  disk.settle();
  disk.store.reset();
  const int schema = GENERATE(2, 1);
  test::make_old_journal(disk.dir, schema);
  auto jobs = disk.start();
  CHECK(std::filesystem::exists(disk.dir + "/backups"));
  const auto ended = *disk.store->ended_job(JobId(4));
  REQUIRE(ended);
  jobs.push_back(*ended);
  check_array(jobs);
  // What this head adds to such a job is in the new form.
  disk.end(JobId(2));
  disk.settle();
  disk.open();
  const auto second = *disk.store->ended_job(JobId(2));
  REQUIRE(second);
  CHECK(second->spec->train_loop_config["data"].get<std::string>().size() == kConfigBytes);
  CHECK(core::spec_of_rank(*second).train_loop_config["array_index"] == 6);
  disk.store.reset();
  const auto looked = fsck(disk.dir);
  REQUIRE(looked.has_value());
  CHECK(looked->problems == std::vector<std::string>{});
}

TEST_CASE("specs: a repaired journal has them, of the old form and the new", "[F09]") {
  Disk disk;
  disk.submit_all();
  disk.end(JobId(3));
  disk.settle();
  disk.store.reset();
  if (GENERATE(false, true)) test::make_old_journal(disk.dir);
  const auto report = recover(disk.dir);
  REQUIRE(report.has_value());
  CHECK(report->jobs == 4);
  CHECK(report->lost == std::vector<std::string>{});
  auto jobs = disk.start();
  const auto ended = *disk.store->ended_job(JobId(3));
  REQUIRE(ended);
  jobs.insert(jobs.begin() + 2, *ended);
  jobs[2].spec = jobs[0].spec;  // read at another time
  check_array(jobs);
  CHECK(to_json(*ended->spec) == to_json(*jobs[0].spec));
  CHECK(disk.number("SELECT count(*) FROM specs") == 2);
}

TEST_CASE("specs: the job of a submit is found by its key, over a start and an end", "[F09]") {
  Disk disk;
  disk.submit_all();
  disk.end(JobId(4));
  disk.settle();
  for (int start = 0; start < 2; ++start) {
    CHECK(*disk.store->job_of_submission("key-1") == JobId(1));
    CHECK(*disk.store->job_of_submission("key-4") == JobId(4));
    CHECK_FALSE(disk.store->job_of_submission("key-5")->has_value());
    disk.open();
  }
  CHECK((*disk.store->ended_job(JobId(4)))->submission == "key-4");
}

TEST_CASE("specs: a missing one is named", "[F09]") {
  Disk disk;
  disk.submit_all();
  disk.store.reset();
  auto database = *Database::open(journal_path(disk.dir), Database::Mode::kReadWrite);
  REQUIRE(database->execute("DELETE FROM specs WHERE id=1").has_value());
  const auto looked = fsck(disk.dir);
  REQUIRE(looked.has_value());
  REQUIRE(looked->problems.size() == 3);
  CHECK(looked->problems[0].find("job 1: event 0: its spec, number 1, is missing") != std::string::npos);
}

}  // namespace stored_specs_test
